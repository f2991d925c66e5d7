"""The search for nearest neighbors, exact or approximate."""

import numpy as np

from sk_dml.neighbors._approximate import ApproximateSearch
from sk_dml.neighbors._exact import ExactSearch
from sk_dml.neighbors._validation import (
    METRICS,
    SEARCHES,
    check_choice,
    check_n_neighbors,
    check_rows,
    check_same_width,
)

# Rows from which search="auto" is approximate. Measured in seconds on one core, for the
# 10 nearest of every row, clustered, of width 128, with pynndescent 0.7.0: 20,000 rows
# take 1.9 exactly and 1.8 approximately, 40,000 take 6.2 and 3.7, 60,000 take 15 and
# 5.6. But pynndescent first compiles, for 26 seconds in every process. The exact time
# grows with the square of the rows: at 100,000 it is 39 to 41 with the compiler.
AUTO_APPROXIMATE = 100_000


def nearest_neighbors(
    queries,
    gallery=None,
    *,
    n_neighbors=10,
    metric="euclidean",
    search="exact",
    random_state=None,
    device=None,
):
    """Find the nearest neighbors of every query.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_features)
        The rows to search for.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        The rows to search among. None searches each query among all others: it is left
        out of its own list by its index, so that copies of it are found.
    n_neighbors : int, default=10
        Number of neighbors, at least 1 and at most the size of the gallery.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance. That of the cosine is 1 - cos; a row of zeros is at
        distance 1 from all.
    search : {"exact", "approximate", "auto"}, default="exact"
        "approximate" walks along a graph of neighbors that pynndescent builds [1]_. It
        compiles first, which takes up to a minute in every process, and pays on large
        galleries. Galleries of 31 different rows or fewer are searched exactly. "auto"
        is exact below 100,000 rows of the gallery and approximate from there on.
    random_state : int, RandomState instance or None, default=None
        Seeds the approximate search; the exact one draws no random numbers.
    device : str, torch.device or None, default=None
        Where the exact search takes its products of matrices: None for the CPU by
        numpy; "cuda" for the GPU, or "cpu", by torch; "auto" for the GPU if there is
        one, and else as None. The result is the same to the bit.

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
        fewer than ``n_neighbors`` rows to find, a parameter is unknown, or the device
        is not there.
    TypeError
        If ``n_neighbors`` is not an integer, or the rows are sparse.

    See Also
    --------
    RetrievalIndex : Keeps a gallery, and the labels of its rows.
    neighbor_recall : How much an approximate search finds.

    Notes
    -----
    Distances are computed from differences in double precision; their squares keep 44
    of 53 bits, so that equal distances are equal and ties are those of the metrics. The
    exact search takes candidates from products of matrices in single precision, whose
    error is bounded, and compares more rows wherever the bound leaves a doubt. With
    ``device``, torch takes the products in double precision: its settings for single
    precision, such as TF32, may round more than the bound allows. Blocks keep to
    scikit-learn's ``working_memory``, on a device too; it also holds the gallery.

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
    searcher = make_search(gallery, metric, search, random_state, device)
    return searcher.search(queries, n_neighbors, own)


def make_search(rows, metric, search, random_state, device=None):
    """Return an ExactSearch or ApproximateSearch of rows (n_gallery, n_features)."""
    exact = ExactSearch(rows, metric, device)
    if resolve_search(search, len(rows)) == "exact":
        return exact
    return ApproximateSearch(exact, random_state)


def resolve_search(search, n_rows):
    """Return how a gallery of so many rows is searched, never "auto"."""
    if search != "auto":
        return search
    return "exact" if n_rows < AUTO_APPROXIMATE else "approximate"
