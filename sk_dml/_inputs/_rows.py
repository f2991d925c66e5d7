"""Rows of numbers."""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from sklearn.utils.validation import validate_data

from sk_dml._inputs._source import Source, count_axes, is_path

# Values that statistics take at once, at least.
SMALLEST_BLOCK = 2**18


class Rows(Source):
    """Rows of features, float32 or float64; all that no other kind accepts."""

    noun = "rows"
    limit = 3.0
    size_names = ("n_features",)

    def __init__(self, X, embedder, fitted=None):
        name, n_axes = type(embedder).__name__, count_axes(X)
        if n_axes > 4:
            raise ValueError(
                f"Found array with dim {n_axes} for X; {name} takes rows (2 axes) or "
                "images (3 or 4 axes)."
            )
        if n_axes == 2 and not issparse(X):
            first = np.asarray(X[:1], dtype=object)
            if first.size and all(map(is_path, first.ravel())):
                raise ValueError(
                    f"X is a table of strings or paths, of shape {np.shape(X)}; {name} "
                    "takes tables of numbers, and paths of images in one axis: "
                    "X[:, 0] or frame['name']."
                )
        if n_axes == 2 and fitted is not None and fitted["noun"] != self.noun:
            raise ValueError(
                f"X has shape {np.shape(X)}, but {name} was fitted with "
                f"{fitted['noun']} of shape {fitted['sample_shape']}."
            )
        self.array = validate_data(
            embedder, X, dtype=[np.float64, np.float32], reset=fitted is None
        )

    def statistics(self):
        """Return the mean and the scale of every feature, in float64."""
        X = self.array
        scaler = StandardScaler()
        size = max(SMALLEST_BLOCK, X.size // 32) // X.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            for block in gen_batches(len(X), max(1, size)):  # it copies to float64
                scaler.partial_fit(X[block])
        if not np.isfinite([scaler.mean_, scaler.var_]).all():
            raise ValueError(
                f"X holds values up to {np.abs(X).max():.3g}, too large for a mean and "
                "a standard deviation; divide them by a constant."
            )
        return torch.from_numpy(scaler.mean_), torch.from_numpy(scaler.scale_)
