"""Scorers: retrieval metrics called with an estimator, X and y.

A scorer embeds X with an embedder, with a Pipeline that ends in one, or with the
transforming part of a Pipeline that goes on to a classifier, and searches every sample
among the others.
"""

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length

from sk_dml._utils._embed import embed
from sk_dml._utils._warn import warn
from sk_dml.metrics._evaluate import check_options
from sk_dml.metrics._retrieval import at_k, retrieval_scores

__all__ = [
    "RetrievalScorer",
    "map_at_r",
    "precision_at_1",
    "r_precision",
    "recall_at_k",
    "retrieval_scorer",
]


OPTIONS = {"metric", "average", "n_classes", "n_repeats", "search", "random_state"}


class RetrievalScorer:
    """Score an embedder by searching every sample of X among the others.

    Parameters
    ----------
    names : tuple of str
        Metrics, as for :func:`sk_dml.metrics.retrieval_scores`.
    **options : dict
        More of its parameters: ``metric``, ``average``, ``n_classes``,
        ``n_repeats``, ``search`` and ``random_state``.

    See Also
    --------
    retrieval_scorer : Make one.
    """

    def __init__(self, names, **options):
        unknown = options.keys() - OPTIONS
        if unknown:
            raise TypeError(
                f"options must be any of {sorted(OPTIONS)}, got {sorted(unknown)}."
            )
        self.names = check_options(names, **options)
        self.options = options

    def __call__(self, estimator, X, y):
        """Return the score of the embedding of X.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that ends in one, or a
            Pipeline that goes on to a graph of neighbors or a predictor, whose steps
            before it are scored.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        float, or dict of str to float for several metrics

        Raises
        ------
        TypeError
            If the estimator has no ``transform``, or its output is sparse.
        ValueError
            If no sample has another of its class, or some values are NaN or infinite.

        Warns
        -----
        UserWarning
            If samples are left out: their rows are NaN, as those of unreadable images
            are with ``on_bad_image="skip"``.
        """
        embedding, y = without_missing(np.asarray(embed(estimator, X)), y)
        scores = retrieval_scores(embedding, y, metrics=self.names, **self.options)
        return scores if len(self.names) > 1 else scores[self.names[0]]

    def __repr__(self):
        options = [f"{name}={value!r}" for name, value in self.options.items()]
        return f"retrieval_scorer({', '.join([*map(repr, self.names), *options])})"


def without_missing(embedding, y):
    """Return embedding and y without rows of nothing but NaN, and warn of these."""
    if embedding.ndim != 2 or embedding.dtype.kind != "f":
        return embedding, y
    missing = np.isnan(embedding).all(axis=1)
    if not missing.any():
        return embedding, y
    message = f"{missing.sum()} of {len(embedding)} samples have no embedding, but NaN"
    if missing.all():
        raise ValueError(f"{message}: there is nothing to score.")
    warn(f"{message}, and are left out of the score.")
    check_consistent_length(embedding, y)
    kept = np.flatnonzero(~missing)
    return embedding[kept], _safe_indexing(y, kept)


def retrieval_scorer(*names, **options):
    """Make a scorer of one or more retrieval metrics, computed from one search.

    Parameters
    ----------
    *names : str
        Metrics, as for :func:`sk_dml.metrics.retrieval_scores`.
    **options : dict
        More of its parameters: ``metric``, ``average``, ``n_classes``,
        ``n_repeats``, ``search`` and ``random_state``. Folds with different numbers of
        classes compare only for an equal ``n_classes``.

    Returns
    -------
    RetrievalScorer
        For ``scoring=`` in scikit-learn. With several names it returns a dict, so that
        GridSearchCV wants one of them as ``refit``. ``ScoringMonitor`` takes a scorer
        of several names as it is, and one of a single name in a dict only, such as
        ``{"map_at_r": map_at_r}``.

    Raises
    ------
    TypeError
        If an option is unknown, or of another type.
    ValueError
        If a metric is unknown, or an option has no such value.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sk_dml.scorers import retrieval_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = retrieval_scorer("precision_at_1", "map_at_r")
    >>> results = cross_validate(StandardScaler(), X, y, scoring=scorer, cv=2)
    >>> results["test_map_at_r"].shape
    (2,)
    """
    return RetrievalScorer(names, **options)


def recall_at_k(k, **options):
    """Make a scorer of recall@k.

    Parameters
    ----------
    k : int
        Number of neighbors, at least 1.
    **options : dict
        As for :func:`retrieval_scorer`.

    Returns
    -------
    RetrievalScorer
        For ``scoring=`` in scikit-learn.

    Examples
    --------
    >>> from sk_dml.scorers import recall_at_k
    >>> recall_at_k(5)
    retrieval_scorer('recall_at_5')
    """
    return RetrievalScorer(at_k("recall", k), **options)


#: Scorer of precision@1, for ``scoring=`` in scikit-learn or called with a fitted
#: estimator, X and y: the share of samples whose nearest neighbor is of their class.
precision_at_1 = retrieval_scorer("precision_at_1")
#: Scorer of R-precision, for ``scoring=`` in scikit-learn or called with a fitted
#: estimator, X and y: the share of a sample's R nearest neighbors that are of its
#: class, where R is the number of other samples of its class.
r_precision = retrieval_scorer("r_precision")
#: Scorer of MAP@R, for ``scoring=`` in scikit-learn or called with a fitted estimator,
#: X and y: see :func:`sk_dml.metrics.map_at_r_score`.
map_at_r = retrieval_scorer("map_at_r")
