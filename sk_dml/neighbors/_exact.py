"""Exact search: candidates by fast products, proven by bounds, in double precision."""

# How it works. The squared distance of two centered rows is |q|^2 + |g|^2 - 2 q.g, and
# a product of matrices gives the q.g of a block of queries and the whole gallery. In
# single precision that is fast and rounded, but by no more than a share of |q|^2 +
# |g|^2 that is known (Higham's gamma): less this share, the result is a lower bound of
# the squared distance.
#
# 1. The rows with the smallest bounds, SPARE more than neighbors are wanted, are the
#    candidates of a query. Their distances are computed as ``_distances`` defines them,
#    by differences in double precision, and sorted, ties by index.
# 2. A row that is no candidate has a bound of at least the largest among the
#    candidates. If that is above the k-th distance, and above what ties with it, the
#    list is exact.
# 3. Else all rows whose bounds are not above the k-th distance are compared. Where
#    these are many, a product in double precision, with its smaller errors, comes
#    first.
#
# The result is that of comparing everything with everything by differences, to the bit,
# whatever the precision, the blocks, the threads or the device. Of copies of a row only
# the first k + 1 can be in any list: the others are hidden from the products, so that
# many copies leave no doubt to resolve. The rows are centered for small errors, and
# scaled by a power of two to between -1 and 1; a query so far away that the gallery
# collapses in this precision is compared with all of it. Memory: a copy of the gallery
# in single precision, and for every thread a block of bounds, within scikit-learn's
# working_memory.

from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from sk_dml.neighbors._distances import (
    CACHED,
    ROUNDING,
    Rows,
    batches,
    equal_rows,
    pair_distances,
)

# Candidates beyond the neighbors wanted, so that few queries need a second look.
SPARE = 8
# Selection: the smallest of a row are in the groups with the smallest minima.
GROUP = 32
# A query with more than this share of the gallery left to compare waits for products in
# double precision, each of which costs about as much as an eighth of a comparison.
MANY = 1 / 8
# More than what underflow can take from a bound, or a distance, for each feature.
LOST = {np.float32: 2.0**-99, np.float64: 2.0**-700}


class Centering:
    """Move rows to the center of a gallery and scale its rows to between -1 and 1.

    The scale is a power of two: nothing is rounded but the difference to the center.
    """

    def __init__(self, values):
        self.center = np.zeros(values.shape[1])
        for batch in self._batches(values):
            # Divided first: no sum overflows.
            self.center += (values[batch] / np.float64(len(values))).sum(axis=0)
        largest = max(
            np.abs(values[batch] - self.center).max() for batch in self._batches(values)
        )
        power = np.ceil(np.log2(largest)) if largest > 0 else 0.0
        self.scale = 2.0 ** -np.clip(power, -1022, 1000)

    def _batches(self, values):
        return batches(len(values), max(1, CACHED // values.shape[1]))

    def apply(self, values, dtype):
        """Return centered rows, (n, n_features), and which are too far, (n,), bool.

        Rows too far to tell the gallery's apart in this precision become zeros.
        """
        points = np.empty(values.shape, dtype=dtype)
        is_far = np.zeros(len(values), dtype=bool)
        for batch in self._batches(values):
            with np.errstate(over="ignore", under="ignore"):
                moved = (values[batch] - self.center) * self.scale
                is_far[batch] = np.abs(moved).max(axis=1) > 2 / np.finfo(dtype).eps
                moved[is_far[batch]] = 0.0
                points[batch] = moved
        return points, is_far


class ExactSearch:
    """The nearest rows of a gallery, exactly.

    Parameters
    ----------
    rows : ndarray of shape (n_gallery, n_features), float32 or float64
        The finite rows to search among.
    metric : {"euclidean", "cosine"}
    device : str, torch.device or None, default=None
        Where torch computes products, in double precision; None for numpy.
    """

    def __init__(self, rows, metric, device=None):
        _resolve(device)  # an error comes now rather than from a search
        self.gallery = Rows(rows, metric)
        self.centering = Centering(self.gallery.values)
        self.device = device
        n_earlier_copies = _count_earlier_copies(self.gallery.values)
        self.copies = np.flatnonzero(n_earlier_copies)
        self.n_earlier_copies = n_earlier_copies[self.copies]
        self.bounds: dict = {}

    def __getstate__(self):
        # Bounds are quick to make again, and may be on a device that others lack.
        return self.__dict__ | {"bounds": {}}

    def search(self, queries, n_neighbors, own=None):
        """Return distances and indices of the nearest rows, (n_queries, n_neighbors).

        No query finds the row ``own`` (n_queries,), -1 for none, of the gallery.
        """
        n_gallery = len(self.gallery)
        distances = np.empty((len(queries), n_neighbors))
        indices = np.empty((len(queries), n_neighbors), dtype=np.int64)
        queries = Rows(queries, self.gallery.metric)
        if own is None:
            own = np.full(len(queries), -1)
        # Behind that many copies of lower index, a row is in no list.
        hidden = self.copies[self.n_earlier_copies > n_neighbors]
        n_kept = n_gallery - len(hidden)
        # For a row of zeros every row is at distance 1: its list are the first rows.
        for i in np.flatnonzero(queries.is_zero):
            first = np.arange(n_neighbors + 1)
            indices[i], distances[i] = first[first != own[i]][:n_neighbors], 1.0
        waiting = np.flatnonzero(~queries.is_zero)
        if 2 * (n_neighbors + SPARE) > n_kept:
            kept = np.delete(np.arange(n_gallery), hidden)
            for which in _blocks(waiting, n_kept * 48):
                columns = np.broadcast_to(kept, (len(which), n_kept))
                distances[which], indices[which] = self.nearest(
                    queries, which, columns, own[which], n_neighbors
                )
            return distances, indices

        device = _resolve(self.device)
        for dtype in (np.float32, np.float64) if device is None else (np.float64,):
            if not len(waiting):
                break
            if dtype not in self.bounds:
                self.bounds[dtype] = (
                    _Bounds(self, dtype)
                    if device is None
                    else _TorchBounds(self, device)
                )
            # With more left to compare, a query waits for the next precision.
            most = MANY * n_kept if dtype is np.float32 else np.inf
            waiting = self.bounds[dtype].search(
                self, queries, waiting, own, hidden, most, distances, indices
            )
        return distances, indices

    def nearest(self, queries, which, columns, own, n_neighbors):
        """Return the nearest of some sorted columns (n_which, n_columns) of queries."""
        n_columns = columns.shape[1]
        distances = pair_distances(
            queries, np.repeat(which, n_columns), self.gallery, columns.ravel()
        ).reshape(columns.shape)
        distances[columns == own[:, None]] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
        return (
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(columns, order, axis=1),
        )


class _Bounds:
    """Lower bounds of squared distances to the rows of a gallery, by products."""

    # Products of a block that stay near the processor.
    n_products = 2**20

    def __init__(self, search, dtype):
        self.dtype = dtype
        values = search.gallery.values
        n_rows, n_features = values.shape
        unit = np.finfo(dtype).eps / 2
        # Higham's gamma for a product of d terms in any order, more for the rounding of
        # the points (4.4 units), of norms and of sums (5), and for norms in double.
        share = (n_features + 16) * unit
        error = share / (1 - share) + n_features * 2.0**-52
        # Half of the error goes with the norm of either side: |q||g| is less than half
        # the sum of their squares. Past a share of one half, nothing is known.
        self.factor = 1 - error if share < 0.5 else -np.inf
        self.lost = n_features * LOST[dtype]
        n_padded = -(-n_rows // GROUP) * GROUP
        self.points: Any = np.zeros((n_padded, n_features), dtype=dtype)
        self.points[:n_rows], _ = search.centering.apply(values, dtype)
        # The norms of the gallery, less their share of the error.
        self.offsets: Any = np.full(n_padded, np.inf, dtype=dtype)
        norms = _squared_norms(self.points[:n_rows])
        # A row of zeros is at a right angle to all rows, at 2 instead of 1.
        if search.gallery.is_zero.any():
            norms[search.gallery.is_zero] += search.centering.scale**2
        self.offsets[:n_rows] = norms * self.factor if share < 0.5 else 0.0

    def search(self, exact, queries, waiting, own, hidden, most, distances, indices):
        """Fill in the lists of waiting queries, and return those of them given up.

        The rows ``hidden`` are in no list. A query with more than ``most`` rows left to
        compare is given up.
        """
        offsets = self.offsets
        if len(hidden):
            offsets = offsets + 0  # a copy, of arrays and tensors
            offsets[hidden] = np.inf
        n_threads = self._n_threads()
        n_candidates = indices.shape[1] + SPARE
        bytes_each = len(offsets) * (8 + 2 * np.dtype(self.dtype).itemsize)
        bytes_each += n_candidates * 64
        largest = self.n_products // len(offsets)
        blocks = list(_blocks(waiting, bytes_each * n_threads, largest))
        memory = local()

        def search_block(which):
            if not hasattr(memory, "bounds"):
                # Once: fresh memory is slow. No block is larger than the first.
                memory.bounds = self._empty(len(blocks[0]))
            bounds = memory.bounds[: len(which)]
            distances[which], indices[which], is_done = self._search_block(
                exact,
                queries,
                which,
                own[which],
                offsets,
                indices.shape[1],
                most,
                bounds,
            )
            return which[~is_done]

        if len(blocks) == 1 or n_threads == 1:
            return np.concatenate(list(map(search_block, blocks)))
        # Products in several threads each would be in each other's way.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(n_threads) as pool:
            return np.concatenate(list(pool.map(search_block, blocks)))

    def _search_block(
        self, exact, queries, which, own, offsets, n_neighbors, most, bounds
    ):
        """Return the lists of a block of queries, and which of them are proven."""
        points, is_far = exact.centering.apply(queries.values[which], self.dtype)
        norms = _squared_norms(points) * (1.0 if np.isinf(self.factor) else self.factor)
        norms[is_far | np.isinf(self.factor)] = -np.inf
        self._multiply(points, bounds)
        bounds += offsets
        has_own = np.flatnonzero(own >= 0)
        bounds[has_own, own[has_own]] = np.inf

        candidates, reached = self._smallest(bounds, n_neighbors + SPARE)
        columns = np.sort(candidates, axis=1)
        distances, found = exact.nearest(queries, which, columns, own, n_neighbors)
        # What is above them is neither nearer nor tied: above what the differences,
        # their sums and roots, and rounding them to fewer bits, may have taken away.
        limits = distances[:, -1]
        if queries.metric == "cosine":
            limits = np.sqrt(np.maximum(2 * limits, queries.smallest_square))
        with np.errstate(over="ignore", under="ignore"):
            limits = (limits * exact.centering.scale) ** 2
        limits *= 1 + 4 * ROUNDING + (points.shape[1] + 8) * 2.0**-51
        limits -= norms - self.lost
        is_done = reached > limits
        for i in np.flatnonzero(~is_done):
            row = self._fetch(bounds[i])
            # Where the limit is infinite, what is hidden is not above it either.
            near = np.flatnonzero((row <= limits[i]) & (row < np.inf))
            if len(near) <= most:
                is_done[i] = True
                distances[i], found[i] = exact.nearest(
                    queries, which[[i]], near[None], own[[i]], n_neighbors
                )
        return distances, found, is_done

    def _n_threads(self):
        return _openmp_effective_n_threads()

    def _empty(self, n_queries):
        return np.empty((n_queries, len(self.points)), dtype=self.dtype)

    def _multiply(self, points, bounds):
        """Multiply queries, which may be overwritten, by -2 and by the points."""
        points *= -2
        np.matmul(points, self.points.T, out=bounds)

    def _smallest(self, bounds, n_smallest):
        """Return the indices of the smallest bounds of every row, and their largest."""
        indices = _smallest(bounds, n_smallest)
        return indices, np.take_along_axis(bounds, indices, axis=1).max(axis=1)

    def _fetch(self, bounds):
        return bounds.astype(np.float64)


class _TorchBounds(_Bounds):
    """The same by torch, on any of its devices that has double precision.

    Products in single precision are not taken: settings of torch, and of the device,
    may have them computed from fewer digits than their type has.
    """

    n_products = 2**27

    def __init__(self, search, device):
        super().__init__(search, np.float64)
        self.device = device
        self.points = self._to_device(self.points)
        self.offsets = self._to_device(self.offsets)

    def _to_device(self, array):
        import torch

        return torch.from_numpy(array).to(self.device)

    def _n_threads(self):
        return 1

    def _empty(self, n_queries):
        return self.points.new_empty((n_queries, len(self.points)))

    def _multiply(self, points, bounds):
        import torch

        torch.matmul(self._to_device(points * -2), self.points.T, out=bounds)

    def _smallest(self, bounds, n_smallest):
        values, indices = bounds.topk(n_smallest, dim=1, largest=False)
        return indices.cpu().numpy(), values[:, -1].cpu().numpy()

    def _fetch(self, bounds):
        return bounds.cpu().numpy()


def _resolve(device):
    """Return the torch device of the parameter, with double precision, or None."""
    if device is None:
        return None
    import torch

    from sk_dml._utils._torch import resolve_device

    if isinstance(device, str) and device == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else None
    resolved = resolve_device(device)
    if resolved.type == "mps":
        raise ValueError(
            f"device={device!r} cannot be used to search: it has no double precision."
        )
    return resolved


def _smallest(values, n_smallest):
    """Return the indices of the smallest values of every row, in any order."""
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


def _blocks(which, bytes_each, largest=1):
    """Yield blocks of queries that fit the memory, and the processor's cache."""
    available = get_config()["working_memory"] * 2**20
    size = min(max(64, largest), 1024, int(available / bytes_each))
    for batch in batches(len(which), max(1, size)):
        yield which[batch]


def _squared_norms(points):
    norms = np.empty(len(points))
    for batch in batches(len(points), max(1, CACHED // points.shape[1])):
        norms[batch] = np.square(points[batch], dtype=np.float64).sum(axis=1)
    return norms


def _count_earlier_copies(rows):
    """Return how many rows of lower index are equal to each row, (n_rows,)."""
    counts = np.zeros(len(rows), dtype=np.int64)
    numbers = equal_rows(rows)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    counts[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return counts
