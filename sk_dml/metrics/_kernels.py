"""Compiled loops that count which items rank before the relevant ones.

Items are compared in single precision first, with a bound of its error; where that
cannot tell, in double precision, each product summed in the same order, so that equal
rows come out equal to the bit.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)
# Passing many arrays, or taking them out of a tuple, costs more than the work.
inlined = njit(cache=True, nogil=True, inline="always")

# Products that are compared with a threshold at a time: a constant, so that the loop
# becomes a few vector instructions.
CHUNK = 64


class Side(NamedTuple):
    """Rows as they came, with what turns them into points; see neighbors._rows."""

    values: np.ndarray
    order: np.ndarray
    scales: np.ndarray
    center: np.ndarray
    resolution: float


class Pairs(NamedTuple):
    """The two sides of all pairs, in the order in which products are computed.

    ``offsets`` are those of the items, and ``near`` the same in single precision;
    ``codes`` the classes.
    """

    queries: Side
    query_codes: np.ndarray
    items: Side
    item_codes: np.ndarray
    offsets: np.ndarray
    near: np.ndarray
    step: float


class Counts(NamedTuple):
    """What is known of every query, whose relevant items stand at ``starts``.

    ``relevant`` holds their similarities, the largest first. ``gaps`` counts the
    irrelevant items that are less similar than so many relevant ones, ``ties`` those
    as similar as the relevant one there, the first of equals. Only the first ``alive``
    relevant items can still reach the ranks that matter, the first ``depth``, as far as
    was looked before the last ``n_new`` items.
    """

    starts: np.ndarray
    relevant: np.ndarray
    gaps: np.ndarray
    ties: np.ndarray
    alive: np.ndarray
    n_new: np.ndarray
    thresholds: np.ndarray
    margins: np.ndarray
    depths: np.ndarray


@compiled
def dot(x, y):
    """Sum products in an order that depends on nothing but their number."""
    a = b = c = d = e = f = g = h = 0.0
    n = len(x) // 8 * 8
    for k in range(0, n, 8):
        a += x[k] * y[k]
        b += x[k + 1] * y[k + 1]
        c += x[k + 2] * y[k + 2]
        d += x[k + 3] * y[k + 3]
        e += x[k + 4] * y[k + 4]
        f += x[k + 5] * y[k + 5]
        g += x[k + 6] * y[k + 6]
        h += x[k + 7] * y[k + 7]
    for k in range(n, len(x)):
        a += x[k] * y[k]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@compiled
def point(side, row, out):
    """Convert a row as Rows.points does."""
    values = side.values[side.order[row]]
    scale = side.scales[side.order[row]]
    for k in range(len(out)):
        out[k] = values[k] * scale - side.center[k]
    if side.resolution > 0:
        for k in range(len(out)):
            out[k] = np.rint(out[k] / side.resolution) * side.resolution


@compiled
def fill_relevant(points, others, offsets, step, classes, own, relevant, starts):
    """Compute the similarities of queries to all items of their class, negative.

    A row of ``classes`` says from where to where the queries and the items of a class
    stand among ``points`` and ``others``. The i-th query is the item ``own + i``, which
    is left out.
    """
    for first, last, first_item, last_item in classes:
        # The product of two queries serves both, where both are here.
        is_symmetric = first_item == own + first and last_item == own + last
        for i in range(first, last):
            at = starts[i]
            for j in range(own + i if is_symmetric else first_item, last_item):
                if j == own + i:
                    continue
                product = dot(points[i], others[j])
                k = j - first_item - (first_item <= own + i < j)
                relevant[at + k] = -np.rint((product - offsets[j]) / step) * step
                if is_symmetric:
                    k = starts[j - own] + i - first
                    value = product - offsets[own + i]
                    relevant[k] = -np.rint(value / step) * step


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
def set_threshold(counts, i):
    """Say above which similarity, computed nearly, an item matters."""
    n = counts.alive[i]
    if n == 0:
        counts.thresholds[i] = np.inf
    else:
        low = counts.relevant[counts.starts[i] + n - 1] - counts.margins[i]
        counts.thresholds[i] = np.float32(low - abs(low) * 1e-6)


@compiled
def prune(counts, i):
    """Give up the relevant items that the depth has passed by."""
    at = counts.starts[i]
    position = first = 0
    for k in range(counts.alive[i]):
        position += counts.gaps[at + k]
        if k == 0 or counts.relevant[at + k] != counts.relevant[at + k - 1]:
            first = position + k
            position += counts.ties[at + k]
        if first >= counts.depths[i]:
            counts.alive[i] = k
            break
    counts.n_new[i] = 0
    set_threshold(counts, i)


@compiled
def prune_all(counts):
    """Give up what is beyond the depth."""
    for i in range(len(counts.alive)):
        prune(counts, i)


@inlined
def is_counted(value, margin, at, n, relevant, gaps):
    """Count an irrelevant item, unless single precision cannot tell where it stands."""
    end = at + n
    at = place(value + margin, at, n, relevant)
    if at == end:
        return True
    is_clear = relevant[at] < value - margin
    gaps[at] += is_clear
    return is_clear


@compiled
def count_exactly(i, j, counts, pairs, x, y):
    """Count an irrelevant item by its similarity in double precision."""
    point(pairs.queries, i, x)
    point(pairs.items, j, y)
    value = np.rint((dot(x, y) - pairs.offsets[j]) / pairs.step) * pairs.step
    start, n = counts.starts[i], counts.alive[i]
    at = place(value, start, n, counts.relevant)
    if at == start + n:
        return
    if counts.relevant[at] == value:
        counts.ties[at] += 1
    else:
        counts.gaps[at] += 1


@compiled
def count_rows(query, item, products, counts, pairs):
    """Count the columns of a tile of products as items for the rows, the queries.

    ``query`` and ``item`` are those of the first row and column of the tile.
    """
    width = products.shape[1]
    x, y = np.empty(len(pairs.items.center)), np.empty(len(pairs.items.center))
    near, found = pairs.near[item : item + width], np.empty(CHUNK, dtype=np.int64)
    codes = pairs.item_codes[item : item + width]
    relevant, gaps = counts.relevant, counts.gaps
    for a in range(len(products)):
        i = query + a
        row, code = products[a], pairs.query_codes[i]
        at, n = counts.starts[i], counts.alive[i]
        threshold, margin = counts.thresholds[i], counts.margins[i]
        n_new = counts.n_new[i]
        for chunk in range(width // CHUNK + 1):
            start, n_found = chunk * CHUNK, 0
            stop = min(start + CHUNK, width)
            if stop == start + CHUNK:
                hits = 0
                for b in range(CHUNK):
                    hits += row[start + b] - near[start + b] > threshold
                if hits == 0:
                    continue
            for b in range(start, stop):
                found[n_found] = b
                n_found += row[b] - near[b] > threshold
            for k in range(n_found):
                b = found[k]
                if codes[b] != code:
                    n_new += 1
                    value = np.float64(row[b] - near[b])
                    if not is_counted(value, margin, at, n, relevant, gaps):
                        count_exactly(i, item + b, counts, pairs, x, y)
            if n_new > n // 4:
                prune(counts, i)
                n, threshold, n_new = counts.alive[i], counts.thresholds[i], 0
        counts.n_new[i] = n_new


@compiled
def count_columns(query, item, products, counts, pairs):
    """Count the rows of a tile as items for the columns, which are queries too.

    ``query`` and ``item`` are those of the first column and row of the tile.
    """
    width = products.shape[1]
    x, y = np.empty(len(pairs.items.center)), np.empty(len(pairs.items.center))
    found = np.empty(CHUNK, dtype=np.int64)
    queries = slice(query, query + width)
    thresholds, margins = counts.thresholds[queries], counts.margins[queries]
    starts, alive = counts.starts[queries], counts.alive[queries]
    codes, n_new = pairs.query_codes[queries], counts.n_new[queries]
    relevant, gaps = counts.relevant, counts.gaps
    for b in range(len(products)):
        row, near, code = products[b], pairs.near[item + b], pairs.item_codes[item + b]
        for chunk in range(width // CHUNK + 1):
            start, n_found = chunk * CHUNK, 0
            stop = min(start + CHUNK, width)
            if stop == start + CHUNK:
                part, limits = row[start:stop], thresholds[start:stop]
                hits = 0
                for a in range(CHUNK):
                    hits += part[a] - near > limits[a]
                if hits == 0:
                    continue
            for a in range(start, stop):
                found[n_found] = a
                n_found += row[a] - near > thresholds[a]
            for k in range(n_found):
                a = found[k]
                if codes[a] != code:
                    n_new[a] += 1
                    value = np.float64(row[a] - near)
                    if not is_counted(
                        value, margins[a], starts[a], alive[a], relevant, gaps
                    ):
                        count_exactly(query + a, item + b, counts, pairs, x, y)
                    if n_new[a] > alive[a] // 4:
                        prune(counts, query + a)
