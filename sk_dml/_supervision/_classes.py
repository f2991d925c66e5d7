"""One class per sample."""

import numpy as np
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d

from sk_dml._utils._labels import as_labels, encode_labels


def check_targets(estimator, X, y):
    """Return the sorted classes, and the index of every label in them, int64."""
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


def merge_classes(new, targets, *, known=None, classes=None):
    """Merge the sorted classes of new data with those known from before.

    ``targets`` are indices in ``new``; ``classes`` are all that the data may have.
    Returns the merged classes, sorted, and the indices in them of every sample and of
    the known classes.
    """
    merged = new
    if classes is not None:
        merged = encode_labels(classes, name="classes")[0]
        merged, given, used = _union(merged, new, "classes and y")
        if len(merged) > len(given):
            missing = np.setdiff1d(used, given)
            raise ValueError(
                f"y holds {len(missing)} classes that classes lacks (for example "
                f"{merged[missing[0]].item()!r}); classes must name all of them."
            )
        targets = used[targets]
    if known is None:
        return merged, targets, np.arange(0)
    merged, indices, used = _union(known, merged, "y and the y of earlier fits")
    return merged, used[targets], indices


def _union(one, other, name):
    """Return the merged classes, and the indices in them of both."""
    if one.dtype.kind != other.dtype.kind:
        # As objects: neither 1 and "1" nor two large integers become equal.
        one_or_other = [one.astype(object), other.astype(object)]
    else:
        one_or_other = [one, other]
    merged, codes = encode_labels(np.concatenate(one_or_other), name=name)
    codes, others = codes[: len(one)], codes[len(one) :]
    return (one if len(merged) == len(one) else merged), codes, others
