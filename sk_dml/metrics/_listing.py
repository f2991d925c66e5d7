"""Ranks of the relevant items in the lists of an approximate search."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.metrics._counting import count_relevant
from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors._approximate import draw_sample, recall_of
from sk_dml.neighbors._search import make_search
from sk_dml.neighbors._validation import check_values

# Queries whose lists are evaluated at a time, at most, and the bytes of a neighbor.
BLOCK, BYTES = 4096, 100
# Queries that the recall of the neighbors is measured on.
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
    """Return an iterator of (indices of queries, Ranks), and the recall of lists.

    The lists are of ``n_neighbors`` of an approximate search. The recall is the share
    of true neighbors in some of them; NaN if not wanted. For the others see
    ``score_in_blocks``.
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
    """Return Ranks of lists (n, n_neighbors), of which equal distances make groups."""
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
