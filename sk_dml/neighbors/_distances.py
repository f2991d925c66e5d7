"""Rows made comparable: squared distances of points, equal where they should be."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.neighbors._validation import METRICS, check_choice

# Directions are rounded to multiples of it, and squared distances between them.
RESOLUTION = 2.0**-44
# Squared distances keep 44 of their 53 bits: sums of the same numbers in another order
# differ in the last ones.
SPLIT = 2.0**9 + 1
# The largest feature: products neither overflow nor, soon, underflow in any precision.
LARGEST = 2.0**40

# Rows that are converted, or looked at to find their centre, at a time.
BLOCK = 2048


@dataclass
class Rows:
    """Rows as they came, and what makes them points.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float32 or float64
        The rows.
    scales : ndarray of shape (n,), float64
        What each is multiplied with.
    extras : ndarray of shape (n,), float64
        What is added to all squared distances of each, to those of directions that are
        none: so they are at a right angle to all.
    resolution : float
        Features are rounded to multiples of it; 0 leaves them.
    """

    values: np.ndarray
    scales: np.ndarray
    extras: np.ndarray
    resolution: float

    def __len__(self):
        return len(self.values)

    def points(self, which=slice(None)):
        """Convert rows.

        Parameters
        ----------
        which : slice or ndarray of int

        Returns
        -------
        ndarray of shape (n_rows, n_features), float64
        """
        points = self.values[which] * self.scales[which, None]
        if self.resolution:
            points /= self.resolution
            np.rint(points, out=points)
            points *= self.resolution
        return points


def compare(queries, gallery=None, *, metric="euclidean"):
    """Prepare rows for comparison by the squared distances of points.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float
        The rows to compare.
    gallery : ndarray of shape (n_gallery, n_features) or None, default=None
        None compares the queries with each other.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What makes rows near.

    Returns
    -------
    queries, gallery : Rows
        The same object twice if there is no gallery.

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    check_choice(metric, METRICS, "metric")
    arrays = [queries] if gallery is None else [queries, gallery]
    largest = max(float(max(array.max(), -array.min())) for array in arrays)
    if 0 < largest < 2.0**-900:
        # What scales these would not be a number.
        return compare(*(array * 2.0**200 for array in arrays), metric=metric)
    # By a power of two, which rounds nothing.
    size = LARGEST / 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0
    make = _directions if metric == "cosine" else _scaled
    sides = [make(array, size) for array in arrays]
    return sides[0], sides[-1]


def _scaled(values, size):
    return Rows(values, np.full(len(values), size), np.zeros(len(values)), 0.0)


def _directions(values, size):
    lengths = np.empty(len(values))
    for block in gen_batches(len(values), BLOCK):
        rows = values[block] * np.float64(size)
        peaks = np.abs(rows).max(axis=1)
        rows /= np.where(peaks > 0, peaks, 1.0)[:, None]
        with np.errstate(under="ignore"):
            lengths[block] = peaks * np.sqrt(np.einsum("ij,ij->i", rows, rows))
    is_none = lengths == 0
    # Rounded, so that equal directions are equal points.
    scales = size / np.where(is_none, np.inf, lengths)
    return Rows(values, scales, is_none.astype(np.float64), RESOLUTION)


def rounded(squares, resolution):
    """Round squared distances, in place, so that equal ones are equal.

    Parameters
    ----------
    squares : ndarray of float64
    resolution : float
        Of the rows.

    Returns
    -------
    ndarray of float64
    """
    if resolution:
        squares /= resolution
        np.rint(squares, out=squares)
        squares *= resolution
    else:
        upper = squares * SPLIT
        np.subtract(upper, upper - squares, out=squares)
    return squares


def distance_blocks(queries, gallery=None, *, metric="euclidean", copies=4):
    """Compute all squared distances, a block of queries at a time.

    Equal rows are at equal distances to the bit, so that ties are ties; so are, but for
    one in hundreds, rows that differ and are equally far.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float
        The rows to compare.
    gallery : ndarray of shape (n_gallery, n_features) or None, default=None
        None compares the queries with each other and leaves every one out of its own
        gallery, by its index.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What makes rows near. For "cosine" the squared distance is 2 - 2 cos.
    copies : int, default=4
        How many arrays of the size of a block the caller needs at once; blocks are as
        large as scikit-learn's ``working_memory`` allows.

    Yields
    ------
    rows : slice
        The queries of the block.
    squares : ndarray of shape (block, n_gallery), float64
        Of scaled rows; infinity for a query itself.
    """
    left, right = compare(queries, gallery, metric=metric)
    points = right.points()
    available = get_config()["working_memory"] * 2**20
    block = max(1, int(available / (8 * copies * len(right))))
    for rows in gen_batches(len(left), block):
        squares = cdist(left.points(rows), points, "sqeuclidean")
        squares += left.extras[rows, None]
        squares += right.extras
        rounded(squares, left.resolution)
        if gallery is None:
            index = np.arange(rows.start, rows.stop)
            squares[index - rows.start, index] = np.inf
        yield rows, squares


def equal_rows(values):
    """Give equal rows equal numbers, and others different ones.

    Parameters
    ----------
    values : ndarray of shape (n, n_features), float

    Returns
    -------
    ndarray of shape (n,), int64
    """
    weights = np.arange(1, 2 * values.shape[1], 2, dtype=np.uint64)
    weights *= np.uint64(0x9E3779B97F4A7C15)
    hashes = np.empty(len(values), dtype=np.uint64)
    for block in gen_batches(len(values), BLOCK):
        bits = (values[block].astype(np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        hashes[block] = (bits ^ (bits >> np.uint64(32))) @ weights
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[place] != np.arange(len(values)))
    if (values[copies] != values[first[place[copies]]]).any():
        place = np.unique(values + 0.0, axis=0, return_inverse=True)[1].ravel()
    return place
