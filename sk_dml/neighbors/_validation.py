"""Validation of rows, parameters and ids."""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

METRICS = ("euclidean", "cosine")
SEARCHES = ("auto", "exact", "approximate")

# Differences and squares of anything smaller can be scaled into the range of float64.
LARGEST = 1e300


def check_rows(rows, name):
    """Return rows (n_rows, n_features) as float32 or float64, finite and dense."""
    if isinstance(rows, (list, tuple)):
        try:
            rows = np.asarray(rows)
        except ValueError:
            raise ValueError(
                f"{name} must be of shape (n_rows, n_features); its {len(rows)} rows "
                "differ in shape."
            ) from None
    if issparse(rows):
        raise TypeError(
            f"{name} must be a dense array, got a sparse one of shape {rows.shape}."
        )
    rows = check_array(
        rows,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_2d=False,
        allow_nd=True,
        ensure_min_samples=0,
        input_name=name,
    )
    if rows.ndim > 0 and not len(rows):
        raise ValueError(f"{name} is empty: it has shape {rows.shape}.")
    if rows.ndim != 2:
        raise ValueError(
            f"{name} must be a 2D array of shape (n_rows, n_features), got shape "
            f"{rows.shape}. Reshape your data."
        )
    return check_values(rows, name)


def check_values(rows, name):
    """Return the rows; refuse NaN, infinity and values too large for distances."""
    # No sum or product of the rows, which could overflow; NaN stays NaN.
    largest = float(max(rows.max(), -rows.min()))
    if largest <= LARGEST:
        return rows
    for kind, is_bad in (
        ("NaN", np.isnan),
        ("infinity", np.isinf),
        (f"values beyond {LARGEST:g},", lambda rows: np.abs(rows) > LARGEST),
    ):
        bad = is_bad(rows).any(axis=1)
        if bad.any():
            raise ValueError(
                f"Input {name} contains {kind} in {bad.sum()} of {len(rows)} rows, "
                f"the first of them row {bad.argmax()}."
            )
    raise AssertionError("unreachable: the largest value is beyond the limit")


def check_same_width(rows, name, gallery):
    """Refuse rows of another width than the gallery's."""
    if rows.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"{name} has {rows.shape[1]} features ({len(rows)} rows) and "
            f"gallery has {gallery.shape[1]} ({len(gallery)} rows); they must have the "
            "same."
        )


def check_choice(value, allowed, name):
    """Refuse what is not among the choices of a parameter."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}.")


def check_n_neighbors(n_neighbors, n_gallery, *, is_self, extra=0):
    """Return how many neighbors to find, if the gallery holds as many."""
    check_positive(n_neighbors, "n_neighbors")
    if n_neighbors + extra > n_gallery - is_self:
        wanted = f"n_neighbors={n_neighbors}"
        if extra:
            wanted += f" (and {extra} more for the row itself)"
        there = f"the gallery's n_samples={n_gallery}"
        if is_self:
            there = f"{n_gallery - 1}, {there} without the row itself"
        raise ValueError(f"{wanted} is larger than {there}.")
    return int(n_neighbors) + extra


def check_positive(number, name):
    """Refuse what is not an integer of at least 1."""
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"{name} must be an integer >= 1, got {number!r}.")
    if number < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {number!r}.")


def check_ids(y, X):
    """Return a copy of ids of any kind, (n_samples, ...), one for each row."""
    ids = _as_ids(y)
    if ids.ndim == 0 or len(ids) != len(X):
        came = f"a {type(y).__name__}" if ids.ndim == 0 else f"{len(ids)}"
        raise ValueError(
            f"y must hold one label or id for each of the {len(X)} rows of X, "
            f"got {came}."
        )
    return ids


def _as_ids(y):
    if not isinstance(y, (list, tuple)):
        return np.array(np.asarray(y))  # a copy
    ids = np.empty(len(y), dtype=object)
    for i, one in enumerate(y):
        ids[i] = one
    kinds = {type(one) for one in y}
    is_nested = any(
        hasattr(k, "__len__") and not issubclass(k, (str, bytes)) for k in kinds
    )
    if len(kinds) != 1 or is_nested:
        return ids
    array = np.asarray(y)
    # Numpy rounds large integers, and cuts zeros off the end of strings and bytes.
    return array if array.tolist() == list(y) else ids


def join_ids(labels, more):
    """Append ids (n_samples, ...) of ``check_ids`` without changing any of them."""
    if labels.shape[1:] != more.shape[1:]:
        raise ValueError(
            f"y must hold labels or ids of shape {labels.shape[1:]}, as the gallery "
            f"has, got some of shape {more.shape[1:]}."
        )
    joint = (
        np.result_type(labels, more) if labels.dtype.kind == more.dtype.kind else None
    )
    if joint is None or joint.kind != labels.dtype.kind:
        labels, more = labels.astype(object), more.astype(object)
    return np.concatenate([labels, more])
