"""One fold: an estimator with its seeds, trained on one part and stopped by another."""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from skorch.callbacks import Callback

from sk_dml.embedders._base import BaseEmbedder


def last_step(estimator):
    """Find what an estimator ends in.

    Parameters
    ----------
    estimator : estimator
        Any, or a Pipeline.

    Returns
    -------
    tuple of (str, estimator)
        What the names of its parameters begin with, and itself.
    """
    if not isinstance(estimator, Pipeline):
        return "", estimator
    name, step = estimator.steps[-1]
    prefix, last = last_step(step)
    return f"{name}__{prefix}", last


def seeded(estimator, seed, **params):
    """Clone an estimator, with other seeds and parameters.

    Parameters
    ----------
    estimator : estimator
    seed : int or RandomState
        Gives every parameter ``random_state`` in it an integer.
    **params : dict
        Parameters to set.

    Returns
    -------
    estimator
    """
    estimator = clone(estimator).set_params(**params)
    rng = seed if hasattr(seed, "randint") else np.random.RandomState(seed)
    names = sorted(
        name
        for name in estimator.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    )
    states = rng.randint(np.iinfo(np.int32).max, size=len(names)).tolist()
    return estimator.set_params(**dict(zip(names, states, strict=True)))


class Deadline(Callback):
    """End a training with a TimeoutError once the time is up.

    Parameters
    ----------
    deadline : float
        As ``time.time()`` counts.
    """

    def __init__(self, deadline):
        self.deadline = deadline

    def on_batch_end(self, net, **kwargs):
        """Look at the clock."""
        if time.time() > self.deadline:
            raise TimeoutError("The time limit ended the training.")


def with_deadline(estimator, deadline):
    """Let a time limit end the training of an embedder.

    Parameters
    ----------
    estimator : estimator
        Is changed if it is an embedder, or ends in one.
    deadline : float or None
        As ``time.time()`` counts; None is no limit.

    Returns
    -------
    estimator
    """
    prefix, embedder = last_step(estimator)
    if deadline is None or not isinstance(embedder, BaseEmbedder):
        return estimator
    callbacks = [*(embedder.callbacks or []), Deadline(deadline)]
    return estimator.set_params(**{f"{prefix}callbacks": callbacks})


def fit_fold(estimator, X, y, train, valid):
    """Train an estimator on one part; an embedder that stops early watches the other.

    Parameters
    ----------
    estimator : estimator
        Is fitted itself. In a Pipeline, the steps before the embedder are fitted on the
        training part and transform the other.
    X, y : array-like of shape (n_samples, ...) and (n_samples,)
    train, valid : ndarray of int
        The samples of the two parts.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    KeyboardInterrupt
        If one ended the training of an embedder, which otherwise keeps what it has
        learned by then.
    """
    X_train, y_train = _safe_indexing(X, train), _safe_indexing(y, train)
    _, embedder = last_step(estimator)
    with warnings.catch_warnings():
        # Such a fit is not kept, so its warning is of no use.
        warnings.filterwarnings("ignore", "Training was interrupted")
        if isinstance(embedder, BaseEmbedder) and embedder.early_stopping:
            X_valid, y_valid = _safe_indexing(X, valid), _safe_indexing(y, valid)
            _fit_watching(estimator, X_train, y_train, X_valid, y_valid)
        else:
            estimator.fit(X_train, y_train)
    steps = estimator if isinstance(estimator, Pipeline) else [estimator]
    if any(getattr(getattr(s, "net_", None), "interrupted_", False) for s in steps):
        raise KeyboardInterrupt
    return estimator


def _fit_watching(estimator, X, y, X_valid, y_valid):
    if not isinstance(estimator, Pipeline):
        return estimator.fit(X, y, validation_data=(X_valid, y_valid))
    if len(estimator.steps) > 1:
        # The first steps, as a Pipeline of the same steps, fit and transform.
        before = estimator[:-1]
        X, X_valid = before.fit_transform(X, y), before.transform(X_valid)
        estimator.steps[:-1] = before.steps
    _fit_watching(estimator.steps[-1][1], X, y, X_valid, y_valid)
    return estimator
