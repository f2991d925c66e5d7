"""Labels and ids of rows, of any kind."""

import numpy as np


def check_ids(y, X):
    """Make an array of ids, whatever they are, one for each row.

    Parameters
    ----------
    y : array-like of shape (n_samples, ...)
    X : ndarray of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        A copy.
    """
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
    """Append ids without changing any of them.

    Parameters
    ----------
    labels, more : ndarray of shape (n_samples, ...)
        From :func:`check_ids`.

    Returns
    -------
    ndarray of shape (n_samples, ...)
    """
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
