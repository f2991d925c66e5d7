"""Rank the relevant items among the nearest neighbours that a search lists."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.metrics._counting import count_relevant
from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors._approximate import draw_sample, recall_of
from sk_dml.neighbors._search import make_search
from sk_dml.neighbors._validation import check_values

# Queries whose lists are evaluated at a time, at most, and the bytes of a neighbour.
BLOCK, BYTES = 4096, 100
# Queries that the recall of the neighbours is measured on.
SAMPLED = 1000


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
        As for :func:`rate_in_blocks`.
    n_neighbors : int
        Neighbours to list.
    random_state : RandomState instance
        Seeds the search, and orders what is at equal distance.
    wants_recall : bool
        Whether to measure the recall of the neighbours.

    Returns
    -------
    blocks : iterator of (ndarray of int, Ranks)
        Queries, and where their relevant items stand.
    recall : float
        The share of the true neighbours among those listed; NaN if not wanted.
    """
    check_values(X, "X")
    is_self = gallery is None
    rows = X if is_self else check_values(gallery, "gallery")
    # A list may end amid items at equal distance, of which it has those that come first
    # in the gallery: in a random order these stand for all.
    order = random_state.permutation(len(rows))
    codes_in_order = gallery_codes[order]
    own = np.argsort(order) if is_self else np.full(len(X), -1)
    search = make_search(rows[order], metric, "approximate", random_state)
    recall = np.nan
    if wants_recall:
        some = draw_sample(len(X), SAMPLED, random_state)
        _, indices = search.search(X[some], n_neighbors, own[some])
        recall = recall_of(indices, search.exact, X[some], own[some])
    n_relevant = count_relevant(codes, gallery_codes, is_self)

    def blocks():
        fitting = int(get_config()["working_memory"] * 2**20 / (BYTES * n_neighbors))
        for block in gen_batches(len(X), max(1, min(BLOCK, fitting))):
            distances, indices = search.search(X[block], n_neighbors, own[block])
            is_relevant = codes_in_order[indices] == codes[block, None]
            ranks = _ranks(n_relevant[block], distances, is_relevant)
            yield np.arange(block.start, block.stop), ranks

    return blocks(), recall


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
