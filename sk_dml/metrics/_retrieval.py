"""Retrieval metrics, all from one search."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from sk_dml.metrics._evaluate import check_metric_names, evaluate
from sk_dml.metrics._intervals import class_bootstrap

AVERAGES = ("micro", "macro")


def at_k(kind, k):
    """Name precision@k or recall@k as :func:`retrieval_scores` does.

    Parameters
    ----------
    kind : {"precision", "recall"}
    k : int

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If k is not an integer of at least 1.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k!r}.")
    return f"{kind}_at_{k}"


def retrieval_scores(
    X,
    labels,
    *,
    metrics=("precision_at_1", "map_at_r"),
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    confidence_level=None,
    n_resamples=2000,
    random_state=None,
):
    """Compute several retrieval metrics from one search.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries, of any sortable kind.
    metrics : sequence of str, default=("precision_at_1", "map_at_r")
        Any of "precision_at_1", "r_precision", "map_at_r", "mean_average_precision"
        (over the whole ranking), "mean_reciprocal_rank", "precision_at_<k>" and
        "recall_at_<k>", such as "recall_at_10"; and "neighbor_recall", the share of the
        true neighbours that an approximate search finds, measured on 1,000 queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    average : {"micro", "macro"}, default="micro"
        The mean over the queries, or over the classes of the means of their queries.
    n_classes : int or None, default=None
        Searches galleries of so many classes, at least 2, instead of one of all. The
        more classes there are to choose from, the lower the scores: those of data with
        different numbers of classes compare only for an equal ``n_classes``.
    n_repeats : int, default=5
        How often the classes are dealt out into galleries of ``n_classes``, at least 1.
        Classes that are left over from a deal sit it out.
    search : {"exact", "approximate"}, default="exact"
        How neighbours are found. "approximate" lists them by pynndescent, for galleries
        of hundreds of thousands; what is missing in its lists counts as not found.
    confidence_level : float or None, default=None
        Adds intervals that hold the expected score with this probability, in (0, 1),
        by bootstrap over the classes: :func:`class_bootstrap`.
    n_resamples : int, default=2000
        Resamples of the bootstrap, at least 1.
    random_state : int, RandomState instance or None, default=None
        Deals out the classes, seeds an approximate search and draws the resamples.

    Returns
    -------
    dict of str to float
        The scores by name, each in [0, 1]; with a ``confidence_level`` also, as
        "<name>_interval", a tuple of the lower and the upper bound.

    Raises
    ------
    ValueError
        If shapes or values do not fit, or no query has a relevant item.

    Warns
    -----
    UserWarning
        If queries are left out, because the gallery holds nothing of their class; it
        says how many. If all items are of one class, so that nothing can be missed.

    See Also
    --------
    retrieval_values : The values of every query.

    Notes
    -----
    A gallery item is relevant to a query if it is of the same class; R is the number of
    items relevant to a query. Neighbours at equal distance count with the mean over all
    their orders, so that scores do not depend on the order of the rows.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.metrics import retrieval_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = retrieval_scores(X, y, metrics=("precision_at_1", "recall_at_5"))
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'precision_at_1': 0.96, 'recall_at_5': 0.99}
    """
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {AVERAGES}, got {average!r}.")
    names = check_metric_names(metrics, extra=["neighbor_recall"])
    random_state = check_random_state(random_state)
    found = evaluate(
        X,
        labels,
        [name for name in names if name != "neighbor_recall"],
        metric=metric,
        gallery=gallery,
        gallery_labels=gallery_labels,
        n_classes=n_classes,
        n_repeats=n_repeats,
        search=search,
        random_state=random_state,
        wants_recall="neighbor_recall" in names,
    )
    scores = {}
    for name in names:
        if name == "neighbor_recall":
            scores[name] = found.neighbor_recall
            continue
        kept = ~np.isnan(found.values[name])
        values, codes = found.values[name][kept], found.codes[kept]
        scores[name] = _mean(values, codes, average)
        if confidence_level is not None:
            scores[f"{name}_interval"] = class_bootstrap(
                values,
                codes,
                average=average,
                confidence_level=confidence_level,
                n_resamples=n_resamples,
                random_state=random_state,
            )
    return scores


def _mean(values, codes, average):
    if average == "macro":
        sizes = np.bincount(codes)
        values = np.bincount(codes, values)[sizes > 0] / sizes[sizes > 0]
    return float(values.mean())


def retrieval_values(
    X,
    labels,
    *,
    metrics=("precision_at_1", "map_at_r"),
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute retrieval metrics for every query, from one search.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries, of any sortable kind.
    metrics : sequence of str, default=("precision_at_1", "map_at_r")
        As for :func:`retrieval_scores`.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    n_classes : int or None, default=None
        Searches galleries of so many classes; a query has the mean of those that it
        was searched in.
    n_repeats : int, default=5
        How often the classes are dealt out into galleries, at least 1.
    search : {"exact", "approximate"}, default="exact"
        How neighbours are found.
    random_state : int, RandomState instance or None, default=None
        Deals out the classes and seeds an approximate search.

    Returns
    -------
    dict of str to ndarray of shape (n_samples,), float64
        The values by name, each in [0, 1]; NaN where a query is left out.

    Raises
    ------
    ValueError
        If shapes or values do not fit, or no query has a relevant item.

    Warns
    -----
    UserWarning
        As :func:`retrieval_scores` does.

    See Also
    --------
    class_bootstrap : An interval of their mean.
    retrieval_scores : The means.

    Examples
    --------
    >>> from sk_dml.metrics import retrieval_values
    >>> X, labels = [[0.0], [0.1], [5.0], [0.2], [9.0]], ["a", "a", "a", "b", "b"]
    >>> retrieval_values(X, labels, metrics=["precision_at_1"])["precision_at_1"]
    array([1. , 0.5, 0. , 0. , 0. ])
    """
    return evaluate(
        X,
        labels,
        check_metric_names(metrics),
        metric=metric,
        gallery=gallery,
        gallery_labels=gallery_labels,
        n_classes=n_classes,
        n_repeats=n_repeats,
        search=search,
        random_state=random_state,
    ).values
