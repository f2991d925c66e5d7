"""One class per sample."""

import numpy as np
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d

from sk_dml._utils._labels import as_labels, encode_labels


def check_targets(estimator, X, y):
    """Validate labels; number the classes.

    Parameters
    ----------
    estimator : BaseEmbedder
    X : ndarray of shape (n, ...)
    y : array-like of shape (n,)

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The distinct labels, sorted.
    targets : ndarray of shape (n,), int64
        The place of every label in ``classes``.

    Raises
    ------
    ValueError
        If y is None, has another length than X or more than one column, or holds NaN,
        infinity or fractions.
    TypeError
        If y mixes labels of several kinds.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None."
        )
    y = column_or_1d(as_labels(y), warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    classes, targets = encode_labels(y)
    values = np.asarray(classes.tolist())
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise ValueError(
            "Unknown label type: continuous. y must hold classes: strings, integers or "
            "booleans."
        )
    return classes, targets


def merge_classes(found, targets, *, known=None, classes=None):
    """Give numbers to the classes of new data together with those from before.

    Parameters
    ----------
    found : ndarray of shape (n_found,)
        The classes of the data, sorted.
    targets : ndarray of shape (n_samples,), int64
        Places in ``found``.
    known : ndarray of shape (n_known,) or None
        The classes from before.
    classes : array-like or None
        Classes that the data may have; it need not have all of them.

    Returns
    -------
    merged : ndarray of shape (n_classes,)
        All classes, sorted.
    targets : ndarray of shape (n_samples,), int64
        Places in ``merged``.
    places : ndarray of shape (n_known,), int64
        Places of the known classes in ``merged``.

    Raises
    ------
    ValueError
        If the data have a class that ``classes`` lacks.
    TypeError
        If the classes are of several kinds.
    """
    merged = found
    if classes is not None:
        merged = encode_labels(classes, name="classes")[0]
        merged, given, used = _union(merged, found, "classes and y")
        if len(merged) > len(given):
            missing = np.setdiff1d(used, given)
            raise ValueError(
                f"y holds {len(missing)} classes that classes lacks (for example "
                f"{merged[missing[0]].item()!r}); classes must name all of them."
            )
        targets = used[targets]
    if known is None:
        return merged, targets, np.arange(0)
    merged, places, used = _union(known, merged, "y and the y of earlier fits")
    return merged, used[targets], places


def _union(one, other, name):
    if one.dtype.kind != other.dtype.kind:
        # As objects: neither 1 and "1" nor two large integers become equal.
        both = np.concatenate([one.astype(object), other.astype(object)])
    else:
        both = np.concatenate([one, other])
    merged, codes = encode_labels(both, name=name)
    codes, others = codes[: len(one)], codes[len(one) :]
    return (one if len(merged) == len(one) else merged), codes, others
