"""Retrieval metrics, all from one search."""

from sklearn.utils import check_random_state

from sk_dml.metrics._evaluate import check_options, evaluate
from sk_dml.metrics._intervals import check_number_of_classes, class_sums, interval
from sk_dml.neighbors._validation import check_positive


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
    TypeError
        If k is no integer.
    ValueError
        If k is below 1.
    """
    check_positive(k, "k")
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
        How often all classes are dealt out into galleries of ``n_classes``, at least 1.
        Where they do not come out even, the last gallery of a deal is filled up with
        the classes of the first. A query has the mean of the galleries that hold its
        class: one or more in every deal.
    search : {"exact", "approximate", "auto"}, default="exact"
        How neighbours are found. "approximate" lists them by pynndescent; what is
        missing in its lists counts as not found. "auto" does so from 250,000 items to
        search among on, unless a metric needs the whole ranking.
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
    TypeError
        If a parameter is of another type, the embeddings are sparse, or labels cannot
        be compared.

    Warns
    -----
    UserWarning
        If queries are left out, because the gallery holds nothing of their class; it
        says how many. If all items are of one class, so that nothing can be missed. If
        an interval is asked for from fewer than 10 classes.

    See Also
    --------
    retrieval_values : The values of every query.

    Notes
    -----
    A gallery item is relevant to a query if it is of the same class; R is the number of
    items relevant to a query. Neighbours at equal distance count with the mean over all
    their orders, so that scores do not depend on the order of the rows.

    With ``n_classes``, classes of which nothing is to be found (a single sample, or no
    query) are dealt out too: they are there to be mistaken for others. Scores then vary
    with ``random_state``, the less the more ``n_repeats``; an interval is one over the
    classes, and does not hold this noise.

    All intervals of one call are from the same resamples of the classes.

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
    names = check_options(
        metrics,
        metric=metric,
        average=average,
        n_classes=n_classes,
        n_repeats=n_repeats,
        search=search,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        random_state=random_state,
    )
    rng = check_random_state(random_state)
    # One seed for the intervals of all metrics, whatever else is drawn.
    seed = None if confidence_level is None else rng.randint(2**31 - 1)
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
        random_state=rng,
        wants_recall="neighbor_recall" in names,
    )
    scores: dict = {}
    for name in names:
        if name == "neighbor_recall":
            scores[name] = found.neighbor_recall
            continue
        sums, sizes = class_sums(found.values[name], found.codes, average)
        scores[name] = float(sums.sum() / sizes.sum())
        if seed is not None:
            if len(scores) == 1:
                check_number_of_classes(len(sizes))
            scores[f"{name}_interval"] = interval(
                sums, sizes, confidence_level, n_resamples, seed
            )
    return scores


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
        As for :func:`retrieval_scores`, but for "neighbor_recall", which is none of
        single queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    n_classes : int or None, default=None
        Searches galleries of so many classes; a query has the mean of those that hold
        its class.
    n_repeats : int, default=5
        How often all classes are dealt out into galleries, at least 1.
    search : {"exact", "approximate", "auto"}, default="exact"
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
    options = {
        "metric": metric,
        "n_classes": n_classes,
        "n_repeats": n_repeats,
        "search": search,
        "random_state": random_state,
    }
    names = check_options(metrics, extra=(), **options)
    where = {"gallery": gallery, "gallery_labels": gallery_labels}
    return evaluate(X, labels, names, **where, **options).values
