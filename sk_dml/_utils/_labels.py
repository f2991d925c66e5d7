"""Labels as integers from 0 to n_classes - 1."""

from collections.abc import Hashable
from numbers import Integral, Real

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d


def as_labels(labels):
    """Return an array of labels, as objects where numpy would change one of them."""
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
    """Return the sorted classes and the index of each label's class, (n_samples,).

    Labels are compared as labels, never as floats; ``name`` is theirs in an error. A
    ValueError is raised for missing labels (None, NaN or NaT) or more than one a
    sample, a TypeError for labels that cannot be hashed or sorted together.
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
    """Return codes (n,) and (m,) of two sets of labels, from the same classes."""
    labels, other_labels = map(_as_column, (labels, other_labels), names)
    if labels.dtype.kind != other_labels.dtype.kind:
        # As objects, so that neither 1 and "1" nor two large integers become equal.
        labels, other_labels = labels.astype(object), other_labels.astype(object)
    _, codes = encode_labels(
        np.concatenate([labels, other_labels]), name=" and ".join(names)
    )
    return codes[: len(labels)], codes[len(labels) :]
