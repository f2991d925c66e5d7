"""What the displays compute from: embeddings, their classes, their neighbours."""

import inspect
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from sk_dml.inspection._style import check_matplotlib_support
from sk_dml.metrics import _validation
from sk_dml.neighbors import nearest_neighbors
from sk_dml.utils import embed, encode_labels, warn
from sk_dml.utils._images import is_path


class FromEstimatorMixin:
    """Adds ``from_estimator`` to a display that has ``from_embeddings``."""

    from_embeddings: Any

    @classmethod
    def from_estimator(cls, estimator, X, y, **options):
        """Embed samples and draw what :meth:`from_embeddings` draws of the embedding.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        **options : dict
            More arguments of :meth:`from_embeddings`, by name. A ``gallery``, where it
            takes one, holds samples here, which are embedded too.

        Returns
        -------
        object
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has nothing that transforms, or an option is unknown.
        ValueError
            If samples have no embedding, as images that cannot be read.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        # Faults in the options and in y show before the work.
        inspect.signature(cls.from_embeddings).bind(X, y, **options)
        encode_labels(y, name="y")
        options = cls._complete(estimator, X, options)
        if options.get("gallery") is not None:
            options["gallery"] = _embed(estimator, options["gallery"], "gallery")
        return cls.from_embeddings(_embed(estimator, X, "X"), y, **options)

    @classmethod
    def _complete(cls, estimator, X, options):
        """Add to the options what the estimator and the samples say."""
        return options


def _embed(estimator, X, name):
    """Embed samples; refuse those that have no embedding, by place and path."""
    embedding = np.asarray(embed(estimator, X))
    missing = [] if embedding.dtype.kind != "f" else np.isnan(embedding).all(axis=-1)
    if np.any(missing):
        first = int(np.argmax(missing))
        item = _safe_indexing(X, first)
        path = f", {str(item)!r}" if is_path(item) else ""
        raise ValueError(
            f"{np.sum(missing)} of {len(embedding)} samples of {name} have no "
            "embedding, but NaN, as images that cannot be read; the first is at place "
            f"{first}{path}. Leave them out of {name} and of what goes with it."
        )
    return embedding


def check_embeddings(X, labels, *, min_samples=2, min_features=1):
    """Validate embeddings; return them, the classes and the codes of the samples."""
    X, classes, codes = _validation.check_embeddings(X, labels)
    for axis, what, least in (
        (0, "samples", min_samples),
        (1, "features", min_features),
    ):
        if X.shape[axis] < least:
            raise ValueError(
                f"X must have at least {least} {what}, got {X.shape[axis]}."
            )
    return X.astype(np.float64, copy=False), classes, codes


def nearest(X, queries, gallery=None, *, n_neighbors=1, metric="euclidean"):
    """Find the neighbours of some rows of X, in a gallery or among the other rows."""
    if gallery is not None:
        return nearest_neighbors(
            X[queries], gallery, n_neighbors=n_neighbors, metric=metric
        )
    distances, found = nearest_neighbors(
        X[queries], X, n_neighbors=n_neighbors + 1, metric=metric
    )
    # One more, as a row finds itself; where copies of it come first, the last one goes.
    others = found != queries[:, None]
    others[others.all(axis=1), -1] = False
    shape = len(queries), n_neighbors
    return distances[others].reshape(shape), found[others].reshape(shape)


def draw_sample(n_samples, size, random_state):
    """Draw some of the samples, in their order; a size of None takes all."""
    if size is None or size >= n_samples:
        return np.arange(n_samples)
    return np.sort(random_state.choice(n_samples, size, replace=False))


def warn_left_out(n_left_out, n_samples):
    """Warn of samples that a picture leaves out, if there are any."""
    if n_left_out:
        warn(
            f"{n_left_out} of {n_samples} samples are left out of the picture: nothing "
            "else is of their class.",
        )


def findable(n_relevant):
    """Find the queries that have something to find, and warn of the others."""
    queries = np.flatnonzero(n_relevant)
    if not len(queries):
        raise ValueError(
            f"None of the {len(n_relevant)} queries has another sample of its class to "
            "find: retrieval needs classes with 2 or more samples."
        )
    warn_left_out(len(n_relevant) - len(queries), len(n_relevant))
    return queries
