"""Ranks of the relevant items of every query, exactly, without ranking the others."""

# How it works. A retrieval metric of a query needs, for every relevant item (of the
# query's class), how many items are nearer and how many are tied with it: `_ranks`. It
# does not need the order of the irrelevant items among themselves. So nothing else is
# sorted than the relevant items:
#
# 1. The rows are sorted by class, and equal rows of one class become one point with a
#    weight. The distances of a query to its relevant items are computed as
#    neighbors._distances defines them and sorted: the pairs of the query.
# 2. All other pairs are passed once, in tiles of products of matrices that stay in the
#    cache. Each irrelevant item is counted between the relevant items that it lies
#    between, or as tied with one: `_kernels`. Sums of these counts are the positions.
# 3. Metrics that look at the first `depth` ranks only (R, or k) close a relevant item
#    as soon as so many items are before it. What is farther than the last open one need
#    not be counted, so that most products end at one comparison.
#
# Why it is exact: a product tells two distances apart only beyond a bound of its error;
# within it, the distance itself decides. Products are taken in single precision. If a
# sample of pairs shows that they would leave too much in doubt (rows much nearer to
# each other than to the center), they are taken in double precision instead: the result
# is the same, the time is not.
#
# Invariants: ranks within the depth depend on neither the tiles, nor the threads, nor
# the precision; a group of tied relevant items is counted at the first of them; a query
# is never an item of its own.
#
# Memory: no distances but those of the relevant pairs, 20 bytes each, and as queries
# are taken in blocks with PAIR_BYTES for each, never more than working_memory; a
# centered copy of the rows in single precision; a tile for each thread. Where the
# queries are the gallery and one block, a tile serves both as rows and as columns:
# half the products.

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import local

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors._distances import Rows, common_scale, distance_blocks, equal_rows

# Up to so many pairs, and differences of features, what needs no compiled code is quick
# enough.
FEW_PAIRS, FEW_DIFFERENCES = 2**22, 2**31

# Rows and columns of a tile of products: it should fit into the cache.
TILE = 1024

# Bytes of working memory that a relevant pair may take, and such pairs that are
# evaluated at a time.
PAIR_BYTES, RANKED_PAIRS = 128, 2**19

# Rows that the center is estimated from.
SAMPLE = 1000

# Products that take as long as a distance, times the features.
DISTANCE_COST = 8000


def count_relevant(codes, gallery_codes, is_self):
    """Return how many items are relevant to every query, (n_queries,)."""
    sizes = np.bincount(gallery_codes, minlength=codes.max(initial=-1) + 1)
    return sizes[codes] - int(is_self)


def score_in_blocks(X, codes, gallery, gallery_codes, *, metric, depth, score):
    """Score the ranks of the relevant items of every query.

    Parameters
    ----------
    X, codes : ndarray of shape (n, n_features) and (n,)
        The queries and their classes.
    gallery, gallery_codes : ndarray of shape (n_gallery, n_features) and (n_gallery,)
        The items; None and ``codes`` search each query among the others.
    metric : {"euclidean", "cosine"}
    depth : ndarray of shape (n,)
        Ranks that matter, equal for queries of one class; relevant items beyond them
        may be missing from the ranks.
    score : callable
        Returns a tuple of arrays, (n_queries,), for the Ranks of some queries, possibly
        in several threads at once.

    Yields
    ------
    indices : ndarray of int
        Some of the queries; those without relevant items may be missing.
    scores : tuple of ndarray
        What ``score`` returned for them.
    """
    n_gallery = len(X) if gallery is None else len(gallery)
    n_pairs = len(X) * n_gallery
    is_small = n_pairs <= min(FEW_PAIRS, FEW_DIFFERENCES / X.shape[1])
    function = _score_few if is_small else _score_many
    return function(X, codes, gallery, gallery_codes, metric, depth, score)


def _score_few(X, codes, gallery, gallery_codes, metric, depth, score):
    """Score by all distances, (n, n_gallery), without compiled code."""
    n_relevant = count_relevant(codes, gallery_codes, gallery is None)
    for rows, squares in distance_blocks(X, gallery, metric=metric):
        groups = []
        for i, values in enumerate(squares):
            is_relevant = gallery_codes == codes[rows.start + i]
            relevant = values[is_relevant]
            relevant, hits = np.unique(relevant[relevant < np.inf], return_counts=True)
            others = np.sort(values[~is_relevant])
            before = np.searchsorted(others, relevant, "left")
            tied = np.searchsorted(others, relevant, "right") - before
            groups.append(np.stack([np.full(len(relevant), i), before, hits, tied]))
        ranks = _assemble(n_relevant[rows], *np.concatenate(groups, axis=1))
        yield np.arange(rows.start, rows.stop), score(ranks)


def _assemble(n_relevant, query, before, hits, tied):
    """Return Ranks of groups (n_groups,), given irrelevant items before and in each."""
    until = np.cumsum(hits) - hits
    first = np.flatnonzero(np.diff(query, prepend=-1))
    n_groups = np.diff(first, append=len(query))
    hits_before = until - np.repeat(until[first], n_groups)
    return Ranks(
        n_relevant, query, before + hits_before, hits_before, hits, hits + tied
    )


def _score_many(X, codes, gallery, gallery_codes, metric, depth, score):
    """Score by counting, in blocks of queries that fit the working memory."""
    is_self = gallery is None
    if not is_self:
        # Compiled once for both, not for every pair of types.
        dtype = np.result_type(X, gallery)
        X, gallery = (rows.astype(dtype, copy=False) for rows in (X, gallery))
    queries = _DistinctRows(Rows(X, metric), codes)
    items = queries if is_self else _DistinctRows(Rows(gallery, metric), gallery_codes)
    n_relevant = count_relevant(codes, gallery_codes, is_self)[queries.order]
    n_threads = _openmp_effective_n_threads()
    counter = _Counter(queries, items, n_relevant, depth[queries.order])
    ends = np.cumsum(n_relevant)
    kept = int(get_config()["working_memory"] * 2**20 / PAIR_BYTES)
    with ThreadPoolExecutor(n_threads) as pool:
        for start, stop in _blocks(ends, kept):
            state = counter.count(start, stop, pool, n_threads)

            def score_block(block, start=start, state=state):
                first, last = block[0] + start, block[1] + start
                groups = _groups(state, *block)
                scores = score(_assemble(n_relevant[first:last], *groups))
                # Equal rows of one class have equal scores.
                members, sizes = queries.members(first, last)
                return members, tuple(np.repeat(values, sizes) for values in scores)

            done = ends[start] - n_relevant[start]
            blocks = _blocks(ends[start:stop] - done, RANKED_PAIRS // n_threads)
            yield from pool.map(score_block, blocks)


def _blocks(ends, size):
    """Yield blocks of queries with so many relevant pairs, or of a single query."""
    start = done = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + size, "right")))
        yield start, stop
        start, done = stop, ends[stop - 1]


def _groups(state, first, last):
    """Return query, irrelevant items before, hits and ties of groups, (n_groups,)."""
    starts = state.starts[first : last + 1]
    pairs = slice(starts[0], starts[-1])
    if starts[0] == starts[-1]:
        return (np.empty(0, dtype=np.int64),) * 4
    query = np.repeat(np.arange(last - first), np.diff(starts))
    within = np.arange(starts[-1] - starts[0]) - (starts[:-1] - starts[0])[query]
    relevant, tied = state.relevant[pairs], state.n_tied[pairs].astype(np.int64)
    between_until = np.cumsum(state.n_between[pairs], dtype=np.int64)
    ties_until = np.cumsum(tied) - tied
    before = between_until + ties_until
    # Sums begin anew with every query; one without pairs may stand behind the last.
    earlier = between_until - state.n_between[pairs] + ties_until
    before -= earlier[np.minimum(starts[:-1] - starts[0], len(earlier) - 1)][query]
    is_first = within == 0
    is_first[1:] |= relevant[1:] != relevant[:-1]
    is_open = within < state.n_open[first:last][query]
    begins = np.flatnonzero(is_first)
    hits = np.diff(begins, append=len(relevant))
    # A closed group has not been counted to the end.
    kept = begins[is_open[begins]]
    return query[kept], before[kept], hits[is_open[begins]], tied[kept]


class _DistinctRows:
    """Rows sorted by class, one for all that are equal and of one class."""

    def __init__(self, rows, codes):
        self.rows = rows
        numbers = equal_rows(rows.values)
        self.everyone = np.lexsort((numbers, codes))
        codes, numbers = codes[self.everyone], numbers[self.everyone]
        is_first = np.diff(codes, prepend=-1) != 0
        is_first |= np.diff(numbers, prepend=-1) != 0
        self.first = np.append(np.flatnonzero(is_first), len(codes))
        self.order = self.everyone[self.first[:-1]]
        self.weights = np.diff(self.first).astype(np.int32)
        self.codes = codes[self.first[:-1]]

    def members(self, start, stop):
        """Return the rows of the points from start to stop, and how many each has."""
        members = self.everyone[self.first[start] : self.first[stop]]
        return members, self.weights[start:stop]


class _Counter:
    """A pass over all pairs of queries and items.

    ``left`` and ``right`` are the Points of the queries and of the items with their
    centered rows, (n_points, n_features), the factors of the products.
    """

    def __init__(self, queries, items, n_relevant, depth):
        self.queries, self.items = queries, items
        self.is_self = queries is items
        self.n_relevant, self.depth = n_relevant, depth.astype(np.float64)
        self.scale = common_scale(queries.rows, items.rows)
        # The middle of a few: it decides how fast results come, not which.
        sample = items.order[:: -(-len(items.order) // SAMPLE)]
        sample = items.rows.values[sample] * np.float64(self.scale)
        self.center = np.median(sample, axis=0)
        self.copies_before = np.concatenate([[0], np.cumsum(items.weights)])
        self._use(np.float32)

    def _use(self, dtype):
        """Compute products in a precision from now on."""
        self.right = self._points(self.items, dtype)
        self.left = self.right if self.is_self else self._points(self.queries, dtype)

    def _points(self, distinct, dtype):
        rows, order = distinct.rows, distinct.order
        n_features = rows.values.shape[1]
        factors = np.empty((len(order), n_features), dtype=dtype)
        norms = np.empty(len(factors))
        for block in gen_batches(len(factors), TILE):
            centered = rows.values[order[block]] * np.float64(self.scale) - self.center
            norms[block] = np.einsum("ij,ij->i", centered, centered)
            factors[block] = centered
        # A row of zeros is at a right angle to all others, at 2 instead of 1.
        norms += rows.is_zero[order]
        # What sums of products of rounded factors may be off, in any order of summing;
        # in double precision norms, differences and lengths of one are so, too.
        units = n_features + 9 if dtype is np.float32 else 6 * n_features + 50
        errors = units * np.finfo(dtype).eps / 2 * norms + n_features * 2.0**-100
        errors += rows.smallest_square
        limits = norms / 2 - errors - 2 * _kernels().MARGIN * norms
        points = _kernels().Points(
            rows.values,
            rows.is_zero,
            order,
            distinct.weights,
            distinct.codes,
            norms,
            errors,
            limits.astype(dtype),
        )
        return points, factors

    def count(self, start, stop, pool, n_threads):
        """Return the QueryState of the queries from start to stop, fully counted."""
        n_relevant = self.n_relevant[start:stop]
        starts = np.concatenate([[0], np.cumsum(n_relevant)])
        state = _kernels().QueryState(
            starts=starts,
            relevant=np.empty(starts[-1]),
            n_between=np.zeros(starts[-1], dtype=np.int32),
            n_tied=np.zeros(starts[-1], dtype=np.int32),
            n_open=n_relevant.copy(),
            last_group=np.zeros(stop - start, dtype=np.int64),
            n_counted=np.zeros(stop - start, dtype=np.int64),
            n_new=np.zeros(stop - start, dtype=np.int32),
            thresholds=np.empty(stop - start, dtype=self.left[1].dtype),
            depths=self.depth[start:stop],
            rounding=2 * float(np.finfo(self.left[1].dtype).eps),
            scale=float(self.scale),
            smallest_square=self.queries.rows.smallest_square,
        )
        queries, factors = _cut(self.left, start, stop)
        classes = self._classes(queries.codes)
        # Without a query of its own: no item has that index.
        offset = start if self.is_self else -1 - len(queries.codes)
        _wait(pool.submit(self._fill, part, state, queries, offset) for part in classes)
        if factors.dtype == np.float32 and self._is_doubtful(state, queries, factors):
            self._use(np.float64)
            queries, factors = _cut(self.left, start, stop)
            state = state._replace(
                thresholds=np.empty(stop - start),
                rounding=2 * float(np.finfo(np.float64).eps),
            )
        _kernels().close_all(state, queries, True)
        with threadpool_limits(1, "blas"):
            self._count_others(state, queries, factors, pool, n_threads)
        _kernels().close_all(state, queries, False)
        return state

    def _classes(self, codes):
        """Yield parts of the classes, (n_classes, 4): ranges of queries and items."""
        firsts = np.flatnonzero(np.diff(codes, prepend=-1))
        lasts = np.append(firsts[1:], len(codes))
        first_items, last_items = (
            np.searchsorted(self.items.codes, codes[firsts], side)
            for side in ("left", "right")
        )
        classes = np.stack([firsts, lasts, first_items, last_items], axis=1)
        for low, high in _blocks(lasts, TILE):
            yield classes[low:high]

    def _fill(self, classes, state, queries, offset):
        """Compute and sort the similarities to the relevant items."""
        items, _ = self.right
        _kernels().fill_relevant(
            queries, items, classes, self.copies_before, offset, state
        )
        # numpy sorts rows of equal length faster than compiled code sorts each.
        starts = state.starts[classes[0, 0] : classes[-1, 1] + 1]
        sizes = np.diff(starts)
        turns = np.flatnonzero(np.diff(sizes, prepend=-1, append=-1))
        for low, high in pairwise(turns):
            squares = state.relevant[starts[low] : starts[high]]
            if len(squares):
                squares.reshape(high - low, sizes[low]).sort(axis=1)
        squares = state.relevant[starts[0] : starts[-1]]
        np.negative(squares, out=squares)

    def _is_doubtful(self, state, queries, factors):
        """Return whether, in a sample of pairs, products leave too many in doubt."""
        items, all_factors = self.right
        some = np.arange(len(factors))[:: -(-len(factors) // 64)]
        others = np.arange(len(all_factors))[:: -(-len(all_factors) // SAMPLE)]
        values = 2.0 * (factors[some] @ all_factors[others].T)
        values -= queries.norms[some, None] + items.norms[others]
        margins = queries.errors[some, None] + items.errors[others]
        n_doubtful = 0
        for i, value, margin in zip(some, values, margins, strict=True):
            squares = -state.relevant[state.starts[i] : state.starts[i + 1]]
            low, high = (
                np.searchsorted(squares, -value + m) for m in (-margin, margin)
            )
            n_doubtful += np.sum(
                (low < high) & (items.codes[others] != queries.codes[i])
            )
        return n_doubtful * DISTANCE_COST > values.size * factors.shape[1]

    def _count_others(self, state, queries, factors, pool, n_threads):
        """Count the irrelevant items, tile by tile, in the threads of a pool."""
        items, all_factors = self.right
        # The product of two queries serves both.
        is_symmetric = self.is_self and len(factors) == len(all_factors)
        memory = local()

        def count_tiles(rows, tiles):
            # Once a thread: fresh memory is slow.
            if not hasattr(memory, "tile"):
                memory.tile = np.empty((TILE, TILE), dtype=factors.dtype)
            for columns in tiles:
                left, right = factors[rows], all_factors[columns]
                products = memory.tile[: len(left), : len(right)]
                np.matmul(left, right.T, out=products)
                row, column = rows.start, columns.start
                _kernels().count_rows(row, column, products, queries, items, state)
                if is_symmetric and column > row:
                    _kernels().count_columns(
                        column, row, products, queries, items, state
                    )

        tiles = list(gen_batches(len(all_factors), TILE))
        if is_symmetric:
            # Within a turn no two tiles have a query in common.
            for turn in _turns(len(tiles)):
                _wait(pool.submit(count_tiles, tiles[i], [tiles[j]]) for i, j in turn)
        else:
            size = min(TILE, -(-len(factors) // n_threads))
            rows = gen_batches(len(factors), size)
            _wait(pool.submit(count_tiles, part, tiles) for part in rows)


def _kernels():
    # Compiled code takes a second to import: only where there is much to count.
    from sk_dml.metrics import _kernels

    return _kernels


def _cut(side, start, stop):
    """Return the points and factors of the queries from start to stop."""
    points, factors = side
    ordered = ("order", "weights", "codes", "norms", "errors", "limits")
    parts = {name: getattr(points, name)[start:stop] for name in ordered}
    return points._replace(**parts), factors[start:stop]


def _turns(n):
    """Yield turns of pairs i <= j of n in which each of the n comes once."""
    for turn in range(n):
        pairs = [(i, (turn - i) % n) for i in range(n)]
        yield [(i, j) for i, j in pairs if i <= j]


def _wait(jobs):
    for job in list(jobs):
        job.result()
