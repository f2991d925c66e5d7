"""Nearest neighbours of rows, exactly or approximately."""

import numpy as np

from sk_dml.neighbors._approximate import ApproximateSearch
from sk_dml.neighbors._bounded import ExactSearch
from sk_dml.neighbors._gallery import Gallery
from sk_dml.neighbors._validation import (
    METRICS,
    SEARCHES,
    check_choice,
    check_n_neighbors,
    check_rows,
    check_same_width,
)


def nearest_neighbors(
    queries,
    gallery=None,
    *,
    n_neighbors=10,
    metric="euclidean",
    search="exact",
    random_state=None,
):
    """Find the nearest neighbours of every query.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features)
        The rows to search for.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        The rows to search among. None searches each query among all others: it is left
        out of its own list by its index, so that copies of it are found.
    n_neighbors : int, default=10
        Number of neighbours, at least 1 and at most the size of the gallery.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What makes rows near. The cosine distance is 1 - cos; a row of zeros is at
        distance 1 from all.
    search : {"exact", "approximate"}, default="exact"
        "approximate" walks along a graph of neighbours that pynndescent builds [1]_. It
        compiles first, which takes up to a minute in every process, and pays on large
        galleries. Galleries of 31 different rows or fewer are searched exactly.
    random_state : int, RandomState instance or None, default=None
        Seeds the approximate search; the exact one draws no random numbers.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors), float64
        From nearest to farthest; at least 0, and at most 2 where the metric is cosine.
    indices : ndarray of shape (n_queries, n_neighbors), int64
        Rows of the gallery. Those at equal distance are in order of their index.

    Raises
    ------
    ValueError
        If rows hold NaN, infinity or values beyond 1e300, widths differ, there are
        fewer than ``n_neighbors`` rows to find, or a parameter is unknown.
    TypeError
        If ``n_neighbors`` is no integer, or the rows are sparse.

    See Also
    --------
    RetrievalIndex : Keeps a gallery, and the labels of its rows.
    neighbor_recall : How much an approximate search finds.

    Notes
    -----
    Distances are those of double precision, computed from differences. The exact search
    takes candidates from products of matrices in single precision, whose error is
    bounded, and compares more rows wherever the bound leaves a doubt. Its blocks keep
    to scikit-learn's ``working_memory``.

    References
    ----------
    .. [1] W. Dong, M. Charikar, K. Li. "Efficient K-Nearest Neighbor Graph Construction
           for Generic Similarity Measures". WWW 2011.

    Examples
    --------
    >>> from sk_dml.neighbors import nearest_neighbors
    >>> distances, indices = nearest_neighbors([[0.0], [2.0], [3.0]], n_neighbors=1)
    >>> distances.ravel(), indices.ravel()
    (array([2., 1., 1.]), array([1, 2, 1]))
    """
    check_choice(metric, METRICS, "metric")
    check_choice(search, SEARCHES, "search")
    queries = check_rows(queries, "queries")
    own = None
    if gallery is None:
        gallery, own = queries, np.arange(len(queries))
    else:
        gallery = check_rows(gallery, "gallery")
        check_same_width(queries, "queries", gallery)
    check_n_neighbors(n_neighbors, len(gallery), is_self=own is not None)
    searcher = make_search(gallery, metric, search, random_state)
    return searcher.search(queries, n_neighbors, own)


def make_search(rows, metric, search, random_state):
    """Prepare a gallery for searches.

    Parameters
    ----------
    rows : ndarray of shape (n_gallery, n_features)
        Finite.
    metric : {"euclidean", "cosine"}
    search : {"exact", "approximate"}
    random_state : int, RandomState instance or None

    Returns
    -------
    ExactSearch or ApproximateSearch
    """
    gallery = Gallery(rows, metric)
    if search == "exact":
        return ExactSearch(gallery)
    return ApproximateSearch(gallery, random_state)
