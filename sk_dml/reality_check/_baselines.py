"""Baselines that every method is compared with."""

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

from sk_dml._networks._build import starts_from_features
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.reality_check._concatenated import last_step

BASELINES = (
    "raw features",
    "scaled features",
    "untrained network",
    "PCA",
    "LDA",
    "linear NCA",
)
# Most features for linear methods, whose time grows with the square of the number.
MAX_FEATURES = 256
# A learning rate that leaves weights as they are, and moves zeros by next to nothing.
NO_RATE = 1e-30


def flatten(X):
    """Return (n_samples, ...) as float rows (n_samples, n_features)."""
    X = np.asarray(X)
    return X.reshape(len(X), -1).astype(np.result_type(X.dtype, np.float32))


@dataclass(eq=False, repr=False)
class Principal(TransformerMixin, BaseEstimator):
    """PCA with at most as many components as the data have."""

    n_components: int = 64

    def fit(self, X, y=None):
        """Fit the PCA."""
        self.pca_ = PCA(min(self.n_components, *X.shape), random_state=0).fit(X)
        return self

    def transform(self, X):
        """Project on the components."""
        return self.pca_.transform(X)


@dataclass(eq=False, repr=False)
class LinearNCA(TransformerMixin, BaseEstimator):
    """scikit-learn's NCA on a sample of the rows: its time grows with their square.

    All rows are multiplied by one number, so that components have a variance of one. At
    the large distances of wide rows or pixels the neighbors of NCA are no longer soft,
    its gradient is zero, and it would return the projection it starts from.
    """

    n_components: int = 64
    _: KW_ONLY
    max_samples: int = 2000
    random_state: Any = None

    def fit(self, X, y):
        """Fit the NCA."""
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
        """Apply the learned map."""
        return self.nca_.transform(self.scale_ * X)


def make_baselines(names, estimator, X):
    """Return those of the named baselines that (n_samples, ...) data allow, by name.

    Pixels of images are not scaled one by one, and image files are no features. The
    untrained network is that of ``estimator``, if it has one.
    """
    n_dims = len(np.shape(X))  # np.ndim would read image files
    prefix, embedder = last_step(estimator)
    has_network = isinstance(embedder, BaseEmbedder)
    n_components = embedder.n_components if has_network else 64
    made = {}
    if n_dims > 1:
        n_features = int(np.prod(np.shape(X)[1:]))
        n_components = min(n_components, n_features)
        scale = [StandardScaler()] if n_dims == 2 else []
        reduce = [Principal(MAX_FEATURES)] if n_features > MAX_FEATURES else []
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
        if starts_from_features(embedder.module):  # a start by LDA would use classes
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
    """Return whether an entry of ``net_params`` sets learning rates."""
    return key.startswith("lr_schedule__") or key == "optimizer__param_groups"
