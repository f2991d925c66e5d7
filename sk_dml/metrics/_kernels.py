"""Compiled loops that count the items that rank before the relevant ones."""

# How it works. ``_counting`` says what is counted and why that is enough; here is how
# one pair costs a few instructions. Similarity is the negative squared distance.
#
# A tile of products holds x.y of some centered queries x and items y. From it follows
# the similarity 2 x.y - |x|^2 - |y|^2, off by no more than errors[x] + errors[y]. An
# item matters to a query only if it is at least as similar as the least similar of its
# open relevant items, that is, if x.y - limits[y] > thresholds[x]: all terms that
# belong to one side alone are computed once for all pairs. So the inner loop is a
# subtraction and a comparison, over CHUNK products at a time, without branches: vector
# instructions. Nearly all chunks hold no such item and are left at once.
#
# Each of the few that remain is placed among the sorted relevant items by bisection. If
# none of these is within the error of the product, it is counted there. Else the
# product is in doubt: the pair is put off and its distance computed as neighbors.
# _distances defines it, feature after feature, so that equal rows come out equal to the
# bit and ties are the same here, in the index and in the search of few rows.
#
# The counts only grow, and so does what a query knows: a relevant item with ``depth``
# items before it is closed for good, and thresholds rise with the last open one. That
# is asked again after every NEW items, as it costs more than a comparison.
#
# Threads: the rows of a tile write to the states of its queries only, and so do its
# columns; the caller never hands out two tiles with a query in common at a time. The
# order of tiles decides how fast thresholds rise, and none of the counts.

from typing import NamedTuple

import numpy as np
from numba import njit

from sk_dml.neighbors._distances import ROUNDING, SPLIT

compiled = njit(cache=True, nogil=True)
# Passing many arrays, or taking them out of a tuple, costs more than the work.
inlined = njit(cache=True, nogil=True, inline="always")

# Products that are compared with a threshold at a time: a constant, so that the loop
# becomes a few vector instructions.
CHUNK = 64

# Items that may count before it is asked anew which relevant items they closed.
NEW = 16

# More than the share that rounding takes from a squared distance.
MARGIN = 2 * ROUNDING


class Points(NamedTuple):
    """Queries or items, one for all equal rows of a class, in the order of products."""

    values: np.ndarray  # all rows, (n, n_features), as neighbors._distances has them
    is_zero: np.ndarray  # (n,), rows without a direction
    order: np.ndarray  # (n_points,), the row of each point; so all that follow
    weights: np.ndarray  # how many equal rows each stands for
    codes: np.ndarray  # their class, ascending
    norms: np.ndarray  # squared lengths when centered; 1 more for rows of zeros
    errors: np.ndarray  # share in the largest error of a similarity by a product
    limits: np.ndarray  # what to take from a product before comparing it


class QueryState(NamedTuple):
    """Counts of a block of queries; the pairs of query i begin at ``starts[i]``."""

    starts: np.ndarray  # (n_queries + 1,)
    relevant: np.ndarray  # (n_pairs,), similarities of relevant items, largest first
    n_between: np.ndarray  # irrelevant items between a relevant item and that before
    n_tied: np.ndarray  # irrelevant ones as similar as it, at the first of equals
    n_open: np.ndarray  # (n_queries,), first relevant items that may be within depth
    last_group: np.ndarray  # where the items as similar as the last open one begin
    n_counted: np.ndarray  # irrelevant items counted up to and in that group
    n_new: np.ndarray  # items since it was last asked what is closed
    thresholds: np.ndarray  # what a product less the item's limit has to exceed
    depths: np.ndarray  # ranks that matter
    rounding: float  # of the precision of products and thresholds
    scale: float  # what differences are multiplied with
    smallest_square: float  # squared distances below it are 0


@inlined
def squared_distance(x, y, has_zero, scale, smallest_square):
    """Return the squared distance that neighbors._distances defines."""
    square = 0.0
    for k in range(len(x)):
        gap = (np.float64(x[k]) - np.float64(y[k])) * scale
        square += gap * gap
    upper = square * SPLIT
    square = upper - (upper - square)
    if square < smallest_square:
        square = 0.0
    if has_zero:
        square = 2.0
    return square


@compiled
def fill_relevant(queries, items, classes, copies_before, offset, state):
    """Compute the squared distances of queries to all items of their class.

    A row of ``classes`` holds the first and the last (exclusive) of its queries, and of
    its items. Query i is the item ``offset + i``, of which one copy is left out;
    ``copies_before`` (n_items + 1,) are rows, copies included, before each item.
    """
    x_values, x_order, x_zero = queries.values, queries.order, queries.is_zero
    y_values, y_order, y_zero = items.values, items.order, items.is_zero
    relevant, starts = state.relevant, state.starts
    for first, last, first_item, last_item in classes:
        # The distance of two queries serves both, where both are here.
        is_symmetric = first_item == offset + first and last_item == offset + last
        for i in range(first, last):
            row, own = x_order[i], offset + i
            is_own = first_item <= own < last_item
            for j in range(own if is_symmetric else first_item, last_item):
                other = y_order[j]
                square = squared_distance(
                    x_values[row],
                    y_values[other],
                    x_zero[row] or y_zero[other],
                    state.scale,
                    state.smallest_square,
                )
                # Every copy is a relevant item of its own, but the query itself.
                n_copies = copies_before[j + 1] - copies_before[j] - (j == own)
                at = starts[i] + copies_before[j] - copies_before[first_item]
                at -= is_own and own < j
                relevant[at : at + n_copies] = square
                if is_symmetric and j > own:
                    n_copies = copies_before[own + 1] - copies_before[own]
                    at = starts[j - offset]
                    at += copies_before[own] - copies_before[first_item]
                    relevant[at : at + n_copies] = square


@inlined
def first_not_above(value, at, n, relevant):
    """Return the first of n relevant items from ``at`` on that is not above a value."""
    # Bisection without branches that a processor could guess wrong.
    while n > 1:
        half = n // 2
        at += half * (relevant[at + half - 1] > value)
        n -= half
    return at + (n == 1 and relevant[at] > value)


@compiled
def close_items(i, state, norm, error):
    """Close the relevant items of query i beyond its depth, and raise its threshold."""
    start, relevant = state.starts[i], state.relevant
    n, last, counted = state.n_open[i], state.last_group[i], state.n_counted[i]
    # The position of a group: the relevant items before it, and the irrelevant ones
    # counted but for those tied with it. They only grow: it is beyond for good.
    while n and last - start + counted - state.n_tied[last] >= state.depths[i]:
        counted -= state.n_between[last] + state.n_tied[last]
        n = last - start
        last -= 1
        while last > start and relevant[last - 1] == relevant[last]:
            last -= 1
    state.n_open[i], state.last_group[i], state.n_counted[i] = n, last, counted
    state.n_new[i] = 0
    if n == 0:
        state.thresholds[i] = np.inf
        return
    # Solved for the product: 2 x.y - norm - norm of the item >= lowest. The errors of
    # the item are in its limit. Twice the error makes up for all that is rounded here.
    lowest = relevant[start + n - 1]
    error += 2 * MARGIN * norm + state.rounding * abs(lowest)
    state.thresholds[i] = (lowest + norm) / 2 - error


@compiled
def close_all(state, queries, is_first):
    """Close what is beyond the depth of every query, for the first time or later."""
    relevant = state.relevant
    for i in range(len(state.n_open)):
        if is_first:
            start = state.starts[i]
            last = start + max(state.n_open[i] - 1, 0)
            while last > start and relevant[last - 1] == relevant[last]:
                last -= 1
            state.last_group[i] = last
        close_items(i, state, queries.norms[i], queries.errors[i])


@inlined
def count_by_product(value, margin, at, n, weight, relevant, n_between):
    """Count an item of a rounded similarity; return its weight, 0, or -1 in doubt."""
    end = at + n
    margin += MARGIN * abs(value)
    # The first relevant item that is not certainly above it: if that one may be equal,
    # or above after all, the product cannot tell.
    at = first_not_above(value + margin, at, n, relevant)
    if at == end:
        return 0
    if relevant[at] >= value - margin:
        return -1
    n_between[at] += weight
    return weight


@compiled
def count_by_distance(query_indices, item_indices, queries, items, state):
    """Count items whose products were in doubt, by their distances."""
    x_values, x_order = queries.values, queries.order
    y_values, y_order = items.values, items.order
    relevant, starts, n_open = state.relevant, state.starts, state.n_open
    for k in range(len(query_indices)):
        i, j = query_indices[k], item_indices[k]
        row, other = x_order[i], y_order[j]
        value = -squared_distance(
            x_values[row],
            y_values[other],
            queries.is_zero[row] or items.is_zero[other],
            state.scale,
            state.smallest_square,
        )
        at = first_not_above(value, starts[i], n_open[i], relevant)
        # Closed items may have been passed since the product was looked at.
        if at == starts[i] + n_open[i]:
            continue
        if relevant[at] == value:
            state.n_tied[at] += items.weights[j]
        else:
            state.n_between[at] += items.weights[j]
        state.n_counted[i] += items.weights[j]


@compiled
def count_rows(query, item, products, queries, items, state):
    """Count the columns of a tile of products as items for the rows, the queries.

    ``query`` and ``item`` are those of the first row and column of the tile.
    """
    relevant, n_between = state.relevant, state.n_between
    n_counted, n_new = state.n_counted, state.n_new
    width = products.shape[1]
    tile = slice(item, item + width)
    codes, limits, weights = items.codes[tile], items.limits[tile], items.weights[tile]
    norms, errors = items.norms[tile], items.errors[tile]
    near, doubtful, same_query = np.empty((3, CHUNK), dtype=np.int64)
    for a in range(len(products)):
        i = query + a
        row, code = products[a], queries.codes[i]
        at, n = state.starts[i], state.n_open[i]
        threshold = state.thresholds[i]
        norm, error = queries.norms[i], queries.errors[i]
        for chunk in range(width // CHUNK + 1):
            start, n_near, n_doubtful = chunk * CHUNK, 0, 0
            stop = min(start + CHUNK, width)
            # A loop of constant length that only adds: it becomes vector instructions.
            if stop == start + CHUNK:
                n_above = 0
                for b in range(CHUNK):
                    n_above += row[start + b] - limits[start + b] > threshold
                if n_above == 0:
                    continue
            # Indices first, without a branch; then the few that are near.
            for b in range(start, stop):
                near[n_near] = b
                n_near += row[b] - limits[b] > threshold
            for k in range(n_near):
                b = near[k]
                if codes[b] == code:
                    continue
                value = 2 * np.float64(row[b]) - norm - norms[b]
                counted = count_by_product(
                    value, error + errors[b], at, n, weights[b], relevant, n_between
                )
                if counted < 0:
                    doubtful[n_doubtful] = item + b
                    n_doubtful += 1
                else:
                    n_counted[i] += counted
                n_new[i] += 1
                if n_new[i] == NEW:
                    close_items(i, state, norm, error)
                    n, threshold = state.n_open[i], state.thresholds[i]
            # Together: a call for each would cost more than its distance.
            if n_doubtful:
                same_query[:n_doubtful] = i
                count_by_distance(
                    same_query[:n_doubtful],
                    doubtful[:n_doubtful],
                    queries,
                    items,
                    state,
                )


@compiled
def count_columns(query, item, products, queries, items, state):
    """Count the rows of a tile as items for the columns, which are queries too.

    ``query`` and ``item`` are those of the first column and row of the tile. It is
    ``count_rows`` with the sides exchanged: a row is an item here, and along it the
    thresholds vary, not the limits. Rows are what lies together in memory.
    """
    relevant, n_between = state.relevant, state.n_between
    width = products.shape[1]
    columns = slice(query, query + width)
    thresholds, codes = state.thresholds[columns], queries.codes[columns]
    starts, n_open = state.starts[columns], state.n_open[columns]
    n_counted, n_new = state.n_counted[columns], state.n_new[columns]
    norms, errors = queries.norms[columns], queries.errors[columns]
    near, doubtful, same_item = np.empty((3, CHUNK), dtype=np.int64)
    for b in range(len(products)):
        row, limit, code = products[b], items.limits[item + b], items.codes[item + b]
        weight, norm = items.weights[item + b], items.norms[item + b]
        error = items.errors[item + b]
        for chunk in range(width // CHUNK + 1):
            start, n_near, n_doubtful = chunk * CHUNK, 0, 0
            stop = min(start + CHUNK, width)
            if stop == start + CHUNK:
                part, least = row[start:stop], thresholds[start:stop]
                n_above = 0
                for a in range(CHUNK):
                    n_above += part[a] - limit > least[a]
                if n_above == 0:
                    continue
            for a in range(start, stop):
                near[n_near] = a
                n_near += row[a] - limit > thresholds[a]
            for k in range(n_near):
                a = near[k]
                if codes[a] == code:
                    continue
                value = 2 * np.float64(row[a]) - norms[a] - norm
                counted = count_by_product(
                    value,
                    error + errors[a],
                    starts[a],
                    n_open[a],
                    weight,
                    relevant,
                    n_between,
                )
                if counted < 0:
                    doubtful[n_doubtful] = query + a
                    n_doubtful += 1
                else:
                    n_counted[a] += counted
                # The slices are views: what is closed shows in n_open and thresholds.
                n_new[a] += 1
                if n_new[a] == NEW:
                    close_items(query + a, state, norms[a], errors[a])
            if n_doubtful:
                same_item[:n_doubtful] = item + b
                count_by_distance(
                    doubtful[:n_doubtful],
                    same_item[:n_doubtful],
                    queries,
                    items,
                    state,
                )
