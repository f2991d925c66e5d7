"""The embedding that an estimator makes, wherever in it the embedder sits."""

from sklearn.pipeline import Pipeline


def embed(estimator, X):
    """Embed samples with whatever part of an estimator transforms.

    Parameters
    ----------
    estimator : object
        A fitted embedder (any transformer), a Pipeline that ends in one, a Pipeline
        that ends in a predictor, of which the steps before it are used, or a search
        whose best estimator is one of these.
    X : array-like of shape (n_samples, ...)
        Samples.

    Returns
    -------
    array-like of shape (n_samples, n_components)
        What ``transform`` returns: an array, or a data frame under ``set_output``.

    Raises
    ------
    TypeError
        If the estimator has nothing that transforms.

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
    if not hasattr(estimator, "transform"):
        estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline) and not hasattr(estimator, "transform"):
        estimator = estimator[:-1]
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"estimator {estimator!r} has no transform, so it makes no embedding; give "
            "an embedder, or a Pipeline that holds one before its last step."
        )
    return estimator.transform(X)
