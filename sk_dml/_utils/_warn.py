"""Warnings that point at the caller's line, not at one of this package."""

import sys
import warnings

# Modules between the caller and the package: scikit-learn wraps methods (parameters,
# callbacks, outputs), skorch walks batches and epochs, torch calls modules.
PASSED_OVER = (
    "sk_dml.",
    "skorch.",
    "torch.",
    "sklearn.base.",
    "sklearn.callback.",
    "sklearn.utils._param_validation.",
    "sklearn.utils._set_output.",
)


def warn(message, category=UserWarning):
    """Issue a warning at the first line outside of the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and _is_passed_over(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_passed_over(frame):
    """Return whether the code of a frame belongs to one of these modules."""
    # By the name of the module: paths depend on where things are installed.
    return f"{frame.f_globals.get('__name__', '')}.".startswith(PASSED_OVER)
