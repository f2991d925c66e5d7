"""Approximate search by pynndescent, and the share of the true neighbors it finds."""

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from sk_dml.neighbors._distances import Rows, batches, equal_rows, pair_distances
from sk_dml.neighbors._exact import ExactSearch
from sk_dml.neighbors._validation import (
    METRICS,
    check_choice,
    check_n_neighbors,
    check_positive,
    check_rows,
    check_same_width,
)

# Edges of the graph that a search walks along, pynndescent's own default.
DEGREE = 30
# Queries at a time.
BLOCK = 2**13


class ApproximateSearch:
    """The nearest rows of a gallery, most of them, by nearest-neighbor descent.

    Parameters
    ----------
    exact : ExactSearch
        Searches the same gallery, for queries that the descent does not serve.
    random_state : int, RandomState instance or None, default=None
        Seeds the descent.
    """

    def __init__(self, exact: ExactSearch, random_state=None):
        seed = check_random_state(random_state).randint(2**31 - 1)
        self.exact = exact
        values = exact.gallery.values
        # Copies of a row would be each other's only neighbors in the graph: it holds
        # the distinct rows, and a list is filled up with the copies of what is found.
        numbers = equal_rows(values)
        self.members = np.argsort(numbers, kind="stable")
        self.sizes = np.bincount(numbers)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.index: Any = None
        if len(self.sizes) <= DEGREE + 1:
            return
        # Slow to import, and not needed before.
        from pynndescent import NNDescent

        distinct = values[self.members[self.starts]]
        points, _ = exact.centering.apply(distinct, np.float32)
        with threadpool_limits():  # numba leaves OpenMP as many threads as cores
            self.index = NNDescent(
                points, metric="euclidean", n_neighbors=DEGREE, random_state=seed
            )
            self.index.prepare()

    def search(self, queries, n_neighbors, own=None):
        """Return distances and indices of near rows, as ``ExactSearch.search`` does."""
        own = np.full(len(queries), -1) if own is None else own
        distances = np.empty((len(queries), n_neighbors))
        indices = np.empty((len(queries), n_neighbors), dtype=np.int64)
        is_done = np.zeros(len(queries), dtype=bool)
        n_wanted = n_neighbors + 1  # one for the query itself
        if self.index is not None and n_wanted <= len(self.sizes):
            # Some 100 bytes for every row found, once or twice.
            available = get_config()["working_memory"] * 2**20 / (200 * n_wanted)
            for block in batches(len(queries), max(1, min(BLOCK, int(available)))):
                distances[block], indices[block], is_done[block] = self._search_block(
                    queries[block], n_neighbors, own[block]
                )
        missing = np.flatnonzero(~is_done)
        if len(missing):
            distances[missing], indices[missing] = self.exact.search(
                queries[missing], n_neighbors, own[missing]
            )
        return distances, indices

    def _search_block(self, queries, n_neighbors, own):
        n_wanted = n_neighbors + 1
        gallery = self.exact.gallery
        queries = Rows(queries, gallery.metric)
        points, is_far = self.exact.centering.apply(queries.values, np.float32)
        with threadpool_limits():  # an index from a pickle begins here
            distinct, _ = self.index.query(points, k=n_wanted)
        # Where the descent gets stuck, it returns -1, or one row twice.
        ordered = np.sort(distinct, axis=1)
        is_done = (ordered[:, 0] >= 0) & (ordered[:, 1:] > ordered[:, :-1]).all(axis=1)
        is_done &= ~(queries.is_zero | is_far)
        distinct[~is_done] = np.arange(n_wanted)

        # All copies of the distinct rows, as many as may be wanted.
        sizes = np.minimum(self.sizes[distinct], n_wanted)
        nearer = np.cumsum(sizes, axis=1) - sizes
        sizes = np.minimum(sizes, np.maximum(n_wanted - nearer, 1)).ravel()
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        columns = self.members[np.repeat(self.starts[distinct].ravel(), sizes) + within]
        rows = np.repeat(np.repeat(np.arange(len(distinct)), n_wanted), sizes)
        distances = pair_distances(queries, rows, gallery, columns)
        distances[columns == own[rows]] = np.inf
        order = np.lexsort((columns, distances, rows))
        starts = np.searchsorted(rows, np.arange(len(distinct)))
        nearest = order[starts[:, None] + np.arange(n_neighbors)]
        return distances[nearest], columns[nearest], is_done


def neighbor_recall(
    indices,
    queries,
    gallery=None,
    *,
    metric="euclidean",
    n_sampled=1000,
    random_state=None,
):
    """Return the share of the true nearest neighbors that a search found.

    Some of the queries are searched exactly. Of several rows as near as the last of
    the true neighbors, each counts as a true one.

    Parameters
    ----------
    indices : array-like of shape (n_queries, n_neighbors), int
        The rows of the gallery found for every query, in any order; -1 where nothing
        was found.
    queries : array-like of shape (n_queries, n_features)
        The rows searched for.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        The rows searched among. None stands for the queries, each left out of its own
        list.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance.
    n_sampled : int, default=1000
        Queries to search exactly, at least 1; all of them where there are no more.
    random_state : int, RandomState instance or None, default=None
        Draws these queries.

    Returns
    -------
    float
        The share, in [0, 1].

    Raises
    ------
    ValueError
        If shapes or values do not fit.
    TypeError
        If ``indices`` or ``n_sampled`` are not integers.

    See Also
    --------
    nearest_neighbors : Searches exactly or approximately.

    Examples
    --------
    >>> from sk_dml.neighbors import neighbor_recall
    >>> neighbor_recall([[1], [0], [0]], [[0.0], [1.0], [2.5]])
    0.6666666666666666
    """
    check_choice(metric, METRICS, "metric")
    queries = check_rows(queries, "queries")
    is_self = gallery is None
    gallery = queries if is_self else check_rows(gallery, "gallery")
    check_same_width(queries, "queries", gallery)
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got dtype {indices.dtype}.")
    if indices.ndim != 2 or len(indices) != len(queries):
        raise ValueError(
            f"indices must have a row for each of the {len(queries)} queries, got "
            f"shape {indices.shape}."
        )
    is_outside = ((indices < -1) | (indices >= len(gallery))).any(axis=1)
    if is_outside.any():
        raise ValueError(
            f"indices must be rows of the gallery, 0 to {len(gallery) - 1}, or -1; "
            f"{is_outside.sum()} of {len(indices)} queries have others."
        )
    check_n_neighbors(indices.shape[1], len(gallery), is_self=is_self)
    check_positive(n_sampled, "n_sampled")
    sample = draw_sample(len(queries), n_sampled, random_state)
    own = sample if is_self else np.full(len(sample), -1)
    exact = ExactSearch(gallery, metric)
    return recall_of(indices[sample], exact, queries[sample], own)


def draw_sample(n, n_sampled, random_state):
    """Draw some of n indices, in order, or all of them."""
    if n_sampled >= n:
        return np.arange(n)
    random = check_random_state(random_state)
    return np.sort(random.choice(n, n_sampled, replace=False))


def recall_of(indices, exact, queries, own):
    """Return the share of true neighbors in lists (n_queries, n_neighbors).

    -1 stands for nothing found; no query finds the row ``own`` (n_queries,).
    """
    indices = np.sort(indices, axis=1)
    farthest = exact.search(queries, indices.shape[1], own)[0][:, -1:]
    distances = pair_distances(
        Rows(queries, exact.gallery.metric),
        np.repeat(np.arange(len(queries)), indices.shape[1]),
        exact.gallery,
        np.maximum(indices, 0).ravel(),
    ).reshape(indices.shape)
    is_true = (distances <= farthest) & (indices >= 0) & (indices != own[:, None])
    is_true[:, 1:] &= indices[:, 1:] != indices[:, :-1]
    return float(is_true.mean())
