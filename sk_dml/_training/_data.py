"""What X may be, and how batches of it are read."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_X_y
from sklearn.utils.validation import validate_data
from torch.utils.data import Dataset


class ArrayDataset(Dataset):
    """Rows or images in memory, fetched a whole batch at a time.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
    y : ndarray of shape (n_samples,), int64, or None
        None stands for data without labels.
    """

    def __init__(self, X, y=None):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, indices):
        labels = indices if self.y is None else self.y[indices]
        return torch.from_numpy(self.X[indices]), torch.from_numpy(labels)


def check_inputs(estimator, X, y=None, *, reset):
    """Validate rows or images.

    Parameters
    ----------
    estimator : BaseEmbedder
        Receives (``reset=True``) or holds ``n_features_in_`` and, for column names,
        ``feature_names_in_``.
    X : array-like
        Rows of shape (n, n_features), or images of shape (n, H, W), (n, C, H, W) or
        (n, H, W, C), the last where only the last axis is at most 4.
    y : array-like of shape (n,) or None
        Labels; required with ``reset=True``.
    reset : bool
        Whether X is training data.

    Returns
    -------
    X : ndarray of shape (n, n_features), float32 or float64, or (n, C, H, W), float32 \
            or uint8
    y : ndarray of shape (n,), only with ``reset=True``
    """
    n_dims = getattr(X, "ndim", None)
    if n_dims is None and isinstance(X, (list, tuple)) and len(X):
        n_dims = 1 + _depth(X[0])
    if n_dims not in (3, 4):
        labels = {"y": y} if reset else {}
        return validate_data(
            estimator, X, dtype=[np.float64, np.float32], reset=reset, **labels
        )
    settings = {"dtype": [np.float32, np.uint8], "allow_nd": True, "order": "C"}
    if reset:
        X, y = check_X_y(X, y, estimator=estimator, **settings)
    else:
        X = check_array(X, estimator=estimator, input_name="X", **settings)
    X = _channels_first(X)
    n_features = int(np.prod(X.shape[1:]))
    if not reset:
        return X
    if min(X.shape) == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {type(estimator).__name__}."
        )
    estimator.n_features_in_ = n_features
    vars(estimator).pop("feature_names_in_", None)
    return X, y


def training_statistics(X):
    """Mean and scale that standardise the training data.

    Parameters
    ----------
    X : ndarray of shape (n, n_features) or (n, C, H, W)

    Returns
    -------
    mean, scale : tensors
        Of shape (n_features,) in float64, or of shape (C, 1, 1) in float32. The scale
        is 1 where the data are constant.
    """
    if X.ndim == 2:
        scaler = StandardScaler().fit(X)
        return torch.from_numpy(scaler.mean_), torch.from_numpy(scaler.scale_)
    mean = X.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)[0]
    scale = X.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)[0]
    scale[scale == 0] = 1
    return torch.from_numpy(mean).float(), torch.from_numpy(scale).float()


def _depth(value):
    depth = 0
    while hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        if hasattr(value, "ndim"):
            return depth + value.ndim
        depth += 1
        if not len(value):
            break
        value = value[0]
    return depth


def _channels_first(X):
    if X.ndim == 4 and X.shape[-1] <= 4 < X.shape[1]:
        X = np.moveaxis(X, -1, 1)
    channels = X.shape[1] if X.ndim == 4 else 1
    # From flat, so that the strides of an axis of length one are the usual ones: torch
    # reads the memory layout from them and would round differently.
    return X.ravel().reshape(len(X), channels, *X.shape[-2:])
