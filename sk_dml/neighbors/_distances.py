"""Distances and ties: one definition for the index, the metrics and the displays.

The squared Euclidean distance of two rows is the sum, feature after feature, of the
squares of their differences in double precision, rounded to 44 significant bits. For
the cosine the rows are first scaled to length one, of which half the squared distance
is 1 - cos, and what is below 2**-96, the rounding error of equal directions, is 0; a
row of zeros is at distance 1 from every row. Two rows are tied, seen from a query, if
these rounded squares are equal: equal rows always are, and so are, but for one pair in
hundreds, rows that are equally far and whose squares add up to other last digits. Among
tied rows the index lists the one of lower index first; the metrics take the mean over
all orders. Everything that compares distances does so by ``pair_distances``, by
``distance_blocks`` or, compiled, by ``metrics._kernels.squared_distance``: the same
operations in the same order, so that they agree to the bit. Scaling all rows by a power
of two changes none of them, unless squares leave the range of double precision.
"""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.neighbors._validation import METRICS, check_choice

# Keeps 44 of the 53 bits of a number (Veltkamp's splitting): sums of the same squares
# in another order differ in the last ones.
SPLIT = 2.0**9 + 1
# Largest relative error of a rounded square.
ROUNDING = 2.0**-44
# Squared distances of unit rows below it are 0: rounding leaves equal directions apart.
SMALLEST_UNIT_SQUARE = 2.0**-96
# The metrics scale all rows so that the largest feature is about this: products neither
# overflow nor, soon, underflow in any precision.
LARGEST = 2.0**40
# Squares outside of this range may have lost digits or overflowed.
SAFE_SQUARES = (2.0**-900, 2.0**1000)
# Numbers to work on at a time: few enough for the processor's cache.
CACHED = 2**17
# Arrays of the size of a block of distances that are in memory at once.
COPIES = 4


class Rows:
    """Rows of a metric, between which distances are Euclidean.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float32 or float64
        Finite.
    metric : {"euclidean", "cosine"}

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features)
        The rows, for the cosine of length one and float64.
    is_zero : ndarray of shape (n_rows,), bool
        Rows without a direction; none of them for the Euclidean distance.
    smallest_square : float
        Squared distances below it are 0.
    """

    def __init__(self, rows, metric):
        check_choice(metric, METRICS, "metric")
        self.metric = metric
        self.smallest_square = 0.0
        if metric == "cosine":
            self.values, self.is_zero = unit_rows(rows)
            self.smallest_square = SMALLEST_UNIT_SQUARE
        else:
            self.values, self.is_zero = rows, np.zeros(len(rows), dtype=bool)

    def __len__(self):
        return len(self.values)


def unit_rows(rows):
    """Return float64 rows of length one and which are zero, (n, n_features) and (n,).

    Proportional rows become equal to the bit, and rows of zeros stay.
    """
    # The quotients of proportional rows are equal; no square overflows or vanishes.
    largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
    is_zero = largest[:, 0] == 0
    largest[is_zero] = 1.0
    with np.errstate(under="ignore"):
        units = rows / largest
        lengths = np.sqrt(np.square(units).sum(axis=1, keepdims=True))
    lengths[is_zero] = 1.0
    units /= lengths
    return units, is_zero


def round_squares(squares, smallest=0.0):
    """Round squared distances, in place, so that tied ones are equal."""
    upper = squares * SPLIT
    np.subtract(upper, upper - squares, out=squares)
    if smallest:
        squares[squares < smallest] = 0.0
    return squares


def pair_distances(rows, indices, others, other_indices):
    """Return the distances of some rows to as many others, (n_pairs,), float64."""
    distances = np.empty(len(indices))
    for batch in batches(len(indices), max(1, CACHED // rows.values.shape[1])):
        i, j = indices[batch], other_indices[batch]
        differences = others.values[j].astype(np.float64)
        differences -= rows.values[i]
        with np.errstate(over="ignore", under="ignore"):
            squares = _sums_of_squares(differences)
            if rows.metric == "cosine":
                round_squares(squares, rows.smallest_square)
                squares[rows.is_zero[i] | others.is_zero[j]] = 2.0
                # The clip takes away no more than rounding errors.
                distances[batch] = np.minimum(squares, 4.0) / 2
            else:
                distances[batch] = _lengths(differences, squares)
    return distances


def _sums_of_squares(differences):
    # Cumulated, as numpy's sum takes the terms in another order.
    return np.square(differences).cumsum(axis=1)[:, -1]


def _lengths(differences, squares):
    """Return rounded lengths, (n,), also where the squares are out of range."""
    smallest, largest = SAFE_SQUARES
    unsafe = ~((squares > smallest) & (squares < largest))
    lengths = np.sqrt(round_squares(np.where(unsafe, 0.0, squares)))
    if unsafe.any():
        differences = differences[unsafe]
        sizes = np.abs(differences).max(axis=1)
        with np.errstate(divide="ignore"):
            powers = np.clip(np.ceil(np.log2(sizes)), -1000, 1000)
        squares = _sums_of_squares(differences * 2.0 ** -powers[:, None])
        lengths[unsafe] = np.sqrt(round_squares(squares)) * 2.0**powers
    return lengths


def common_scale(*sides):
    """Return the power of two that the metrics multiply all rows with."""
    if sides[0].metric == "cosine":
        return 1.0
    largest = max(float(max(side.values.max(), -side.values.min())) for side in sides)
    if largest == 0:
        return 1.0
    return LARGEST * 2.0 ** -np.clip(np.ceil(np.log2(largest)), -960, 1000)


def distance_blocks(queries, gallery=None, *, metric="euclidean"):
    """Yield all squared distances, a block of queries at a time.

    Without a gallery, every query is at infinity from itself, by its index. Squares
    are of rows times ``common_scale``.

    Yields
    ------
    rows : slice
        The queries of the block.
    squares : ndarray of shape (block, n_gallery), float64
    """
    left = Rows(queries, metric)
    right = left if gallery is None else Rows(gallery, metric)
    scale = common_scale(left, right)
    points = right.values * np.float64(scale)
    available = get_config()["working_memory"] * 2**20
    block = max(1, int(available / (8 * COPIES * len(right))))
    for rows in gen_batches(len(left), block):
        squares = cdist(left.values[rows] * np.float64(scale), points, "sqeuclidean")
        round_squares(squares, left.smallest_square)
        squares[left.is_zero[rows]] = 2.0
        squares[:, right.is_zero] = 2.0
        if gallery is None:
            index = np.arange(rows.start, rows.stop)
            squares[index - rows.start, index] = np.inf
        yield rows, squares


def equal_rows(values):
    """Return numbers, (n,), that are equal where rows of (n, n_features) are."""
    weights = np.arange(1, 2 * values.shape[1], 2, dtype=np.uint64)
    weights *= np.uint64(0x9E3779B97F4A7C15)
    hashes = np.empty(len(values), dtype=np.uint64)
    for block in batches(len(values), max(1, CACHED // values.shape[1])):
        bits = (values[block].astype(np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes[block] = (bits ^ (bits >> np.uint64(32))) @ weights
    _, first, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[numbers] != np.arange(len(values)))
    # Rows that differ may have one hash: then they are compared themselves.
    if (values[copies] != values[first[numbers[copies]]]).any():
        numbers = np.unique(values + 0.0, axis=0, return_inverse=True)[1].ravel()
    return numbers


def batches(n_rows, size):
    """Yield slices of so many rows."""
    # scikit-learn's gen_batches checks its parameters, too slowly for inner loops.
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
