"""Exact search: all similarities, block by block."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.neighbors._rows import compare


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
    compared = compare(queries, gallery, metric=metric)
    points = compared.gallery.points()
    distinct, place = np.unique(points + 0.0, axis=0, return_inverse=True)
    has_duplicates = len(distinct) < len(points)
    offsets = compared.offsets
    if has_duplicates:
        points = distinct
        offsets = np.zeros(len(distinct))
        offsets[place] = compared.offsets
    available = get_config()["working_memory"] * 2**20
    block = max(1, int(available / (8 * copies * len(compared.gallery))))
    for rows in gen_batches(len(compared.queries), block):
        similarities = compared.queries.points(rows) @ points.T
        similarities -= offsets
        # Sums of the same numbers in another order differ in the last digits.
        similarities /= compared.step
        np.rint(similarities, out=similarities)
        similarities *= compared.step
        if has_duplicates:
            similarities = similarities[:, place]
        if gallery is None:
            index = np.arange(rows.start, rows.stop)
            similarities[index - rows.start, index] = -np.inf
        yield rows, similarities
