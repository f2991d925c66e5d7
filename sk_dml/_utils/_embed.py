"""Embeddings from estimators and pipelines."""

from scipy.sparse import issparse
from sklearn.pipeline import Pipeline


def embed(estimator, X):
    """Return the embedding of samples by the part of an estimator that transforms.

    Parameters
    ----------
    estimator : object
        A fitted embedder (any transformer), a Pipeline that ends in one, or a Pipeline
        that goes on to a graph of neighbors (a RetrievalIndex, a
        KNeighborsTransformer) or a predictor, of which the steps before that are used;
        or a search whose best estimator is one of these.
    X : array-like of shape (n_samples, ...)
        Samples.

    Returns
    -------
    array-like of shape (n_samples, n_components)
        What ``transform`` returns: an array, or a data frame under ``set_output``.

    Raises
    ------
    TypeError
        If the estimator has nothing that transforms, or what it gives is sparse.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_dml.utils import embed
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(PCA(2), KNeighborsClassifier()).fit(X, y)
    >>> embed(pipeline, X).shape
    (150, 2)
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    embedder = estimator
    if isinstance(estimator, Pipeline):
        graphs = [i for i, (_, step) in enumerate(estimator.steps) if _is_graph(step)]
        if graphs:
            # What follows works on distances.
            embedder = estimator[: graphs[0]]
        elif not hasattr(estimator, "transform"):
            embedder = estimator[:-1]
    if not hasattr(embedder, "transform"):
        raise TypeError(
            f"estimator {type(estimator).__name__} has no transform, so it makes no "
            "embedding; pass an embedder, or a Pipeline with one before its last step."
        )
    embedding = embedder.transform(X)
    if issparse(embedding):
        raise TypeError(
            f"estimator {embedder!r} returns sparse data of shape {embedding.shape}, "
            "no embedding: it goes on past it, for example to a graph of neighbors. "
            "Pass the part that ends in the embedder."
        )
    return embedding


def _is_graph(step):
    """Return whether a step turns embeddings into a graph of neighbors."""
    graphs = "kneighbors_graph", "radius_neighbors_graph"
    return hasattr(step, "transform") and any(hasattr(step, name) for name in graphs)
