"""Rank the relevant items of every query, exactly and without ranking the others.

The similarities of a query to its relevant items are computed in double precision and
sorted; of all other items it only counts how many come before which of them. That takes
one pass over the products of all pairs, in tiles, and memory for the relevant pairs.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import local

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors import compare, similarity_blocks

# Up to so many pairs, what needs no compiled code is quick enough.
FEW_PAIRS = 2**22

# Rows and columns of a tile of products: it should fit into the cache.
TILE = 1024

# Relevant pairs that are kept at a time, and that are evaluated at a time.
KEPT_PAIRS, RANKED_PAIRS = 2**23, 2**19


def count_relevant(codes, gallery_codes, is_self):
    """Count the relevant items of every query.

    Parameters
    ----------
    codes : ndarray of shape (n,), int
        Classes of the queries.
    gallery_codes : ndarray of shape (n_gallery,), int
        Classes of the gallery.
    is_self : bool
        Whether the queries are the gallery, each without itself.

    Returns
    -------
    ndarray of shape (n,)
    """
    sizes = np.bincount(gallery_codes, minlength=codes.max(initial=-1) + 1)
    return sizes[codes] - int(is_self)


def ranks_in_blocks(X, codes, gallery, gallery_codes, *, metric, depth):
    """Rank the relevant items of every query.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float
        The queries.
    codes : ndarray of shape (n,), int
        Their classes.
    gallery : ndarray of shape (n_gallery, n_features) or None
        None searches each query among the others.
    gallery_codes : ndarray of shape (n_gallery,), int
        The classes of the gallery; without one, ``codes``.
    metric : {"euclidean", "cosine"}
        What orders the neighbours.
    depth : ndarray of shape (n,)
        Ranks that matter; relevant items beyond them may be missing from the result.

    Yields
    ------
    queries : ndarray of int
        Some of the queries; those that nothing is relevant to may never come.
    ranks : Ranks
        Of these.
    """
    n_gallery = len(X) if gallery is None else len(gallery)
    function = _rank_few if len(X) * n_gallery <= FEW_PAIRS else _rank_many
    return function(X, codes, gallery, gallery_codes, metric, depth)


def _rank_few(X, codes, gallery, gallery_codes, metric, depth):
    n_relevant = count_relevant(codes, gallery_codes, gallery is None)
    for rows, similarities in similarity_blocks(X, gallery, metric=metric):
        groups = []
        for i, values in enumerate(similarities):
            relevant = gallery_codes == codes[rows.start + i]
            found = values[relevant]
            found, hits = np.unique(-found[found > -np.inf], return_counts=True)
            others = np.sort(-values[~relevant])
            before = np.searchsorted(others, found, "left")
            tied = np.searchsorted(others, found, "right") - before
            groups.append(np.stack([np.full(len(found), i), before, hits, tied]))
        ranks = _assemble(n_relevant[rows], *np.concatenate(groups, axis=1))
        yield np.arange(rows.start, rows.stop), ranks


def _assemble(n_relevant, query, before, hits, tied):
    """Make Ranks of groups, given the irrelevant items before and in each."""
    until = np.cumsum(hits) - hits
    first = np.flatnonzero(np.diff(query, prepend=-1))
    n_groups = np.diff(first, append=len(query))
    hits_before = until - np.repeat(until[first], n_groups)
    return Ranks(
        n_relevant, query, before + hits_before, hits_before, hits, hits + tied
    )


def _rank_many(X, codes, gallery, gallery_codes, metric, depth):
    is_self = gallery is None
    if not is_self:
        dtype = np.result_type(X, gallery)
        X, gallery = (rows.astype(dtype, copy=False) for rows in (X, gallery))
    search = _Search(compare(X, gallery, metric=metric), codes, gallery_codes, is_self)
    ends = np.cumsum(search.n_relevant)
    for start, stop in _blocks(ends, KEPT_PAIRS):
        counts = search.count(start, stop, depth)
        done = ends[start] - search.n_relevant[start]
        for first, last in _blocks(ends[start:stop] - done, RANKED_PAIRS):
            some = search.order[start + first : start + last]
            n_relevant = search.n_relevant[start + first : start + last]
            yield some, _assemble(n_relevant, *_groups(counts, first, last))


def _blocks(ends, size):
    """Part queries into blocks with so many relevant pairs, or a single query."""
    start = done = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + size, "right")))
        yield start, stop
        start, done = stop, ends[stop - 1]


def _groups(counts, first, last):
    """Read the groups of some queries out of the counts."""
    starts = counts.starts[first : last + 1]
    pairs = slice(starts[0], starts[-1])
    if starts[0] == starts[-1]:
        return (np.empty(0, dtype=np.int64),) * 4
    query = np.repeat(np.arange(last - first), np.diff(starts))
    within = np.arange(starts[-1] - starts[0]) - (starts[:-1] - starts[0])[query]
    relevant, tied = counts.relevant[pairs], counts.ties[pairs].astype(np.int64)
    gaps_until = np.cumsum(counts.gaps[pairs], dtype=np.int64)
    ties_until = np.cumsum(tied) - tied
    before = gaps_until + ties_until
    # Sums begin anew with every query.
    earlier = gaps_until - counts.gaps[pairs] + ties_until
    before -= earlier[np.minimum(starts[:-1] - starts[0], len(earlier) - 1)][query]
    is_first = within == 0
    is_first[1:] |= relevant[1:] != relevant[:-1]
    alive = within < counts.alive[first:last][query]
    begins = np.flatnonzero(is_first)
    hits = np.diff(begins, append=len(relevant))
    kept = begins[alive[begins]]
    return query[kept], before[kept], hits[alive[begins]], tied[kept]


class _Search:
    """A pass over all pairs of queries and gallery, both sorted by class."""

    def __init__(self, compared, codes, gallery_codes, is_self):
        self.compared, self.is_self = compared, is_self
        self.order = np.argsort(codes, kind="stable")
        self.gallery_order = self.order
        if not is_self:
            self.gallery_order = np.argsort(gallery_codes, kind="stable")
        self.codes = codes[self.order]
        self.gallery_codes = gallery_codes[self.gallery_order]
        self.n_relevant = count_relevant(codes, gallery_codes, is_self)[self.order]
        self.offsets = compared.offsets[self.gallery_order]
        self.items = _single(compared.gallery, self.gallery_order)
        # The largest error of a sum of products in single precision, rounded factors
        # included.
        largest = compared.query_lengths[self.order] * compared.gallery_lengths.max()
        largest += np.abs(self.offsets).max()
        n_features = self.items.shape[1]
        self.margins = (n_features + 8) * 2.0**-24 * largest + compared.step

    def count(self, start, stop, depth):
        """Count for the queries from start to stop."""
        n_relevant = self.n_relevant[start:stop]
        starts = np.concatenate([[0], np.cumsum(n_relevant)])
        counts = _kernels().Counts(
            starts=starts,
            relevant=np.empty(starts[-1]),
            gaps=np.zeros(starts[-1], dtype=np.int32),
            ties=np.zeros(starts[-1], dtype=np.int32),
            alive=n_relevant.copy(),
            n_new=np.zeros(stop - start, dtype=np.int32),
            thresholds=np.empty(stop - start, dtype=np.float32),
            margins=self.margins[start:stop],
            depths=depth[self.order[start:stop]].astype(np.float64),
        )
        with ThreadPoolExecutor(_openmp_effective_n_threads()) as pool:
            _wait(pool.submit(*job) for job in self._classes(counts, start, stop))
            _kernels().prune_all(counts)
            self._count_others(counts, start, stop, pool)
            _kernels().prune_all(counts)
        return counts

    def _count_others(self, counts, start, stop, pool):
        queries = self.compared.queries
        which = self.order[start:stop]
        pairs = _kernels().Pairs(
            queries=_side(queries, which),
            query_codes=self.codes[start:stop],
            items=_side(self.compared.gallery, self.gallery_order),
            item_codes=self.gallery_codes,
            offsets=self.offsets,
            near=self.offsets.astype(np.float32),
            step=self.compared.step,
        )
        # The product of two queries serves both.
        is_symmetric = self.is_self and len(which) == len(self.order)
        memory = local()

        def count_tiles(rows, tiles):
            points = self.items[rows] if is_symmetric else _single(queries, which[rows])
            if not hasattr(memory, "tile"):
                memory.tile = np.empty((TILE, TILE), dtype=np.float32)
            for columns in tiles:
                items = self.items[columns]
                products = memory.tile[: len(points), : len(items)]
                np.matmul(points, items.T, out=products)
                at = rows.start, columns.start
                _kernels().count_rows(*at, products, counts, pairs)
                if is_symmetric and columns.start > rows.start:
                    _kernels().count_columns(*at[::-1], products, counts, pairs)

        tiles = list(gen_batches(len(self.items), TILE))
        with threadpool_limits(1, "blas"):
            if is_symmetric:
                for turn in _turns(len(tiles)):
                    _wait(pool.submit(count_tiles, tiles[i], [tiles[j]]) for i, j in turn)
            else:
                size = min(TILE, -(-len(which) // pool._max_workers))
                _wait(
                    pool.submit(count_tiles, rows, tiles)
                    for rows in gen_batches(len(which), size)
                )

    def _classes(self, counts, start, stop):
        """Yield jobs that compute the similarities of the relevant pairs."""
        codes = self.codes[start:stop]
        firsts = np.flatnonzero(np.diff(codes, prepend=-1))
        lasts = np.append(firsts[1:], len(codes))
        left, right = (
            np.searchsorted(self.gallery_codes, codes[firsts], side)
            for side in ("left", "right")
        )
        classes = np.stack([firsts, lasts, left, right], axis=1)
        for low, high in _blocks(lasts, TILE):
            yield self._fill, counts, classes[low:high], start

    def _fill(self, counts, classes, start):
        first, last = classes[0, 0], classes[-1, 1]
        first_item, last_item = classes[0, 2], classes[-1, 3]
        which = self.order[start + first : start + last]
        items = self.gallery_order[first_item:last_item]
        _kernels().fill_relevant(
            self.compared.queries.points(which),
            self.compared.gallery.points(items),
            self.offsets[first_item:last_item],
            self.compared.step,
            classes - [first, first, first_item, first_item],
            start + first - first_item if self.is_self else -len(which) - 1,
            counts.relevant,
            counts.starts[first:last],
        )
        # numpy sorts rows of equal length faster than compiled code sorts each.
        starts = counts.starts[first : last + 1]
        sizes = np.diff(starts)
        turns = np.flatnonzero(np.diff(sizes, prepend=-1, append=-1))
        for low, high in pairwise(turns):
            found = counts.relevant[starts[low] : starts[high]]
            if len(found):
                found.reshape(high - low, sizes[low]).sort(axis=1)
        found = counts.relevant[starts[0] : starts[-1]]
        np.negative(found, out=found)


def _kernels():
    # Compiled code takes a second to import: only where there is much to count.
    from sk_dml.metrics import _kernels

    return _kernels


def _side(rows, which):
    return _kernels().Side(
        rows.values, which, rows.scales, rows.center, rows.resolution
    )


def _single(rows, which):
    """Convert rows to points in single precision."""
    points = np.empty((len(which), rows.values.shape[1]), dtype=np.float32)
    for block in gen_batches(len(which), TILE):
        points[block] = rows.points(which[block])
    return points


def _turns(n):
    """Part all pairs of n into turns in which each of the n comes once."""
    for turn in range(n):
        pairs = [(i, (turn - i) % n) for i in range(n)]
        yield [(i, j) for i, j in pairs if i <= j]


def _wait(jobs):
    for job in list(jobs):
        job.result()
