"""What workers do: train, and rate. Nothing else is sent to them."""

import time

import numpy as np
from sklearn.utils import _safe_indexing

from sk_dml._utils._embed import embed
from sk_dml.metrics import clustering_scores, retrieval_scores
from sk_dml.model_selection import ClassDisjointKFold
from sk_dml.reality_check._concatenated import ConcatenatedEmbedder, concatenate
from sk_dml.reality_check._fold import fit_fold, with_deadline
from sk_dml.scorers import map_at_r, without_missing

CLUSTERING = ("nmi", "ami", "pairwise_f1")
SCORINGS = ("separated", "concatenated")


def make_seed(*numbers):
    """Make a seed of numbers, independent of those of others.

    Parameters
    ----------
    *numbers : int
        At least 0.

    Returns
    -------
    int
        In [0, 2**31).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


def rate_fold(estimator, X, y, train, valid, deadline=None):
    """Train on one fold, and rate on its validation part.

    Parameters
    ----------
    estimator : estimator
        Its own seeds and parameters are used.
    X, y : array-like of shape (n_samples, ...) and (n_samples,)
        The development part.
    train, valid : ndarray of int
    deadline : float or None, default=None
        As ``time.time()`` counts.

    Returns
    -------
    dict
        With ``score``, MAP@R, or ``error``; and ``timed_out`` if the deadline came
        before the end.
    """
    if deadline is not None and time.time() > deadline:
        return {"timed_out": True}
    try:
        model = fit_fold(with_deadline(estimator, deadline), X, y, train, valid)
        score = map_at_r(model, _safe_indexing(X, valid), _safe_indexing(y, valid))
    except Exception as error:
        if deadline is not None and time.time() > deadline:
            return {"timed_out": True}
        return {"error": describe_error(error)}
    return {"score": float(score)}


def train_models(estimator, X, y, groups, n_folds, seed):
    """Train the models of all folds.

    Parameters
    ----------
    estimator : estimator
        With the parameters that were chosen.
    X, y, groups : array-like
        The development part.
    n_folds : int
    seed : int

    Returns
    -------
    ConcatenatedEmbedder
    """
    cv = ClassDisjointKFold(n_folds)
    model = ConcatenatedEmbedder(estimator, cv=cv, random_state=seed)
    return model.fit(X, y, groups=groups)


def rate_repeat(estimator, development, test, n_folds, metrics, seed):
    """Train the models of all folds, and rate them on the test classes.

    Parameters
    ----------
    estimator : estimator
        With the parameters that were chosen.
    development : tuple of (X, y, groups)
    test : tuple of (X, y)
    n_folds : int
    metrics : sequence of str
    seed : int

    Returns
    -------
    dict
        With ``scores``, a dict of "separated" (the mean over the models) and
        "concatenated" to dicts of the metrics; or ``error``.
    """
    try:
        X, y, groups = development
        model = train_models(estimator, X, y, groups, n_folds, seed)
        X, y = test
        parts = [np.asarray(embed(fitted, X)) for fitted in model.estimators_]
        separated = [rate(part, y, metrics, seed) for part in parts]
        mean = {
            name: float(np.mean([scores[name] for scores in separated]))
            for name in metrics
        }
        concatenated = rate(concatenate(parts), y, metrics, seed)
    except Exception as error:
        return {"error": describe_error(error)}
    return {"scores": dict(zip(SCORINGS, (mean, concatenated), strict=True))}


def rate(embedding, y, metrics, seed):
    """Rate an embedding.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_components)
        Rows of NaN, of images that cannot be read, are left out with a warning.
    y : array-like of shape (n_samples,)
    metrics : sequence of str
        Of retrieval, and "nmi", "ami" and "pairwise_f1".
    seed : int
        Of the clustering.

    Returns
    -------
    dict of str to float
    """
    clustering = [name for name in metrics if name in CLUSTERING]
    retrieval = [name for name in metrics if name not in CLUSTERING]
    embedding, y = without_missing(embedding, y)
    scores: dict = {}
    if retrieval:
        scores |= retrieval_scores(embedding, y, metrics=retrieval)
    if clustering:
        scores |= clustering_scores(embedding, y, metrics=clustering, random_state=seed)
    return {name: float(scores[name]) for name in metrics}


def describe_error(error):
    """Tell in one line what went wrong.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    str
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
