"""Warnings that point at the line of the user, not at one of the package."""

import sys
import warnings


def warn(message, category=UserWarning):
    """Warn, and point at the first line outside of the package.

    Parameters
    ----------
    message : str
        What to say.
    category : type, default=UserWarning
        The kind of warning.

    Examples
    --------
    >>> import warnings
    >>> from sk_dml._utils._warn import warn
    >>> with warnings.catch_warnings(record=True) as record:
    ...     warnings.simplefilter("always")
    ...     warn("2 of 9 queries are left out.")
    >>> str(record[0].message)
    '2 of 9 queries are left out.'
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_ours(frame):
    module = frame.f_globals.get("__name__", "")
    # scikit-learn wraps methods and functions: to check parameters, manage callbacks,
    # convert outputs. skorch goes through batches and epochs, torch through modules.
    utils = "sklearn.utils"
    wrappers = ("sklearn.base", f"{utils}._param_validation", f"{utils}._set_output")
    packages = ("sk_dml.", "sklearn.callback.", "skorch.", "torch.")
    return module in wrappers or module.startswith(packages)
