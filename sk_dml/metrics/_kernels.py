"""Compiled loops that count which items rank before the relevant ones.

Items are compared by products first, with a bound of their error; where that cannot
tell, by differences in double precision, each sum in the same order, so that equal rows
come out equal to the bit.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from sk_dml.neighbors._distances import SPLIT

compiled = njit(cache=True, nogil=True)
# Passing many arrays, or taking them out of a tuple, costs more than the work.
inlined = njit(cache=True, nogil=True, inline="always")

# Products that are compared with a threshold at a time: a constant, so that the loop
# becomes a few vector instructions.
CHUNK = 64

# Items that may count before it is asked anew which relevant items they passed by.
NEW = 16

# More than what rounding squared distances takes from them.
ROUNDING = 2.0**-43


class Side(NamedTuple):
    """Rows, and what is known of them in the order in which products are computed.

    ``values``, ``scales`` and ``extras`` are those of neighbors._rows, of which
    ``order`` takes one of every class and point, ``weights`` tells how many alike there
    are. ``norms`` are the squared lengths of the centred points, extras included;
    ``errors`` their share of the largest error of a squared distance that is computed
    by a product; ``limits`` what must be taken from a product for a bound of it.
    """

    values: np.ndarray
    scales: np.ndarray
    extras: np.ndarray
    order: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    norms: np.ndarray
    errors: np.ndarray
    limits: np.ndarray


class Counts(NamedTuple):
    """What is known of every query, whose relevant items stand at ``starts``.

    ``relevant`` holds their similarities, the negative squared distances, the largest
    first. ``gaps`` counts the irrelevant items that are less similar than so many
    relevant ones, ``ties`` those as similar as the relevant one there, the first of
    equals. Only the first ``alive`` relevant items can still reach the ranks that
    matter, the first ``depths``, as far as was looked before the last ``n_new`` items:
    the first item as near as the last of them stands at ``tails``, and ``before`` items
    were counted up to there.
    Only products whose bound is above ``thresholds`` can count, which are kept in a
    precision of ``rounding``. ``resolution`` is that of the rows.
    """

    starts: np.ndarray
    relevant: np.ndarray
    gaps: np.ndarray
    ties: np.ndarray
    alive: np.ndarray
    tails: np.ndarray
    before: np.ndarray
    n_new: np.ndarray
    thresholds: np.ndarray
    depths: np.ndarray
    rounding: float
    resolution: float


@inlined
def feature(value, scale, resolution):
    """Convert a feature as Rows.points does."""
    value = value * scale
    if resolution > 0:
        value = np.rint(value / resolution) * resolution
    return value


@inlined
def rounded(square, resolution):
    """Round a squared distance as neighbors._rows does."""
    if resolution > 0:
        return np.rint(square / resolution) * resolution
    upper = square * SPLIT
    return upper - (upper - square)


@inlined
def similarity(x, x_scale, y, y_scale, extra, resolution):
    """Compute the negative squared distance of two rows, feature by feature."""
    square = 0.0
    for k in range(len(x)):
        gap = feature(x[k], x_scale, resolution) - feature(y[k], y_scale, resolution)
        square += gap * gap
    return -rounded(square + extra, resolution)


@compiled
def fill_relevant(queries, items, classes, stands, own, counts):
    """Compute the similarities of queries to all items of their class, negative.

    A row of ``classes`` says from where to where its queries and its items stand. The
    i-th query is the item ``own + i``, of which one copy is left out; ``stands`` tells
    how many items, copies included, stand before each item.
    """
    x_values, x_order, x_scales = queries.values, queries.order, queries.scales
    y_values, y_order, y_scales = items.values, items.order, items.scales
    x_extras, y_extras = queries.extras, items.extras
    relevant, starts = counts.relevant, counts.starts
    resolution = counts.resolution
    for first, last, first_item, last_item in classes:
        # The distance of two queries serves both, where both are here.
        is_symmetric = first_item == own + first and last_item == own + last
        for i in range(first, last):
            here, me = x_order[i], own + i
            is_own = first_item <= me < last_item
            for j in range(me if is_symmetric else first_item, last_item):
                there = y_order[j]
                value = -similarity(
                    x_values[here],
                    x_scales[here],
                    y_values[there],
                    y_scales[there],
                    x_extras[here] + y_extras[there],
                    resolution,
                )
                n_copies = stands[j + 1] - stands[j] - (j == me)
                at = starts[i] + stands[j] - stands[first_item] - (is_own and me < j)
                relevant[at : at + n_copies] = value
                if is_symmetric and j > me:
                    n_copies = stands[me + 1] - stands[me]
                    at = starts[j - own] + stands[me] - stands[first_item]
                    relevant[at : at + n_copies] = value


@inlined
def place(value, at, n, relevant):
    """Find the first of n relevant items from ``at`` on that is not above a value."""
    # Without branches that a processor could guess wrong.
    while n > 1:
        half = n // 2
        at += half * (relevant[at + half - 1] > value)
        n -= half
    return at + (n == 1 and relevant[at] > value)


@compiled
def prune(i, counts, norm, error):
    """Give up the relevant items that the depth has passed by."""
    start, relevant = counts.starts[i], counts.relevant
    n, tail, before = counts.alive[i], counts.tails[i], counts.before[i]
    while n and tail - start + before - counts.ties[tail] >= counts.depths[i]:
        before -= counts.gaps[tail] + counts.ties[tail]
        n = tail - start
        tail -= 1
        while tail > start and relevant[tail - 1] == relevant[tail]:
            tail -= 1
    counts.alive[i], counts.tails[i], counts.before[i] = n, tail, before
    counts.n_new[i] = 0
    if n == 0:
        counts.thresholds[i] = np.inf
        return
    # Above which product, less the limit of an item, the item matters. Twice the error
    # makes up for all that is rounded here.
    low = relevant[start + n - 1]
    error += 2 * ROUNDING * norm + counts.rounding * abs(low)
    counts.thresholds[i] = (low + norm) / 2 - error


@compiled
def prune_all(counts, queries, is_first):
    """Give up what is beyond the depth, for the first time or later."""
    relevant = counts.relevant
    for i in range(len(counts.alive)):
        if is_first:
            start = counts.starts[i]
            tail = start + max(counts.alive[i] - 1, 0)
            while tail > start and relevant[tail - 1] == relevant[tail]:
                tail -= 1
            counts.tails[i] = tail
        prune(i, counts, queries.norms[i], queries.errors[i])


@inlined
def count(value, margin, at, n, weight, relevant, gaps):
    """Count an irrelevant item, and tell how often; -1 if its product cannot tell."""
    end = at + n
    margin += ROUNDING * abs(value)
    at = place(value + margin, at, n, relevant)
    if at == end:
        return 0
    if relevant[at] >= value - margin:
        return -1
    gaps[at] += weight
    return weight


@compiled
def count_exactly(which, others, queries, items, counts):
    """Count irrelevant items by their differences from queries."""
    x_values, x_order, x_scales = queries.values, queries.order, queries.scales
    y_values, y_order, y_scales = items.values, items.order, items.scales
    relevant, starts, alive = counts.relevant, counts.starts, counts.alive
    for k in range(len(which)):
        i, j = which[k], others[k]
        here, there = x_order[i], y_order[j]
        value = similarity(
            x_values[here],
            x_scales[here],
            y_values[there],
            y_scales[there],
            queries.extras[here] + items.extras[there],
            counts.resolution,
        )
        at = place(value, starts[i], alive[i], relevant)
        if at == starts[i] + alive[i]:
            continue
        if relevant[at] == value:
            counts.ties[at] += items.weights[j]
        else:
            counts.gaps[at] += items.weights[j]
        counts.before[i] += items.weights[j]


@compiled
def count_rows(query, item, products, queries, items, counts):
    """Count the columns of a tile of products as items for the rows, the queries.

    ``query`` and ``item`` are those of the first row and column of the tile.
    """
    relevant, gaps = counts.relevant, counts.gaps
    before, n_new = counts.before, counts.n_new
    width = products.shape[1]
    tile = slice(item, item + width)
    codes, limits, weights = items.codes[tile], items.limits[tile], items.weights[tile]
    norms, errors = items.norms[tile], items.errors[tile]
    found, doubts, which = np.empty((3, CHUNK), dtype=np.int64)
    for a in range(len(products)):
        i = query + a
        row, code = products[a], queries.codes[i]
        at, n = counts.starts[i], counts.alive[i]
        threshold = counts.thresholds[i]
        norm, error = queries.norms[i], queries.errors[i]
        for chunk in range(width // CHUNK + 1):
            start, n_found, n_doubts = chunk * CHUNK, 0, 0
            stop = min(start + CHUNK, width)
            if stop == start + CHUNK:
                hits = 0
                for b in range(CHUNK):
                    hits += row[start + b] - limits[start + b] > threshold
                if hits == 0:
                    continue
            for b in range(start, stop):
                found[n_found] = b
                n_found += row[b] - limits[b] > threshold
            for k in range(n_found):
                b = found[k]
                if codes[b] == code:
                    continue
                value = 2 * np.float64(row[b]) - norm - norms[b]
                counted = count(
                    value, error + errors[b], at, n, weights[b], relevant, gaps
                )
                if counted < 0:
                    doubts[n_doubts] = item + b
                    n_doubts += 1
                else:
                    before[i] += counted
                n_new[i] += 1
                if n_new[i] == NEW:
                    prune(i, counts, norm, error)
                    n, threshold = counts.alive[i], counts.thresholds[i]
            if n_doubts:
                which[:n_doubts] = i
                count_exactly(
                    which[:n_doubts], doubts[:n_doubts], queries, items, counts
                )


@compiled
def count_columns(query, item, products, queries, items, counts):
    """Count the rows of a tile as items for the columns, which are queries too.

    ``query`` and ``item`` are those of the first column and row of the tile.
    """
    relevant, gaps = counts.relevant, counts.gaps
    width = products.shape[1]
    columns = slice(query, query + width)
    thresholds, codes = counts.thresholds[columns], queries.codes[columns]
    starts, alive = counts.starts[columns], counts.alive[columns]
    before, n_new = counts.before[columns], counts.n_new[columns]
    norms, errors = queries.norms[columns], queries.errors[columns]
    found, doubts, others = np.empty((3, CHUNK), dtype=np.int64)
    for b in range(len(products)):
        row, limit, code = products[b], items.limits[item + b], items.codes[item + b]
        weight, norm = items.weights[item + b], items.norms[item + b]
        error = items.errors[item + b]
        for chunk in range(width // CHUNK + 1):
            start, n_found, n_doubts = chunk * CHUNK, 0, 0
            stop = min(start + CHUNK, width)
            if stop == start + CHUNK:
                part, least = row[start:stop], thresholds[start:stop]
                hits = 0
                for a in range(CHUNK):
                    hits += part[a] - limit > least[a]
                if hits == 0:
                    continue
            for a in range(start, stop):
                found[n_found] = a
                n_found += row[a] - limit > thresholds[a]
            for k in range(n_found):
                a = found[k]
                if codes[a] == code:
                    continue
                value = 2 * np.float64(row[a]) - norms[a] - norm
                counted = count(
                    value,
                    error + errors[a],
                    starts[a],
                    alive[a],
                    weight,
                    relevant,
                    gaps,
                )
                if counted < 0:
                    doubts[n_doubts] = query + a
                    n_doubts += 1
                else:
                    before[a] += counted
                n_new[a] += 1
                if n_new[a] == NEW:
                    prune(query + a, counts, norms[a], errors[a])
            if n_doubts:
                others[:n_doubts] = item + b
                count_exactly(
                    doubts[:n_doubts], others[:n_doubts], queries, items, counts
                )
