"""Retrieval metrics one by one, called like scikit-learn's metrics."""

import inspect

import numpy as np

from sk_dml.metrics._retrieval import at_k, retrieval_scores

# The documentation that the functions share.
DATA = """\
X : array-like of shape (n_samples, n_features)
    Embeddings of the queries.
labels : array-like of shape (n_samples,)
    Classes of the queries, of any sortable kind."""
K = """\
k : int or sequence of int, default=1
    Number of neighbours, at least 1 and at most the size of the gallery; a sequence
    takes one search for all."""
OPTIONS = """\
metric : {"euclidean", "cosine"}, default="euclidean"
    What orders the neighbours.
gallery : array-like of shape (n_gallery, n_features) or None, default=None
    Embeddings to search among. None searches each sample of X among all others.
gallery_labels : array-like of shape (n_gallery,) or None, default=None
    Classes of the gallery.
average : {"micro", "macro"}, default="micro"
    The mean over the queries, or over the classes of the means of their queries.
n_classes : int or None, default=None
    Searches galleries of so many classes, at least 2, instead of one of all: data with
    different numbers of classes compare only so.
n_repeats : int, default=5
    How often all classes are dealt out into galleries of ``n_classes``, at least 1."""
SEARCH = """
search : {"exact", "approximate", "auto"}, default="exact"
    How neighbours are found; "approximate" lists them by pynndescent."""
RANDOM_STATE = """
random_state : int, RandomState instance or None, default=None
    Deals out the classes and seeds an approximate search."""
SHARED = {
    "{data}": DATA,
    "{k}": K,
    "{options}": OPTIONS + SEARCH + RANDOM_STATE,
    "{deep_options}": OPTIONS + RANDOM_STATE,
}


def _documented(function):
    """Complete the docstring of a score."""
    if function.__doc__ is not None:  # python -OO
        text = inspect.cleandoc(function.__doc__)
        for field, shared in SHARED.items():
            text = text.replace(field, shared)
        function.__doc__ = f"{text}\n"
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
    """Share of queries whose nearest neighbour is of their class.

    Also known as recall@1 in the field's papers.

    Parameters
    ----------
    {data}
    {options}

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
    """Share of the k nearest neighbours that are of the query's class, averaged.

    Parameters
    ----------
    {data}
    {k}
    {options}

    Returns
    -------
    float, or ndarray of shape (len(k),)
        The score, in [0, 1]; an array for a sequence of k.

    See Also
    --------
    r_precision_score : With as many neighbours as there are to find.
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
    """Share of queries with a sample of their class among the k nearest neighbours.

    Parameters
    ----------
    {data}
    {k}
    {options}

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
    """Share of the R nearest neighbours that are of the query's class, averaged.

    R is the number of items of the query's class: a perfect embedding scores 1.

    Parameters
    ----------
    {data}
    {options}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    map_at_r_score : Also asks that the right ones come first.
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
    """Mean average precision at R, the Reality Check's measure [1]_.

    For a query with R items of its class, the mean over the ranks i up to R of the
    precision among the first i neighbours, counted where the i-th is of the class. It
    rewards an embedding for bringing all of a class to the front, in order.

    Parameters
    ----------
    {data}
    {options}

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    mean_average_precision_score : Goes on beyond R.
    r_precision_score : Does not care about the order of the first R.
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
    """Mean average precision over the whole ranking.

    For a query, the mean over the items of its class of the precision among all items
    up to it.

    Parameters
    ----------
    {data}
    {deep_options}

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
    """One divided by the rank of the nearest sample of the class, averaged.

    Parameters
    ----------
    {data}
    {deep_options}

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
