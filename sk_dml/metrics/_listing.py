"""Rank the relevant items among the nearest neighbours that a search lists."""

import numpy as np
from sklearn.utils import gen_batches

from sk_dml.metrics._counting import count_relevant
from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors import nearest_neighbors, neighbor_recall

# Queries whose lists are evaluated at a time.
BLOCK = 4096


def ranks_of_lists(
    X,
    codes,
    gallery,
    gallery_codes,
    *,
    metric,
    n_neighbors,
    random_state,
    wants_recall,
):
    """Rank the relevant items that an approximate search finds.

    Parameters
    ----------
    X, codes, gallery, gallery_codes, metric : object
        As for :func:`ranks_in_blocks`.
    n_neighbors : int
        Neighbours to list.
    random_state : RandomState instance
        Seeds the search.
    wants_recall : bool
        Whether to measure the recall of the neighbours.

    Returns
    -------
    blocks : iterator of (ndarray of int, Ranks)
        As :func:`ranks_in_blocks` yields them.
    recall : float
        The share of the true neighbours among those listed; NaN if not wanted.
    """
    distances, indices = nearest_neighbors(
        X,
        gallery,
        n_neighbors=n_neighbors,
        metric=metric,
        search="approximate",
        random_state=random_state,
    )
    recall = np.nan
    if wants_recall:
        recall = neighbor_recall(
            indices, X, gallery, metric=metric, random_state=random_state
        )
    n_relevant = count_relevant(codes, gallery_codes, gallery is None)
    is_relevant = gallery_codes[indices] == codes[:, None]
    blocks = (
        (
            np.arange(rows.start, rows.stop),
            _ranks(n_relevant[rows], distances[rows], is_relevant[rows]),
        )
        for rows in gen_batches(len(X), BLOCK)
    )
    return blocks, recall


def _ranks(n_relevant, distances, is_relevant):
    """Make Ranks of lists of neighbours; those at equal distance are groups."""
    depth = distances.shape[1]
    is_first = np.ones(distances.shape, dtype=bool)
    is_first[:, 1:] = distances[:, 1:] != distances[:, :-1]
    first = np.flatnonzero(is_first)
    size = np.diff(first, append=is_first.size)
    until = np.zeros(is_first.size + 1, dtype=np.int64)
    np.cumsum(is_relevant, out=until[1:])
    hits = until[first + size] - until[first]
    query = first // depth
    hits_before = until[first] - until[query * depth]
    kept = hits > 0
    return Ranks(
        n_relevant,
        query[kept],
        (first % depth)[kept],
        hits_before[kept],
        hits[kept],
        size[kept],
    )
