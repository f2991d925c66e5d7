"""Retrieval metrics: functions of one metric, and of several from one search."""

import inspect

import numpy as np
from sklearn.utils import check_random_state

from sk_dml.metrics._evaluate import check_options, evaluate
from sk_dml.metrics._intervals import check_number_of_classes, class_sums, interval
from sk_dml.neighbors._validation import check_positive

# The functions of one metric have these parameters in common, and their text.
PARAMETERS = """X : array-like of shape (n_samples, n_features)
    Embeddings of the queries.
labels : array-like of shape (n_samples,)
    Classes of the queries, of any sortable kind.{k}
metric : {"euclidean", "cosine"}, default="euclidean"
    The distance that orders the neighbors.
gallery : array-like of shape (n_gallery, n_features) or None, default=None
    Embeddings to search among. None searches each sample of X among all others.
gallery_labels : array-like of shape (n_gallery,) or None, default=None
    Classes of the gallery.
average : {"micro", "macro"}, default="micro"
    The mean over the queries, or over the classes of the means of their queries.
n_classes : int or None, default=None
    Number of classes of the galleries searched, at least 2, instead of one gallery
    of all: only so do data with different numbers of classes compare.
n_repeats : int, default=5
    Number of random partitions of the classes into galleries of ``n_classes``, at
    least 1.{search}
random_state : int, RandomState instance or None, default=None
    Draws the partitions and seeds an approximate search."""
K = """
k : int or sequence of int, default=1
    Number of neighbors, at least 1 and at most the size of the gallery; a sequence
    takes one search for all."""
SEARCH = """
search : {"exact", "approximate", "auto"}, default="exact"
    How neighbors are found; "approximate" lists them by pynndescent."""


def _documented(function):
    """Fill the shared parameters into the docstring of a score."""
    if function.__doc__ is not None:  # python -OO
        names = function.__kwdefaults__
        shared = PARAMETERS.replace("{k}", K if "k" in names else "")
        shared = shared.replace("{search}", SEARCH if "search" in names else "")
        text = inspect.cleandoc(function.__doc__)
        function.__doc__ = text.replace("{parameters}", shared) + "\n"
    return function


@_documented
def precision_at_1_score(
    X,
    labels,
    *,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute the share of queries whose nearest neighbor is of their class.

    Also known as recall@1 in the field's papers.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import precision_at_1_score
    >>> precision_at_1_score([[0.0], [0.1], [5.0], [5.3]], ["a", "a", "b", "b"])
    1.0
    """
    return _one("precision_at_1", **locals())


@_documented
def precision_at_k_score(
    X,
    labels,
    *,
    k=1,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute the mean share of the k nearest neighbors of the query's class.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float, or ndarray of shape (len(k),)
        The score, in [0, 1]; an array for a sequence of k.

    See Also
    --------
    r_precision_score : Takes R neighbors, as many as there are relevant samples.
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import precision_at_k_score
    >>> X, labels = [[0.0], [2.0], [1.9], [4.5]], ["a", "a", "b", "b"]
    >>> precision_at_k_score(X, labels, k=2)
    0.375
    """
    return _at_k("precision", **locals())


@_documented
def recall_at_k_score(
    X,
    labels,
    *,
    k=1,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute the share of queries with a sample of their class among the k nearest.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float, or ndarray of shape (len(k),)
        The score, in [0, 1]; an array for a sequence of k.

    See Also
    --------
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import recall_at_k_score
    >>> X, labels = [[0.0], [2.0], [1.9], [4.5]], ["a", "a", "b", "b"]
    >>> recall_at_k_score(X, labels, k=2)
    0.75
    >>> recall_at_k_score(X, labels, k=[1, 2, 3])
    array([0.  , 0.75, 1.  ])
    """
    return _at_k("recall", **locals())


@_documented
def r_precision_score(
    X,
    labels,
    *,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute the mean share of the R nearest neighbors of the query's class.

    R is the number of items of the query's class: a perfect embedding scores 1.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    map_at_r_score : Also rewards that relevant ones come first.
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import r_precision_score
    >>> X, labels = [[0.0], [2.0], [1.9], [1.8], [9.0]], ["a", "a", "a", "b", "b"]
    >>> r_precision_score(X, labels)
    0.3
    """
    return _one("r_precision", **locals())


@_documented
def map_at_r_score(
    X,
    labels,
    *,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    random_state=None,
):
    """Compute the mean average precision at R, the measure of the Reality Check [1]_.

    For a query with R items of its class, the mean over the ranks i up to R of the
    precision among the first i neighbors, counted where the i-th is of the class. It
    rewards an embedding for bringing all of a class to the front, in order.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    mean_average_precision_score : Goes on beyond R.
    r_precision_score : Ignores the order of the first R.
    retrieval_scores : Several metrics from one search.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sk_dml.metrics import map_at_r_score
    >>> map_at_r_score([[0.0], [1.0], [1.1], [1.9]], ["a", "a", "b", "b"])
    0.5
    """
    return _one("map_at_r", **locals())


@_documented
def mean_average_precision_score(
    X,
    labels,
    *,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    random_state=None,
):
    """Compute the mean average precision over the whole ranking.

    For a query, the mean over the items of its class of the precision among all items
    up to it.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    map_at_r_score : Stops at R, the number of items of the class.
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import mean_average_precision_score
    >>> X, labels = [[0.0], [1.0], [1.1], [1.9]], ["a", "a", "b", "b"]
    >>> mean_average_precision_score(X, labels)
    0.7083...
    """
    return _one("mean_average_precision", **locals())


@_documented
def mean_reciprocal_rank_score(
    X,
    labels,
    *,
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    random_state=None,
):
    """Compute the mean of one divided by the rank of the nearest sample of the class.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    precision_at_1_score : Counts the first rank only.
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import mean_reciprocal_rank_score
    >>> X, labels = [[0.0], [1.0], [1.1], [1.9]], ["a", "a", "b", "b"]
    >>> mean_reciprocal_rank_score(X, labels)
    0.7083...
    """
    return _one("mean_reciprocal_rank", **locals())


def _at_k(kind, X, labels, k, **options):
    if np.ndim(k) == 0:
        return _one(at_k(kind, k), X, labels, **options)
    names = [at_k(kind, each) for each in k]
    if not names:
        raise ValueError(f"k must hold one or more integers, got {k!r}.")
    distinct = dict.fromkeys(names)
    scores = retrieval_scores(X, labels, metrics=distinct, **options)
    return np.array([scores[name] for name in names])


def _one(name, X, labels, **options):
    return retrieval_scores(X, labels, metrics=name, **options)[name]


def at_k(kind, k):
    """Return the name of "precision" or "recall" at k, if k is an integer >= 1."""
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
        true neighbors that an approximate search finds, measured on 1,000 queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance that orders the neighbors.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    average : {"micro", "macro"}, default="micro"
        The mean over the queries, or over the classes of the means of their queries.
    n_classes : int or None, default=None
        Number of classes of the galleries searched, at least 2, instead of one gallery
        of all. The more classes there are to choose from, the lower the scores: those
        of data with different numbers of classes compare only for an equal
        ``n_classes``.
    n_repeats : int, default=5
        Number of random partitions of the classes into galleries of ``n_classes``, at
        least 1; an incomplete last gallery is filled from the first. The value of a
        query is the mean over the galleries that hold its class.
    search : {"exact", "approximate", "auto"}, default="exact"
        How neighbors are found. "approximate" lists them by pynndescent; what is
        missing in its lists counts as not found. "auto" does so from 250,000 items to
        search among on, unless a metric needs the whole ranking.
    confidence_level : float or None, default=None
        Adds intervals that hold the expected score with this probability, in (0, 1),
        by bootstrap over the classes: :func:`class_bootstrap`.
    n_resamples : int, default=2000
        Resamples of the bootstrap, at least 1.
    random_state : int, RandomState instance or None, default=None
        Draws the partitions, seeds an approximate search and draws the resamples.

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
        If queries are left out, because the gallery holds nothing of their class, and
        how many. If all items are of one class, so that nothing can be missed. If an
        interval is of fewer than 10 classes.

    See Also
    --------
    retrieval_values : The values of every query.

    Notes
    -----
    A gallery item is relevant to a query if it is of the same class; R is the number of
    items relevant to a query. Neighbors at equal distance count with the mean over all
    their orders, so that scores do not depend on the order of the rows. Distances and
    ties are those of :class:`sk_dml.neighbors.RetrievalIndex`.

    With ``n_classes``, classes without queries, or with a single sample, are in the
    galleries too, as distractors. Scores then vary with ``random_state``, the less the
    more ``n_repeats``; intervals, which are over the classes, do not hold this noise.

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
    options = {
        "metric": metric,
        "n_classes": n_classes,
        "n_repeats": n_repeats,
        "search": search,
    }
    names = check_options(
        metrics,
        average=average,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        random_state=random_state,
        **options,
    )
    rng = check_random_state(random_state)
    # One seed for the intervals of all metrics, whatever else is drawn.
    seed = None if confidence_level is None else rng.randint(2**31 - 1)
    evaluation = evaluate(
        X,
        labels,
        [name for name in names if name != "neighbor_recall"],
        gallery=gallery,
        gallery_labels=gallery_labels,
        random_state=rng,
        wants_recall="neighbor_recall" in names,
        **options,
    )
    scores: dict = {}
    for name in names:
        if name == "neighbor_recall":
            scores[name] = evaluation.neighbor_recall
            continue
        sums, sizes = class_sums(evaluation.values[name], evaluation.codes, average)
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
        As for :func:`retrieval_scores`, except "neighbor_recall".
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance that orders the neighbors.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    n_classes : int or None, default=None
        Number of classes of the galleries searched; the value of a query is the mean
        over those that hold its class.
    n_repeats : int, default=5
        Number of random partitions of the classes into galleries, at least 1.
    search : {"exact", "approximate", "auto"}, default="exact"
        How neighbors are found.
    random_state : int, RandomState instance or None, default=None
        Draws the partitions and seeds an approximate search.

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
