"""What stands in every table, beside what the methods learn."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import check_random_state

from sk_dml._inputs import find_kind
from sk_dml._networks._build import starts_from_features
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.reality_check._fold import last_step

BASELINES = (
    "raw features",
    "scaled features",
    "untrained network",
    "PCA",
    "LDA",
    "linear NCA",
)
# So many features go into linear methods that grow with the square of the number.
WIDEST = 256
# A rate that leaves weights as they are, and moves what is 0 by next to nothing.
NO_RATE = 1e-30


def flatten(X):
    """Make rows of images.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)

    Returns
    -------
    ndarray of shape (n_samples, n_features)
    """
    X = np.asarray(X)
    return X.reshape(len(X), -1).astype(np.result_type(X.dtype, np.float32))


@dataclass(eq=False, repr=False)
class Principal(TransformerMixin, BaseEstimator):
    """PCA with as many components as the data have, if these are fewer.

    Parameters
    ----------
    n_components : int, default=64
    """

    n_components: int = 64

    def fit(self, X, y=None):
        """Find the components."""
        self.pca_ = PCA(min(self.n_components, *X.shape), random_state=0).fit(X)
        return self

    def transform(self, X):
        """Project on them."""
        return self.pca_.transform(X)


@dataclass(eq=False, repr=False)
class LinearNCA(TransformerMixin, BaseEstimator):
    """scikit-learn's NCA on a sample of the rows: its time grows with their square.

    The rows are scaled as one, to a variance of one for every component. At the large
    distances of wide rows or pixels NCA's neighbours are no longer soft, its gradient
    is zero, and it would return the projection that it begins with.

    Parameters
    ----------
    n_components : int, default=64
        At most so many.
    max_samples : int, default=2000
        Larger data are drawn from.
    random_state : int, RandomState instance or None, default=None
    """

    n_components: int = 64
    _: KW_ONLY
    max_samples: int = 2000
    random_state: Any = None

    def fit(self, X, y):
        """Learn the map."""
        rng = check_random_state(self.random_state)
        if len(X) > self.max_samples:
            rows = rng.choice(len(X), self.max_samples, replace=False)
            X, y = X[rows], np.asarray(y)[rows]
        width = min(self.n_components, X.shape[1])
        variance = X.var(axis=0).sum()
        self.scale_ = np.sqrt(width / variance) if variance > 0 else 1.0
        self.nca_ = NeighborhoodComponentsAnalysis(
            width, max_iter=50, random_state=rng
        ).fit(self.scale_ * X, y)
        return self

    def transform(self, X):
        """Apply it."""
        return self.nca_.transform(self.scale_ * X)


def make_baselines(names, estimator, X):
    """Make the baselines for some data.

    Parameters
    ----------
    names : sequence of str
        Any of ``BASELINES``.
    estimator : estimator
        One of the methods; its network is the untrained one, if it has one.
    X : array-like of shape (n_samples, ...)
        The data: those of images take no scaling of every pixel, and files are no
        features.

    Returns
    -------
    dict of str to estimator
    """
    kind = find_kind(X)
    prefix, embedder = last_step(estimator)
    has_network = isinstance(embedder, BaseEmbedder)
    n_components = embedder.n_components if has_network else 64
    made = {}
    if kind.holds_values:
        n_features = int(np.prod(np.shape(X)[1:]))
        n_components = min(n_components, n_features)
        scale = [] if kind.is_image else [StandardScaler()]
        reduce = [Principal(WIDEST)] if n_features > WIDEST else []
        flat = [FunctionTransformer(flatten), *scale]
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        made = {
            "raw features": make_pipeline(FunctionTransformer(flatten)),
            "scaled features": make_pipeline(*flat),
            "PCA": make_pipeline(*flat, Principal(n_components)),
            "LDA": make_pipeline(*flat, *reduce, lda),
            "linear NCA": make_pipeline(*flat, *reduce, LinearNCA(n_components)),
        }
        if not scale:
            del made["scaled features"]
    if has_network:
        given = embedder.net_params or {}
        kept = {k: v for k, v in given.items() if not _sets_rates(k)}
        if starts_from_features(embedder.module):  # otherwise its head knows classes
            kept["module__start"] = "principal"
        settings = {
            "net_params": kept,
            "max_epochs": 1,
            "lr": NO_RATE,
            "lr_schedule": None,
            "weight_decay": 0.0,
            "early_stopping": False,
            "backbone_lr": None,
            "proxy_lr": None,
        }
        made["untrained network"] = clone(estimator).set_params(
            **{f"{prefix}{name}": value for name, value in settings.items()}
        )
    return {name: made[name] for name in names if name in made}


def _sets_rates(key):
    """Tell whether an entry of ``net_params`` moves learning rates."""
    return key.startswith("lr_schedule__") or key == "optimizer__param_groups"
