"""Labels as they come, turned into the integers 0 .. n_classes - 1."""

from collections.abc import Hashable
from numbers import Integral, Real

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d


def as_labels(labels):
    """Make an array of labels without turning numbers into strings.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Any labels.

    Returns
    -------
    ndarray of shape (n_samples,)
        Of dtype object where numpy would turn numbers of a list into strings, or large
        integers into floats.

    Examples
    --------
    >>> from sk_dml._utils._labels import as_labels
    >>> as_labels([1, "a"])
    array([1, 'a'], dtype=object)
    """
    if not isinstance(labels, (list, tuple)):
        return np.asarray(labels)
    try:
        array = np.asarray(labels)
    except ValueError:  # sequences of different lengths
        return np.asarray(labels, dtype=object)
    if array.ndim != 1:
        return array
    kinds = {
        kind
        for kind in (str, bytes, Integral, Real, object)
        for label in labels
        if isinstance(label, kind)
    }
    changed = array.dtype.kind in "US" and len(kinds) > 2  # one kind, and object
    changed |= array.dtype.kind == "f" and all(isinstance(i, Integral) for i in labels)
    return np.asarray(labels, dtype=object) if changed else array


def _is_missing(label):
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA is neither equal nor different
        return True
    except ValueError:  # an array
        return False


def encode_labels(labels, *, name="y"):
    """Give every class a number, comparing labels as labels and never as floats.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        Strings, integers, booleans or objects of one sortable kind.
    name : str, default="y"
        What to call the labels in an error.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The distinct labels, sorted.
    codes : ndarray of shape (n_samples,), dtype int64
        The place of every label in ``classes``.

    Raises
    ------
    ValueError
        If a label is missing (None, NaN or NaT), or there is not one label a sample.
    TypeError
        If labels of several kinds, say strings and integers, are mixed, or they cannot
        be hashed or sorted.

    Examples
    --------
    >>> from sk_dml._utils._labels import encode_labels
    >>> encode_labels(["cat", "ant", "cat"])
    (array(['ant', 'cat'], dtype='<U3'), array([1, 0, 1]))
    """
    labels = _as_column(labels, name)
    mixes, holds = ("mix", "hold") if " and " in name else ("mixes", "holds")
    if labels.dtype.kind not in "biuSU":
        n_missing = int(sum(map(_is_missing, labels)))
        if n_missing:
            raise ValueError(
                f"{name} {holds} {n_missing} missing labels (None, NaN or NaT) "
                f"among {len(labels)}; every sample needs a label."
            )
    encoder = LabelEncoder()
    try:
        codes = encoder.fit_transform(labels)
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        problem = f"{mixes} labels that cannot be sorted together"
        if not all(isinstance(label, Hashable) for label in labels):
            problem = f"{holds} labels that cannot be hashed"
        elif len(kinds) == 1:
            problem = f"{holds} labels that cannot be sorted"
        raise TypeError(
            f"{name} {problem} (found {kinds}); labels must be of one kind, for "
            "example all strings or all integers."
        ) from error
    return encoder.classes_, codes.astype(np.int64, copy=False)


def _as_column(labels, name):
    array = as_labels(labels)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return column_or_1d(array)
    got = f"shape {array.shape}" if array.ndim else repr(labels)
    raise ValueError(
        f"{name} must be of shape (n_samples,), one label for every sample, got {got}."
    )


def encode_label_sets(labels, other_labels, *, names):
    """Give the classes of two sets of labels the same numbers.

    Parameters
    ----------
    labels, other_labels : array-like of shape (n,) and (m,)
        The two sets.
    names : tuple of two str
        What to call them in an error.

    Returns
    -------
    codes : ndarray of shape (n,), dtype int64
        The classes of ``labels``.
    other_codes : ndarray of shape (m,), dtype int64
        The classes of ``other_labels``.

    Examples
    --------
    >>> from sk_dml._utils._labels import encode_label_sets
    >>> encode_label_sets(["b", "a"], ["c", "b"], names=("labels", "gallery_labels"))
    (array([1, 0]), array([2, 1]))
    """
    labels, other_labels = map(_as_column, (labels, other_labels), names)
    if labels.dtype.kind != other_labels.dtype.kind:
        # As objects, so that neither 1 and "1" nor two large integers become equal.
        labels, other_labels = labels.astype(object), other_labels.astype(object)
    _, codes = encode_labels(
        np.concatenate([labels, other_labels]), name=" and ".join(names)
    )
    return codes[: len(labels)], codes[len(labels) :]
