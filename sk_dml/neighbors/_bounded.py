"""Exact search: candidates by fast products, proven by bounds, in double precision.

Products of matrices in single precision give every squared distance with a known
error, so a lower bound of it. The rows with the smallest bounds are candidates: their
distances are computed in double precision, by differences. A row that is no candidate
is in no list if its bound is above the k-th distance among the candidates. Where one
is not, all rows whose bounds are below that distance are compared too; where these are
many, products in double precision come first.
"""

import numpy as np
from sklearn import get_config

from sk_dml.neighbors._gallery import Gallery, batches, same_rows

# Candidates beyond the neighbours wanted, so that few queries need a second look.
SPARE = 8
# Selection: the smallest of a row are in the groups with the smallest minima.
GROUP = 32
# Products of a block that stay near the processor.
BLOCK = 2**20
# A query with more than this share of the gallery left to compare waits for products in
# double precision, each of which costs about as much as an eighth of a comparison.
MANY = 1 / 8
# More than what underflow can take from a bound, or a distance, for each feature.
LOST = {np.float32: 2.0**-99, np.float64: 2.0**-700}


class ExactSearch:
    """The nearest rows of a gallery, exactly.

    Parameters
    ----------
    gallery : Gallery
        The rows to search among.
    """

    def __init__(self, gallery: Gallery):
        self.gallery = gallery
        self.n_earlier_copies = _count_earlier_copies(gallery.rows)
        self.single = _Bounds(gallery, slice(None), np.float32)

    def search(self, queries, n_neighbors, own=None):
        """Find the nearest rows of every query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            Finite, of the gallery's width.
        n_neighbors : int
            At most the size of the gallery, less one where ``own`` is given.
        own : ndarray of shape (n_queries,), int, or None, default=None
            A row of the gallery for each query that it shall not find.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
        indices : ndarray of shape (n_queries, n_neighbors), int64
        """
        gallery = self.gallery
        distances = np.empty((len(queries), n_neighbors))
        indices = np.empty((len(queries), n_neighbors), dtype=np.int64)
        # Behind that many copies of lower index, a row is in no list.
        kept = np.flatnonzero(self.n_earlier_copies <= n_neighbors)
        queries, is_zero = gallery.as_queries(queries)
        if own is None:
            own = np.full(len(queries), -1)
        for i in np.flatnonzero(is_zero):
            first = np.arange(n_neighbors + 1)
            indices[i] = first[first != own[i]][:n_neighbors]
            distances[i] = 1.0
        waiting = np.flatnonzero(~is_zero)
        n_candidates = n_neighbors + SPARE
        if 2 * n_candidates > len(kept):
            for batch in _blocks(waiting, len(kept) * 48):
                columns = np.broadcast_to(kept, (len(batch), len(kept)))
                distances[batch], indices[batch] = _nearest(
                    gallery, queries[batch], columns, own[batch], n_neighbors
                )
            return distances, indices

        for dtype in (np.float32, np.float64):
            if not len(waiting):
                break
            if dtype is np.float32 and len(kept) == len(gallery.rows):
                bounds = self.single
            else:
                bounds = _Bounds(gallery, kept, dtype)
            is_last = dtype is np.float64
            size = np.dtype(dtype).itemsize
            bytes_each = len(bounds.points) * (8 + 2 * size) + n_candidates * 64
            postponed = []
            memory = None
            for batch in _blocks(waiting, bytes_each, BLOCK // len(bounds.points)):
                if (
                    memory is None
                ):  # once, as fresh memory is slow; the first is largest
                    memory = np.empty((len(batch), len(bounds.points)), dtype=dtype)
                found = bounds.search(
                    queries[batch],
                    own[batch],
                    n_neighbors,
                    n_candidates,
                    is_last,
                    memory[: len(batch)],
                )
                distances[batch], indices[batch], is_done = found
                postponed.append(batch[~is_done])
            waiting = np.concatenate(postponed)
        return distances, indices


class _Bounds:
    """Lower bounds of squared distances to some rows of a gallery.

    Parameters
    ----------
    gallery : Gallery
    kept : ndarray of int, or slice
        The rows.
    dtype : type
        Precision of the products.
    """

    def __init__(self, gallery, kept, dtype):
        self.gallery = gallery
        self.dtype = dtype
        self.kept = np.arange(len(gallery.rows))[kept]
        n_features = gallery.rows.shape[1]
        unit = np.finfo(dtype).eps / 2
        # Higham's gamma for a product of d terms in any order, more for the rounding of
        # the points (4.4 units), of norms and of sums (5), and for norms in double.
        share = (n_features + 16) * unit
        error = share / (1 - share) + n_features * 2.0**-52
        # Half of the error goes with the norm of either side: |q||g| is less than half
        # the sum of their squares. Past a share of one half, nothing is known.
        self.factor = 1 - error if share < 0.5 else -np.inf
        self.lost = n_features * LOST[dtype]
        n_padded = -(-len(self.kept) // GROUP) * GROUP
        self.points = np.zeros((n_padded, n_features), dtype=dtype)
        self.points[: len(self.kept)], _ = gallery.centered(gallery.rows[kept], dtype)
        self.offsets = np.full(n_padded, np.inf, dtype=dtype)
        if np.isfinite(self.factor):
            norms = _squared_norms(self.points[: len(self.kept)])
            self.offsets[: len(self.kept)] = norms * self.factor
        else:
            self.offsets[: len(self.kept)] = 0.0

    def search(self, queries, own, n_neighbors, n_candidates, is_last, memory):
        """Find the nearest rows of a block of queries.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
        own : ndarray of shape (n_queries,), int
            What no query may find; -1 for nothing.
        n_neighbors, n_candidates : int
        is_last : bool
            Whether to compare queries with many rows rather than give them up.
        memory : ndarray of shape (n_queries, n_points)
            Overwritten.

        Returns
        -------
        distances, indices : ndarray of shape (n_queries, n_neighbors)
        is_done : ndarray of shape (n_queries,), bool
            False for queries given up.
        """
        gallery = self.gallery
        points, is_far = gallery.centered(queries, self.dtype)
        norms = _squared_norms(points) * (1.0 if np.isinf(self.factor) else self.factor)
        norms[is_far | np.isinf(self.factor)] = -np.inf
        points *= -2
        bounds = np.matmul(points, self.points.T, out=memory)
        bounds += self.offsets
        place = np.searchsorted(self.kept, own)
        is_there = self.kept[np.minimum(place, len(self.kept) - 1)] == own
        bounds[np.flatnonzero(is_there), place[is_there]] = np.inf

        candidates = _smallest(bounds, n_candidates)
        reached = np.take_along_axis(bounds, candidates, axis=1).max(axis=1)
        columns = np.sort(self.kept[candidates], axis=1)
        distances, indices = _nearest(gallery, queries, columns, own, n_neighbors)
        # Above what the differences, squares and roots may have rounded away.
        rounding = 1 + (gallery.rows.shape[1] + 8) * 2.0**-51
        limits = gallery.squared(distances[:, -1]) * rounding - (norms - self.lost)
        is_done = reached > limits
        for i in np.flatnonzero(~is_done):
            near = np.flatnonzero(bounds[i].astype(np.float64) <= limits[i])
            # Where the limit is infinite, padding is below it too.
            near = self.kept[near[near < len(self.kept)]]
            if is_last or len(near) <= MANY * len(self.kept):
                is_done[i] = True
                distances[i], indices[i] = _nearest(
                    gallery, queries[[i]], near[None], own[[i]], n_neighbors
                )
        return distances, indices, is_done


def _nearest(gallery, queries, columns, own, n_neighbors):
    """Take the nearest of some sorted columns for every query."""
    distances = gallery.distances(queries, columns)
    distances[columns == own[:, None]] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return (
        np.take_along_axis(distances, order, axis=1),
        np.take_along_axis(columns, order, axis=1),
    )


def _smallest(values, n_smallest):
    """Find where the smallest values of every row are, in any order."""
    n_groups = values.shape[1] // GROUP
    if n_groups < 4 * n_smallest:
        return np.argpartition(values, n_smallest - 1, axis=1)[:, :n_smallest]
    # A value outside of the groups with the smallest minima is above all of these.
    groups = values.reshape(len(values), GROUP, n_groups).min(axis=1)
    groups = np.argpartition(groups, n_smallest - 1, axis=1)[:, :n_smallest]
    members = groups[:, :, None] + np.arange(GROUP) * n_groups
    members = members.reshape(len(values), -1)
    inside = np.take_along_axis(values, members, axis=1)
    chosen = np.argpartition(inside, n_smallest - 1, axis=1)[:, :n_smallest]
    return np.take_along_axis(members, chosen, axis=1)


def _blocks(rows, bytes_each, largest=1):
    """Cut rows into blocks that fit the memory, and the processor's cache."""
    available = get_config()["working_memory"] * 2**20
    size = min(max(64, largest), 1024, int(available / bytes_each))
    for batch in batches(len(rows), max(1, size)):
        yield rows[batch]


def _squared_norms(points):
    norms = np.empty(len(points))
    for batch in batches(len(points), max(1, BLOCK // points.shape[1])):
        squares = np.square(points[batch], dtype=np.float64)
        norms[batch] = squares.sum(axis=1)
    return norms


def _count_earlier_copies(rows):
    """Count, for every row, the equal ones of lower index."""
    counts = np.zeros(len(rows), dtype=np.int64)
    _, place, sizes = np.unique(_hashes(rows), return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[place] > 1)
    if not len(alike):
        return counts
    place = same_rows(rows[alike])
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    counts[alike[order]] = np.arange(len(alike)) - np.searchsorted(ordered, ordered)
    return counts


def _hashes(rows):
    """Give equal rows equal numbers, and most others different ones."""
    odd = np.arange(rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    weights = odd * np.uint64(0x9E3779B97F4A7C15)
    hashes = np.empty(len(rows), dtype=np.uint64)
    for batch in batches(len(rows), max(1, BLOCK // rows.shape[1])):
        bits = (rows[batch].astype(np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes[batch] = (bits ^ (bits >> np.uint64(32))) @ weights
    return hashes
