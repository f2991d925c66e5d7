"""Exact search: candidates by fast products, proven by bounds, in double precision.

Products of matrices in single precision give every squared distance with a known
error, so a lower bound of it. The rows with the smallest bounds are candidates: their
distances are computed in double precision, by differences. A row that is no candidate
is in no list if its bound is above the k-th distance among the candidates. Where one
is not, all rows whose bounds are below that distance are compared too; where these are
many, products in double precision come first.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from sk_dml.neighbors._distances import equal_rows

# Numbers that a step works on at once: few enough for the processor's cache.
CACHED = 2**17

# Squares of differences outside of this range may have lost digits or overflowed.
SAFE_SQUARES = (2.0**-900, 2.0**1000)


class Gallery:
    """Rows to search among, with the exact distances of a metric.

    Parameters
    ----------
    rows : ndarray of shape (n_gallery, n_features), float32 or float64
        Finite.
    metric : {"euclidean", "cosine"}
        With "cosine", rows become rows of length one, for which half the squared
        Euclidean distance is 1 - cos.

    Attributes
    ----------
    rows : ndarray of shape (n_gallery, n_features)
        The rows that distances are of.
    """

    def __init__(self, rows, metric):
        self.metric = metric
        self.is_zero = None
        if metric == "cosine":
            rows, is_zero = unit_rows(rows)
            if is_zero.any():
                self.is_zero = is_zero
        self.rows = rows
        self.first = _power_of_two_below(rows)
        self.center = self._scaled(rows[:1])[0] * 0.0
        for batch in self._batches(len(rows)):
            self.center += self._scaled(rows[batch]).sum(axis=0) / len(rows)
        self.second = 1.0
        largest = max(
            np.abs(self._scaled(rows[batch]) - self.center).max()
            for batch in self._batches(len(rows))
        )
        if largest > 0:
            # Within limits, so as not to magnify what the first scaling rounded.
            self.second = 2.0 ** -np.clip(np.ceil(np.log2(largest)), -60, 1)

    def _batches(self, n_rows):
        return batches(n_rows, max(1, CACHED // self.rows.shape[1]))

    def _scaled(self, rows):
        return rows.astype(np.float64) * self.first

    def as_queries(self, queries):
        """Bring rows to the form that the gallery's own have.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)

        Returns
        -------
        queries : ndarray of shape (n_queries, n_features)
        is_zero : ndarray of shape (n_queries,), bool
            Rows without a direction, at distance 1 from everything. For the Euclidean
            distance there are none.
        """
        if self.metric == "cosine":
            return unit_rows(queries)
        return queries, np.zeros(len(queries), dtype=bool)

    def centered(self, queries, dtype):
        """Move rows to the gallery's centre and scale.

        The gallery's own come to lie between -1 and 1. The scale is a power of two, so
        that nothing is rounded but the difference to the centre.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            From :meth:`as_queries`, or of ``rows``.
        dtype : dtype
            Precision of the result.

        Returns
        -------
        points : ndarray of shape (n_queries, n_features)
            0 where a query is far.
        is_far : ndarray of shape (n_queries,), bool
            Rows too far away to tell the gallery's rows apart in this precision.
        """
        points = np.empty(queries.shape, dtype=dtype)
        is_far = np.zeros(len(queries), dtype=bool)
        for batch in self._batches(len(queries)):
            with np.errstate(over="ignore"):
                moved = (self._scaled(queries[batch]) - self.center) * self.second
            far = np.abs(moved).max(axis=1) > 2 / np.finfo(dtype).eps
            moved[far] = 0.0
            with np.errstate(under="ignore"):
                points[batch] = moved
            is_far[batch] = far
        return points, is_far

    def squared(self, distances):
        """Turn distances into squared ones between centred points.

        Parameters
        ----------
        distances : ndarray of float64

        Returns
        -------
        ndarray of float64
        """
        with np.errstate(over="ignore", under="ignore"):
            if self.metric == "cosine":
                return 2 * distances * self.first**2 * self.second**2
            return (distances * self.first * self.second) ** 2

    def distances(self, queries, columns):
        """Compute distances in double precision, by direct differences.

        Equal rows are at equal distances to the bit.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
            From :meth:`as_queries`; none of them zero where the metric is cosine.
        columns : ndarray of shape (n_queries, k), int
            The gallery's rows to compare each query with.

        Returns
        -------
        ndarray of shape (n_queries, k), float64
        """
        columns = np.asarray(columns)
        flat = columns.ravel()
        result = np.empty(len(flat))
        for batch in self._batches(len(flat)):
            place = np.arange(batch.start, batch.stop) // columns.shape[1]
            differences = self.rows[flat[batch]].astype(np.float64)
            differences -= queries[place]
            if self.metric == "cosine":
                with np.errstate(under="ignore"):
                    result[batch] = np.square(differences).sum(axis=1) / 2
            else:
                result[batch] = _lengths(differences)
        if self.metric == "cosine":
            # The clip takes away no more than rounding errors.
            result = np.minimum(result, 2.0)
            if self.is_zero is not None:
                result[self.is_zero[flat]] = 1.0
        return result.reshape(columns.shape)


def batches(n_rows, size):
    """Cut rows into slices.

    Parameters
    ----------
    n_rows, size : int

    Yields
    ------
    slice
    """
    # scikit-learn's gen_batches checks its parameters, too slowly for inner loops.
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def unit_rows(rows):
    """Scale rows to length one, equal directions to equal rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)

    Returns
    -------
    rows : ndarray of shape (n_rows, n_features + 1), float64
        The last column is 0, but for rows of zeros, of which it is 1: they are at a
        right angle to all others.
    is_zero : ndarray of shape (n_rows,), bool
    """
    units = np.zeros((len(rows), rows.shape[1] + 1))
    inner = units[:, :-1]
    inner[...] = rows
    largest = np.abs(inner).max(axis=1, keepdims=True)
    is_zero = largest[:, 0] == 0
    largest[is_zero] = 1.0
    # The quotients of proportional rows are equal to the bit.
    with np.errstate(under="ignore"):
        inner /= largest
        units[is_zero, -1] = 1.0
        units /= np.sqrt(np.square(units).sum(axis=1, keepdims=True))
    return units, is_zero


def _lengths(differences):
    with np.errstate(over="ignore", under="ignore"):
        squares = np.square(differences).sum(axis=1)
    lengths = np.sqrt(squares)
    smallest, largest = SAFE_SQUARES
    unsafe = ~((squares > smallest) & (squares < largest))
    if unsafe.any():
        differences = differences[unsafe]
        sizes = np.abs(differences).max(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            powers = np.clip(np.ceil(np.log2(sizes)), -1000, 1000)
        with np.errstate(under="ignore"):
            squares = np.square(differences * 2.0**-powers).sum(axis=1)
            lengths[unsafe] = np.sqrt(squares) * 2.0 ** powers[:, 0]
    return lengths


def _power_of_two_below(rows):
    """Find a power of two that brings rows to at most about one."""
    largest = float(max(rows.max(), -rows.min()))
    if largest == 0:
        return 1.0
    return 2.0 ** -np.clip(np.ceil(np.log2(largest)), -1000, 1000)


# Candidates beyond the neighbours wanted, so that few queries need a second look.
SPARE = 8
# Selection: the smallest of a row are in the groups with the smallest minima.
GROUP = 32
# Numbers to convert at a time.
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
    device : str, torch.device or None, default=None
        Where torch computes products, in double precision; None for numpy.
    """

    def __init__(self, gallery: Gallery, device=None):
        _resolve(device)  # an error comes now rather than from a search
        self.gallery = gallery
        self.device = device
        n_earlier_copies = _count_earlier_copies(gallery.rows)
        self.copies = np.flatnonzero(n_earlier_copies)
        self.n_earlier_copies = n_earlier_copies[self.copies]
        self.bounds: dict = {}

    def __getstate__(self):
        # Bounds are quick to make again, and may be on a device that others lack.
        return self.__dict__ | {"bounds": {}}

    def _bounds(self, dtype, device):
        if dtype not in self.bounds:
            if device is None:
                self.bounds[dtype] = _Bounds(self.gallery, dtype)
            else:
                self.bounds[dtype] = _TorchBounds(self.gallery, device)
        return self.bounds[dtype]

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
        hidden = self.copies[self.n_earlier_copies > n_neighbors]
        n_kept = len(gallery.rows) - len(hidden)
        queries, is_zero = gallery.as_queries(queries)
        if own is None:
            own = np.full(len(queries), -1)
        for i in np.flatnonzero(is_zero):
            first = np.arange(n_neighbors + 1)
            indices[i] = first[first != own[i]][:n_neighbors]
            distances[i] = 1.0
        waiting = np.flatnonzero(~is_zero)
        n_candidates = n_neighbors + SPARE
        if 2 * n_candidates > n_kept:
            kept = np.delete(np.arange(len(gallery.rows)), hidden)
            for batch in _blocks(waiting, n_kept * 48):
                columns = np.broadcast_to(kept, (len(batch), n_kept))
                distances[batch], indices[batch] = _nearest(
                    gallery, queries[batch], columns, own[batch], n_neighbors
                )
            return distances, indices

        device = _resolve(self.device)
        for dtype in (np.float32, np.float64) if device is None else (np.float64,):
            if not len(waiting):
                break
            bounds = self._bounds(dtype, device)
            offsets = bounds.without(hidden)
            # With more left to compare, a query waits for the next precision.
            most = MANY * n_kept if dtype is np.float32 else np.inf
            n_threads = _openmp_effective_n_threads() if device is None else 1
            postponed = []
            for batch, found in _in_threads(
                bounds,
                (queries, own, offsets, n_neighbors, n_candidates, most),
                waiting,
                n_threads,
            ):
                distances[batch], indices[batch], is_done = found
                postponed.append(batch[~is_done])
            waiting = np.concatenate(postponed)
        return distances, indices


class _Bounds:
    """Lower bounds of squared distances to the rows of a gallery.

    Parameters
    ----------
    gallery : Gallery
    dtype : type
        Precision of the products.
    """

    # Products of a block that stay near the processor.
    n_products = 2**20

    def __init__(self, gallery, dtype):
        self.gallery = gallery
        self.dtype = dtype
        n_rows, n_features = gallery.rows.shape
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
        self.points[:n_rows], _ = gallery.centered(gallery.rows, dtype)
        self.offsets: Any = np.full(n_padded, np.inf, dtype=dtype)
        if np.isfinite(self.factor):
            self.offsets[:n_rows] = _squared_norms(self.points[:n_rows]) * self.factor
        else:
            self.offsets[:n_rows] = 0.0

    def without(self, hidden):
        """Give the offsets, infinite for rows that no query shall find."""
        if not len(hidden):
            return self.offsets
        offsets = self.offsets + 0
        offsets[hidden] = np.inf
        return offsets

    def empty(self, n_queries):
        """Make room for the bounds of a block of queries."""
        return np.empty((n_queries, len(self.points)), dtype=self.dtype)

    def search(self, queries, own, offsets, n_neighbors, n_candidates, most, memory):
        """Find the nearest rows of a block of queries.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
        own : ndarray of shape (n_queries,), int
            What no query may find; -1 for nothing.
        offsets : array of shape (n_points,)
            From :meth:`without`.
        n_neighbors, n_candidates : int
        most : float
            A query with more rows than that left to compare is given up.
        memory : array of shape (n_queries, n_points)
            From :meth:`empty`; overwritten.

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
        bounds = self._multiply(points, memory)
        bounds += offsets
        has_own = np.flatnonzero(own >= 0)
        bounds[has_own, own[has_own]] = np.inf

        candidates, reached = self._smallest(bounds, n_candidates)
        columns = np.sort(candidates, axis=1)
        distances, indices = _nearest(gallery, queries, columns, own, n_neighbors)
        # Above what the differences, squares and roots may have rounded away.
        rounding = 1 + (gallery.rows.shape[1] + 8) * 2.0**-51
        limits = gallery.squared(distances[:, -1]) * rounding - (norms - self.lost)
        is_done = reached > limits
        for i in np.flatnonzero(~is_done):
            row = self._fetch(bounds[i])
            # Where the limit is infinite, what is hidden is not above it either.
            near = np.flatnonzero((row <= limits[i]) & (row < np.inf))
            if len(near) <= most:
                is_done[i] = True
                distances[i], indices[i] = _nearest(
                    gallery, queries[[i]], near[None], own[[i]], n_neighbors
                )
        return distances, indices, is_done

    def _multiply(self, points, memory):
        """Multiply queries, which may be overwritten, by -2 and by the points."""
        points *= -2
        return np.matmul(points, self.points.T, out=memory)

    def _smallest(self, bounds, n_smallest):
        """Find the smallest bounds of every row, and the largest among these."""
        places = _smallest(bounds, n_smallest)
        return places, np.take_along_axis(bounds, places, axis=1).max(axis=1)

    def _fetch(self, bounds):
        return bounds.astype(np.float64)


class _TorchBounds(_Bounds):
    """The same by torch, on any of its devices that has double precision.

    Products in single precision are not taken: settings of torch, and of the device,
    may have them computed from fewer digits than their type has.
    """

    n_products = 2**27

    def __init__(self, gallery, device):
        super().__init__(gallery, np.float64)
        self.device = device
        self.points = self._to_device(self.points)
        self.offsets = self._to_device(self.offsets)

    def _to_device(self, array):
        import torch

        return torch.from_numpy(array).to(self.device)

    def empty(self, n_queries):
        return self.points.new_empty((n_queries, len(self.points)))

    def _multiply(self, points, memory):
        import torch

        return torch.matmul(self._to_device(points * -2), self.points.T, out=memory)

    def _smallest(self, bounds, n_smallest):
        values, places = bounds.topk(n_smallest, dim=1, largest=False)
        return places.cpu().numpy(), values[:, -1].cpu().numpy()

    def _fetch(self, bounds):
        return bounds.cpu().numpy()


def _resolve(device):
    """Turn the parameter into a torch device with double precision, or None."""
    if device is None:
        return None
    import torch

    from sk_dml._utils._device import resolve_device

    if isinstance(device, str) and device == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else None
    resolved = resolve_device(device)
    if resolved.type == "mps":
        raise ValueError(
            f"device={device!r} cannot be used to search: it has no double precision."
        )
    return resolved


def _in_threads(bounds, task, waiting, n_threads):
    """Search for queries in blocks, one in each thread; yield these and their rows."""
    queries, own, offsets, n_neighbors, n_candidates, most = task
    size = np.dtype(bounds.dtype).itemsize
    bytes_each = len(offsets) * (8 + 2 * size) + n_candidates * 64
    blocks = list(
        _blocks(waiting, bytes_each * n_threads, bounds.n_products // len(offsets))
    )
    memory = local()

    def search(batch):
        if not hasattr(memory, "bounds"):
            # Once: fresh memory is slow. No block is larger than the first.
            memory.bounds = bounds.empty(len(blocks[0]))
        return bounds.search(
            queries[batch],
            own[batch],
            offsets,
            n_neighbors,
            n_candidates,
            most,
            memory.bounds[: len(batch)],
        )

    if len(blocks) == 1 or n_threads == 1:
        yield from zip(blocks, map(search, blocks), strict=True)
        return
    # Products in several threads each would be in each other's way.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(n_threads) as pool:
        yield from zip(blocks, pool.map(search, blocks), strict=True)


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
    place = equal_rows(rows)
    alike = np.flatnonzero(np.bincount(place)[place] > 1)
    order = alike[np.argsort(place[alike], kind="stable")]
    ordered = place[order]
    counts[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return counts
