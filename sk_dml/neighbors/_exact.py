"""Exact search: all similarities, block by block."""

import numpy as np
from sklearn import get_config
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

METRICS = ("euclidean", "cosine")

# Similarities that differ by less, relative to the largest possible one, are ties.
RESOLUTION = 2.0**-44


def similarity_blocks(queries, gallery=None, *, metric="euclidean", copies=4):
    """Compare every query with the whole gallery, a block of queries at a time.

    Equal gallery rows get equal similarities to the bit, so that ties are ties; so do,
    but for one in thousands, rows that differ and are equally near.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float
        The rows to compare.
    gallery : ndarray of shape (n_gallery, n_features) or None, default=None
        None compares the queries with each other and leaves every one out of its own
        gallery, by its index.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What makes rows similar.
    copies : int, default=4
        How many arrays of the size of a block the caller needs at once; blocks are as
        large as scikit-learn's ``working_memory`` allows.

    Yields
    ------
    rows : slice
        The queries of the block.
    similarities : ndarray of shape (block, n_gallery), float64
        The larger the nearer, on a scale of each query's own; -inf for itself.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}.")
    is_self = gallery is None
    queries = np.asarray(queries, dtype=np.float64)
    gallery = queries if is_self else np.asarray(gallery, dtype=np.float64)
    # By a power of two, so that nothing is rounded and no square overflows.
    largest = max(np.abs(queries).max(), np.abs(gallery).max())
    size = 2.0 ** -np.ceil(np.log2(largest)) if largest > 0 else 1.0
    queries, gallery = queries * size, gallery * size
    if metric == "cosine":
        # Rounded, so that equal directions are equal points.
        queries, gallery = (
            np.round(normalize(rows) / RESOLUTION) * RESOLUTION
            for rows in (queries, gallery)
        )
        offsets = 0.0
    else:
        center = _exact_center(gallery)
        queries, gallery = queries - center, gallery - center
    points, place = np.unique(gallery + 0.0, axis=0, return_inverse=True)
    has_duplicates = len(points) < len(gallery)
    if not has_duplicates:
        points = gallery
    if metric == "euclidean":
        # -|q - g|^2 / 2 without the part that all of the gallery share.
        offsets = np.einsum("ij,ij->i", points, points) / 2
    available = get_config()["working_memory"] * 2**20
    bound = np.abs(queries).max() * np.abs(points).max() * points.shape[1]
    step = RESOLUTION * 2.0 ** np.ceil(np.log2(bound)) if bound > 0 else 1.0
    block = max(1, int(available / (8 * copies * len(gallery))))
    for rows in gen_batches(len(queries), block):
        similarities = queries[rows] @ points.T
        similarities -= offsets
        # Sums of the same numbers in another order differ in the last digits.
        similarities /= step
        np.rint(similarities, out=similarities)
        similarities *= step
        if has_duplicates:
            similarities = similarities[:, place]
        if is_self:
            index = np.arange(rows.start, rows.stop)
            similarities[index - rows.start, index] = -np.inf
        yield rows, similarities


def _exact_center(rows):
    """Find a point amid the rows that can be subtracted without rounding.

    A large common offset would cost digits. The centre is rounded to a power of two
    near the spread, so that integers, and whatever else is exact, stay so: their equal
    distances stay equal.
    """
    spread = np.ptp(rows, axis=0)
    unit = 2.0 ** np.floor(np.log2(spread, where=spread > 0, out=np.zeros_like(spread)))
    return np.round(rows.mean(axis=0) / unit) * unit
