"""Rows to search among, their distances, and how searches see them."""

import numpy as np

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
