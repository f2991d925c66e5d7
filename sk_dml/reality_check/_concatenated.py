"""Training on folds, and the models of all folds as one transformer."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback

from sk_dml._utils._embed import embed
from sk_dml._utils._labels import as_labels
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.model_selection import ClassDisjointKFold


@dataclass(eq=False, repr=False)
class ConcatenatedEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """The embeddings of the models of all folds, side by side.

    One model is trained on the training part of every fold, and their embeddings are
    concatenated, as in the Reality Check [1]_. The classes differ from fold to fold, so
    the models make different mistakes.

    Parameters
    ----------
    estimator : estimator
        An embedder, a Pipeline that holds one, or any transformer; it is cloned. With
        ``early_stopping=True``, the embedder (itself or the last step of the Pipeline)
        is stopped by the fold's validation part.
    cv : int or splitter, default=4
        The folds: a number of class-disjoint ones, or a splitter of scikit-learn.
    n_jobs : int or None, default=None
        Number of folds to train at once, as joblib counts them.
    random_state : int, RandomState instance or None, default=None
        Seeds the clones, each with another integer. None keeps the estimator's seeds.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted models.
    n_features_in_ : int
        Number of features seen by the models, if they have this attribute.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had column names that are all strings.

    See Also
    --------
    RealityCheck : Compares methods by it.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml import TripletEmbedder
    >>> from sk_dml.reality_check import ConcatenatedEmbedder
    >>> X, y = load_digits(return_X_y=True)
    >>> embedder = TripletEmbedder(8, max_epochs=2, random_state=0)
    >>> ConcatenatedEmbedder(embedder, cv=2).fit(X, y).transform(X).shape
    (1797, 16)
    """

    estimator: Any
    _: KW_ONLY
    cv: Any = 4
    n_jobs: int | None = None
    random_state: Any = None

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "transform"]), HasMethods(["fit", "predict"])],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods(["split"])],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, groups=None):
        """Train a model on every fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the kind that the estimator takes.
        y : array-like of shape (n_samples,)
            The classes.
        groups : array-like of shape (n_samples,) or None, default=None
            Superclasses, for the splitter.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If y is missing, there are fewer classes than folds, or the data do not fit
            the estimator.
        KeyboardInterrupt
            If a training was interrupted; nothing is kept.
        """
        self.__dict__.pop("estimators_", None)  # a failed fit leaves none
        if y is None:
            raise ValueError(
                "ConcatenatedEmbedder requires y to be passed, but the target y is "
                "None."
            )
        X, y = indexable(X, as_labels(y))
        check_classification_targets(y)
        cv = self.cv
        if isinstance(cv, Integral):
            cv = ClassDisjointKFold(int(cv))
        folds = list(cv.split(X, y, groups))
        if self.random_state is None:
            estimators = [clone(self.estimator) for _ in folds]
        else:
            rng = check_random_state(self.random_state)
            estimators = [seeded(self.estimator, rng) for _ in folds]
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_fold)(estimator, X, y, train, valid)
            for estimator, (train, valid) in zip(estimators, folds, strict=True)
        )
        return self

    def transform(self, X):
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the kind that :meth:`fit` was given.

        Returns
        -------
        ndarray of shape (n_samples, n_models * n_components)
            The rows of all models side by side, divided by the root of the number of
            models: rows of length one give rows of length one.

        Raises
        ------
        NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "estimators_")
        parts = [np.asarray(embed(model, X)) for model in self.estimators_]
        return concatenate(parts)

    @property
    def n_features_in_(self):
        """Number of features that the models saw."""
        check_is_fitted(self, "estimators_")
        return self.estimators_[0].n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the features that the models saw."""
        check_is_fitted(self, "estimators_")
        return self.estimators_[0].feature_names_in_

    @property
    def _n_features_out(self):
        names = (model.get_feature_names_out() for model in self.estimators_)
        return sum(map(len, names))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags.required = True
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        if inner.transformer_tags is not None:
            tags.transformer_tags = inner.transformer_tags
        return tags


def concatenate(parts):
    """Return embeddings side by side, divided by the root of their number.

    parts: list of (n_samples, n_components); returns (n_samples, sum of n_components).
    """
    return np.hstack(parts) / parts[0].dtype.type(np.sqrt(len(parts)))


def last_step(estimator):
    """Return the last step of nested Pipelines, and the prefix of its parameters."""
    if not isinstance(estimator, Pipeline):
        return "", estimator
    name, step = estimator.steps[-1]
    prefix, last = last_step(step)
    return f"{name}__{prefix}", last


def seeded(estimator, seed, **params):
    """Return a clone with other parameters, and every random_state in it an integer."""
    estimator = clone(estimator).set_params(**params)
    rng = seed if hasattr(seed, "randint") else np.random.RandomState(seed)
    names = sorted(
        name
        for name in estimator.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    )
    states = rng.randint(np.iinfo(np.int32).max, size=len(names)).tolist()
    return estimator.set_params(**dict(zip(names, states, strict=True)))


class RaiseInterrupt(Callback):
    """Raise Ctrl-C, after which a training would keep what it has learned."""

    def on_train_end(self, net, **kwargs):
        """Raise it again, if it came."""
        if net.interrupted_:
            raise KeyboardInterrupt


def fit_fold(estimator, X, y, train, valid):
    """Fit an estimator on one part; an embedder that stops early watches the other.

    In a Pipeline, the steps before the embedder are fitted on the training part and
    transform the other. Ctrl-C in a training is raised, also in Pipelines and
    searches, but for embedders in the grid of a search.
    X: (n_samples, ...); y: (n_samples,); train, valid: indices.
    """
    X_train, y_train = _safe_indexing(X, train), _safe_indexing(y, train)
    _, embedder = last_step(estimator)
    parts = [estimator, *estimator.get_params().values()]
    callbacks = {e: e.callbacks for e in parts if isinstance(e, BaseEmbedder)}
    for part, given in callbacks.items():
        part.callbacks = [*(given or []), RaiseInterrupt()]
    try:
        if isinstance(embedder, BaseEmbedder) and embedder.early_stopping:
            validation_data = _safe_indexing(X, valid), _safe_indexing(y, valid)
            _fit_validated(estimator, X_train, y_train, *validation_data)
        else:
            estimator.fit(X_train, y_train)
    finally:
        for part, given in callbacks.items():
            part.callbacks = given
    return estimator


def _fit_validated(estimator, X, y, X_valid, y_valid):
    if not isinstance(estimator, Pipeline):
        estimator.fit(X, y, validation_data=(X_valid, y_valid))
        return
    if len(estimator.steps) > 1:
        # The first steps, as a Pipeline of the same steps, fit and transform.
        before = estimator[:-1]
        X, X_valid = before.fit_transform(X, y), before.transform(X_valid)
        estimator.steps[:-1] = before.steps
    _fit_validated(estimator.steps[-1][1], X, y, X_valid, y_valid)
