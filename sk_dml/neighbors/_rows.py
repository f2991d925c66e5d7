"""Rows made comparable: scaled and centred so that equal distances stay equal."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

METRICS = ("euclidean", "cosine")

# Similarities that differ by less, relative to the largest possible one, are ties.
RESOLUTION = 2.0**-44

# Rows that are converted at a time.
BLOCK = 2048


@dataclass
class Rows:
    """Rows as they came, and what makes them points whose products are similarities.

    Attributes
    ----------
    values : ndarray of shape (n, n_features), float32 or float64
        The rows.
    scales : ndarray of shape (n,), float64
        What each is multiplied with.
    center : ndarray of shape (n_features,), float64
        What is taken away then.
    resolution : float
        The features are rounded to multiples of it in the end; 0 leaves them.
    """

    values: np.ndarray
    scales: np.ndarray
    center: np.ndarray
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
        points -= self.center
        if self.resolution:
            points /= self.resolution
            np.rint(points, out=points)
            points *= self.resolution
        return points

    def measure(self):
        """Measure all points.

        Returns
        -------
        squares : ndarray of shape (n,)
            Their squared lengths.
        largest : float
            The largest feature of all, by magnitude.
        """
        squares, largest = np.empty(len(self)), 0.0
        for block in gen_batches(len(self), BLOCK):
            points = self.points(block)
            squares[block] = np.einsum("ij,ij->i", points, points)
            largest = max(largest, np.abs(points).max(initial=0.0))
        return squares, largest


@dataclass
class Comparison:
    """Queries and a gallery whose similarities can be computed.

    The similarity of a query to an item is the product of their points less the
    ``offset`` of the item, rounded to a multiple of ``step``: the larger the nearer, on
    a scale of each query's own.

    Attributes
    ----------
    queries, gallery : Rows
        The same object if the queries are compared with each other.
    offsets : ndarray of shape (n_gallery,), float64
        Zeros for the cosine.
    step : float
        A power of two.
    query_lengths, gallery_lengths : ndarray of shape (n,), float64
        Euclidean lengths of the points.
    """

    queries: Rows
    gallery: Rows
    offsets: np.ndarray
    step: float
    query_lengths: np.ndarray
    gallery_lengths: np.ndarray


def compare(queries, gallery=None, *, metric="euclidean"):
    """Prepare rows for comparison, without overflow and with ties that are ties.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float
        The rows to compare.
    gallery : ndarray of shape (n_gallery, n_features) or None, default=None
        None compares the queries with each other.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What makes rows similar.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If there is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}.")
    arrays = [queries] if gallery is None else [queries, gallery]
    # By a power of two, so that nothing is rounded and no square overflows.
    largest = max(float(max(array.max(), -array.min())) for array in arrays)
    size = 2.0 ** -np.ceil(np.log2(largest)) if largest > 0 else 1.0
    center = np.zeros(queries.shape[1])
    scales = [np.full(len(array), size) for array in arrays]
    sides = [Rows(*side, center, 0.0) for side in zip(arrays, scales, strict=True)]
    if metric == "cosine":
        for side in sides:
            lengths = np.sqrt(side.measure()[0])
            side.scales = size / np.where(lengths > 0, lengths, 1.0)
            # Rounded, so that equal directions are equal points.
            side.resolution = RESOLUTION
    else:
        center = _exact_center(arrays[-1], size)
        for side in sides:
            side.center = center
    squares, largest_features = zip(*(side.measure() for side in sides), strict=True)
    # -|q - g|^2 / 2 without the part that all of the gallery share.
    offsets = squares[-1] / 2 if metric == "euclidean" else np.zeros(len(arrays[-1]))
    bound = largest_features[0] * largest_features[-1] * queries.shape[1]
    return Comparison(
        queries=sides[0],
        gallery=sides[-1],
        offsets=offsets,
        step=RESOLUTION * 2.0 ** np.ceil(np.log2(bound)) if bound > 0 else 1.0,
        query_lengths=np.sqrt(squares[0]),
        gallery_lengths=np.sqrt(squares[-1]),
    )


def _exact_center(rows, size):
    """Find a point amid the rows that can be subtracted without rounding.

    A large common offset would cost digits. The centre is rounded to a power of two
    near the spread, so that integers, and whatever else is exact, stay so: their equal
    distances stay equal.
    """
    spread = (rows.max(axis=0).astype(np.float64) * size) - rows.min(axis=0) * size
    unit = 2.0 ** np.floor(np.log2(spread, where=spread > 0, out=np.zeros_like(spread)))
    blocks = gen_batches(len(rows), BLOCK)
    total = sum((rows[block] * np.float64(size)).sum(axis=0) for block in blocks)
    return np.round(total / len(rows) / unit) * unit
