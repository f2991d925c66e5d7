"""Rank the relevant items of every query, exactly and without ranking the others.

The squared distances of a query to its relevant items are computed by differences in
double precision and sorted; of all other items it only counts how many come before
which of them. That takes one pass over the products of all pairs, in tiles, and memory
for the relevant pairs.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import local

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from sk_dml.metrics._ranks import Ranks
from sk_dml.neighbors._distances import compare, distance_blocks, equal_rows

# Up to so many pairs, and differences of features, what needs no compiled code is quick
# enough.
FEW_PAIRS, FEW_DIFFERENCES = 2**22, 2**31

# Rows and columns of a tile of products: it should fit into the cache.
TILE = 1024

# Bytes of working memory that a relevant pair may take, and such pairs that are
# evaluated at a time.
PAIR_BYTES, RANKED_PAIRS = 128, 2**19

# Rows that tell where the middle of all is.
SAMPLE = 1000


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


def rate_in_blocks(X, codes, gallery, gallery_codes, *, metric, depth, rate):
    """Rate where the relevant items of every query rank.

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
        Ranks that matter, equal for queries of one class; relevant items beyond them
        may be missing from the ranks.
    rate : callable
        Called with the Ranks of some queries, possibly in several threads at once;
        returns a tuple of arrays with an entry for each.

    Yields
    ------
    queries : ndarray of int
        Some of the queries; those that nothing is relevant to may never come.
    values : tuple of ndarray
        What ``rate`` said of these.
    """
    n_gallery = len(X) if gallery is None else len(gallery)
    n_pairs = len(X) * n_gallery
    is_small = n_pairs <= min(FEW_PAIRS, FEW_DIFFERENCES / X.shape[1])
    function = _rate_few if is_small else _rate_many
    return function(X, codes, gallery, gallery_codes, metric, depth, rate)


def _rate_few(X, codes, gallery, gallery_codes, metric, depth, rate):
    n_relevant = count_relevant(codes, gallery_codes, gallery is None)
    for rows, squares in distance_blocks(X, gallery, metric=metric):
        groups = []
        for i, values in enumerate(squares):
            relevant = gallery_codes == codes[rows.start + i]
            found = values[relevant]
            found, hits = np.unique(found[found < np.inf], return_counts=True)
            others = np.sort(values[~relevant])
            before = np.searchsorted(others, found, "left")
            tied = np.searchsorted(others, found, "right") - before
            groups.append(np.stack([np.full(len(found), i), before, hits, tied]))
        ranks = _assemble(n_relevant[rows], *np.concatenate(groups, axis=1))
        yield np.arange(rows.start, rows.stop), rate(ranks)


def _assemble(n_relevant, query, before, hits, tied):
    """Make Ranks of groups, given the irrelevant items before and in each."""
    until = np.cumsum(hits) - hits
    first = np.flatnonzero(np.diff(query, prepend=-1))
    n_groups = np.diff(first, append=len(query))
    hits_before = until - np.repeat(until[first], n_groups)
    return Ranks(
        n_relevant, query, before + hits_before, hits_before, hits, hits + tied
    )


def _rate_many(X, codes, gallery, gallery_codes, metric, depth, rate):
    is_self = gallery is None
    if not is_self:
        dtype = np.result_type(X, gallery)
        X, gallery = (rows.astype(dtype, copy=False) for rows in (X, gallery))
    queries = _Points(X, codes)
    items = queries if is_self else _Points(gallery, gallery_codes)
    n_relevant = count_relevant(codes, gallery_codes, is_self)[queries.order]
    n_threads = _openmp_effective_n_threads()
    search = _Search(queries, items, metric, n_relevant, depth[queries.order])
    ends = np.cumsum(n_relevant)
    kept = int(get_config()["working_memory"] * 2**20 / PAIR_BYTES)
    with ThreadPoolExecutor(n_threads) as pool:
        for start, stop in _blocks(ends, kept):
            counts = search.count(start, stop, pool, n_threads)

            def rate_block(block, start=start, counts=counts):
                first, last = block[0] + start, block[1] + start
                groups = _groups(counts, *block)
                values = rate(_assemble(n_relevant[first:last], *groups))
                members, sizes = queries.members(first, last)
                return members, tuple(np.repeat(value, sizes) for value in values)

            done = ends[start] - n_relevant[start]
            blocks = _blocks(ends[start:stop] - done, RANKED_PAIRS // n_threads)
            yield from pool.map(rate_block, blocks)


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


class _Points:
    """Rows sorted by class, one for all that are equal and of one class."""

    def __init__(self, values, codes):
        self.values = values
        place = equal_rows(values)
        self.everyone = np.lexsort((place, codes))
        codes, place = codes[self.everyone], place[self.everyone]
        is_first = (np.diff(codes, prepend=-1) != 0) | (np.diff(place, prepend=-1) != 0)
        self.first = np.append(np.flatnonzero(is_first), len(codes))
        self.order = self.everyone[self.first[:-1]]
        self.weights = np.diff(self.first).astype(np.int32)
        self.codes = codes[self.first[:-1]]

    def members(self, start, stop):
        """Tell all rows from one point to another, and how many each stands for."""
        members = self.everyone[self.first[start] : self.first[stop]]
        return members, self.weights[start:stop]


class _Search:
    """A pass over all pairs of queries and items."""

    def __init__(self, queries, items, metric, n_relevant, depth):
        self.queries, self.items = queries, items
        self.is_self = queries is items
        self.n_relevant, self.depth = n_relevant, depth.astype(np.float64)
        values = (queries.values,) if self.is_self else (queries.values, items.values)
        self.rows = compare(*values, metric=metric)
        # The middle of a few: it decides how fast results come, not which.
        sample = items.order[:: -(-len(items.order) // SAMPLE)]
        self.center = np.median(self.rows[1].points(sample), axis=0)
        self.stands = np.concatenate([[0], np.cumsum(items.weights)])
        self._use(np.float32)

    def _use(self, dtype):
        """Compute products in a precision from now on."""
        self.right = self._side(self.items, self.rows[1], dtype)
        self.left = self.right
        if not self.is_self:
            self.left = self._side(self.queries, self.rows[0], dtype)

    def _side(self, points, rows, dtype):
        n_features = rows.values.shape[1]
        factors = np.empty((len(points.order), n_features), dtype=dtype)
        norms = np.empty(len(factors))
        for block in gen_batches(len(factors), TILE):
            centered = rows.points(points.order[block]) - self.center
            norms[block] = np.einsum("ij,ij->i", centered, centered)
            factors[block] = centered
        norms += rows.extras[points.order]
        # What sums of products of rounded factors may be off, in any order of summing;
        # in double precision norms and differences are so, too.
        units = n_features + 9 if dtype is np.float32 else 5 * n_features + 40
        errors = units * np.finfo(dtype).eps / 2 * norms + n_features * 2.0**-100
        errors += rows.resolution
        limits = norms / 2 - errors - 2 * _kernels().ROUNDING * norms
        side = _kernels().Side(
            rows.values,
            rows.scales,
            rows.extras,
            points.order,
            points.weights,
            points.codes,
            norms,
            errors,
            limits.astype(dtype),
        )
        return side, factors

    def count(self, start, stop, pool, n_threads):
        """Count for the queries from start to stop."""
        n_relevant = self.n_relevant[start:stop]
        starts = np.concatenate([[0], np.cumsum(n_relevant)])
        counts = _kernels().Counts(
            starts=starts,
            relevant=np.empty(starts[-1]),
            gaps=np.zeros(starts[-1], dtype=np.int32),
            ties=np.zeros(starts[-1], dtype=np.int32),
            alive=n_relevant.copy(),
            tails=np.zeros(stop - start, dtype=np.int64),
            before=np.zeros(stop - start, dtype=np.int64),
            n_new=np.zeros(stop - start, dtype=np.int32),
            thresholds=np.empty(stop - start, dtype=self.left[1].dtype),
            depths=self.depth[start:stop],
            rounding=2 * float(np.finfo(self.left[1].dtype).eps),
            resolution=self.rows[0].resolution,
        )
        queries, factors = _cut(self.left, start, stop)
        classes = self._classes(queries.codes)
        own = start if self.is_self else -1 - len(queries.codes)
        _wait(pool.submit(self._fill, part, counts, queries, own) for part in classes)
        if factors.dtype == np.float32 and self._is_doubtful(counts, queries, factors):
            self._use(np.float64)
            queries, factors = _cut(self.left, start, stop)
            counts = counts._replace(
                thresholds=np.empty(stop - start),
                rounding=2 * float(np.finfo(np.float64).eps),
            )
        _kernels().prune_all(counts, queries, True)
        with threadpool_limits(1, "blas"):
            self._count_others(counts, queries, factors, pool, n_threads)
        _kernels().prune_all(counts, queries, False)
        return counts

    def _classes(self, codes):
        """Part the classes: where their queries and items begin and end."""
        firsts = np.flatnonzero(np.diff(codes, prepend=-1))
        lasts = np.append(firsts[1:], len(codes))
        first_items, last_items = (
            np.searchsorted(self.items.codes, codes[firsts], side)
            for side in ("left", "right")
        )
        classes = np.stack([firsts, lasts, first_items, last_items], axis=1)
        for low, high in _blocks(lasts, TILE):
            yield classes[low:high]

    def _fill(self, classes, counts, queries, own):
        """Compute and sort the similarities to the relevant items."""
        items, _ = self.right
        _kernels().fill_relevant(queries, items, classes, self.stands, own, counts)
        # numpy sorts rows of equal length faster than compiled code sorts each.
        starts = counts.starts[classes[0, 0] : classes[-1, 1] + 1]
        sizes = np.diff(starts)
        turns = np.flatnonzero(np.diff(sizes, prepend=-1, append=-1))
        for low, high in pairwise(turns):
            found = counts.relevant[starts[low] : starts[high]]
            if len(found):
                found.reshape(high - low, sizes[low]).sort(axis=1)
        found = counts.relevant[starts[0] : starts[-1]]
        np.negative(found, out=found)

    def _is_doubtful(self, counts, queries, factors):
        """Tell from a few pairs whether products leave too many to differences."""
        items, all_factors = self.right
        some = np.arange(len(factors))[:: -(-len(factors) // 64)]
        others = np.arange(len(all_factors))[:: -(-len(all_factors) // SAMPLE)]
        values = 2.0 * (factors[some] @ all_factors[others].T)
        values -= queries.norms[some, None] + items.norms[others]
        margins = queries.errors[some, None] + items.errors[others]
        n_doubtful = 0
        for i, value, margin in zip(some, values, margins, strict=True):
            found = -counts.relevant[counts.starts[i] : counts.starts[i + 1]]
            low, high = (np.searchsorted(found, -value + m) for m in (-margin, margin))
            n_doubtful += np.sum(
                (low < high) & (items.codes[others] != queries.codes[i])
            )
        # A difference takes as long as so many products.
        return n_doubtful * 8000 > values.size * factors.shape[1]

    def _count_others(self, counts, queries, factors, pool, n_threads):
        items, all_factors = self.right
        # The product of two queries serves both.
        is_symmetric = self.is_self and len(factors) == len(all_factors)
        memory = local()

        def count_tiles(rows, tiles):
            if not hasattr(memory, "tile"):
                memory.tile = np.empty((TILE, TILE), dtype=factors.dtype)
            for columns in tiles:
                left, right = factors[rows], all_factors[columns]
                products = memory.tile[: len(left), : len(right)]
                np.matmul(left, right.T, out=products)
                at = rows.start, columns.start
                _kernels().count_rows(*at, products, queries, items, counts)
                if is_symmetric and columns.start > rows.start:
                    _kernels().count_columns(
                        *at[::-1], products, queries, items, counts
                    )

        tiles = list(gen_batches(len(all_factors), TILE))
        if is_symmetric:
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
    """Take the queries from start to stop out of a side and its factors."""
    side, factors = side
    ordered = ("order", "weights", "codes", "norms", "errors", "limits")
    parts = {name: getattr(side, name)[start:stop] for name in ordered}
    return side._replace(**parts), factors[start:stop]


def _turns(n):
    """Part all pairs of n into turns in which each of the n comes once."""
    for turn in range(n):
        pairs = [(i, (turn - i) % n) for i in range(n)]
        yield [(i, j) for i, j in pairs if i <= j]


def _wait(jobs):
    for job in list(jobs):
        job.result()
