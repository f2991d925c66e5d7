from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from sk_dml.metrics import recall_at_k_score, retrieval_values
from sk_dml.neighbors import RetrievalIndex, nearest_neighbors
from sk_dml.neighbors._distances import (
    Rows,
    common_scale,
    distance_blocks,
    equal_rows,
    pair_distances,
    unit_rows,
)
from tests.neighbors.reference import rounded


def whole(*arguments, **keywords):
    return np.vstack([block for _, block in distance_blocks(*arguments, **keywords)])


@pytest.mark.parametrize("working_memory", [1024, 0.01])
def test_order_is_that_of_the_distances(working_memory):
    rng = np.random.default_rng(0)
    X, gallery = rng.normal(size=(40, 6)), rng.normal(size=(70, 6))
    with config_context(working_memory=working_memory):
        euclidean = whole(X, gallery)
        cosine = whole(X, gallery, metric="cosine")
    np.testing.assert_array_equal(
        euclidean.argsort(axis=1), euclidean_distances(X, gallery).argsort(axis=1)
    )
    np.testing.assert_allclose(1 - cosine / 2, cosine_similarity(X, gallery), atol=1e-9)


def test_no_row_is_its_own_neighbor():
    X = np.ones((5, 3))
    found = whole(X)
    np.testing.assert_array_equal(np.isposinf(found), np.eye(5, dtype=bool))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_rows_are_equally_far_to_the_bit(metric):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(23, 17)).astype(np.float32)
    number = rng.integers(0, 23, size=301)
    found = whole(rng.normal(size=(11, 17)), rows[number], metric=metric)
    for row in range(23):
        same = found[:, number == row]
        assert (same == same[:, :1]).all()


def test_equal_distances_tie():
    X = np.array([[0, 0], [0, 1], [1, 0], [-1, 0], [0, -1], [7, 9]]) + 1000
    found = whole(X)
    assert len(set(found[0, 1:5])) == 1
    # The same features in another order: their squares add up to other last digits.
    X = np.array([[0, 0, 0], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.1, 0.3]])
    assert len(set(whole(X)[0, 1:])) == 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_far_row_and_a_wide_column_change_no_other_distance(metric):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5))
    expected = whole(X, metric=metric)
    far = whole(np.vstack([X, np.full(5, 1e30)]), metric=metric)[:-1, :-1]
    np.testing.assert_array_equal(far.argsort(axis=1), expected.argsort(axis=1))
    if metric == "euclidean":
        wide = whole(np.c_[X, np.full(30, 1e9)])
        np.testing.assert_array_equal(wide.argsort(axis=1), expected.argsort(axis=1))


@pytest.mark.parametrize("scale", [1e-310, 1e-170, 1e-30, 1e150, 1e300])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_scale_does_not_matter(metric, scale):
    X = np.random.default_rng(0).normal(size=(30, 5))
    found = whole(X * scale, metric=metric)
    expected = whole(X, metric=metric)
    np.testing.assert_array_equal(found.argsort(axis=1), expected.argsort(axis=1))


def test_short_directions_count():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5))
    found = whole(X * 10.0 ** rng.uniform(-280, 0, size=(30, 1)), metric="cosine")
    expected = whole(X, metric="cosine")
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_no_direction_is_at_a_right_angle_to_all():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 1.0]])
    np.testing.assert_array_equal(whole(X, metric="cosine")[0, 1:], [2.0, 2.0])


def test_equal_rows_have_equal_numbers():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9, 4))
    rows[0, 0], number = 0.0, rng.integers(0, 9, size=100)
    X = rows[number]
    X[::2][X[::2] == 0] = -0.0
    numbers = equal_rows(X)
    np.testing.assert_array_equal(
        numbers[:, None] == numbers, number[:, None] == number
    )


def test_rows_with_equal_hashes_have_numbers_of_their_own():
    least = 2.0**-1074  # of which the bits are those of the integer 1
    X = np.array([[3 * least, 0.0], [0.0, least], [3 * least, 0.0]])
    numbers = equal_rows(X)
    assert numbers[0] == numbers[2] != numbers[1]


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'dot'"):
        whole(np.ones((2, 2)), metric="dot")


def exact_root(number):
    """Take the root of a fraction, to 30 digits more than a double has."""
    shift = 4**200
    scaled = number * shift**8
    return Fraction(isqrt(scaled.numerator // scaled.denominator), 2 ** (400 * 4))


def all_pairs(rows, metric="euclidean"):
    """Distances of all pairs, (n, n)."""
    rows = Rows(rows, metric)
    first, second = np.indices((len(rows), len(rows))).reshape(2, -1)
    return pair_distances(rows, first, rows, second).reshape(len(rows), -1)


@pytest.mark.parametrize("exponent", [-1040, -500, 0, 500, 995])
def test_distances_keep_their_digits_at_any_scale(exponent):
    rng = np.random.default_rng(0)
    rows = np.ldexp(rng.normal(size=(6, 5)) * 10.0 ** rng.integers(-9, 1, 5), exponent)
    found = all_pairs(rows)
    for i in range(6):
        for j in range(6):
            squares = [
                (Fraction(a) - Fraction(b)) ** 2
                for a, b in zip(rows[i].tolist(), rows[j].tolist(), strict=True)
            ]
            expected = float(exact_root(sum(squares)))
            # Squares of 44 bits have roots within half of 2**-44.
            assert found[i, j] == pytest.approx(expected, rel=2.0**-45, abs=5e-324)


def test_proportional_rows_have_equal_units():
    rows = np.random.default_rng(0).integers(-9, 10, size=(200, 4)).astype(float)
    units, is_zero = unit_rows(rows)
    np.testing.assert_array_equal(is_zero, ~rows.any(axis=1))
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), ~is_zero)
    for factor in (3, 7, 1001):
        np.testing.assert_array_equal(unit_rows(rows * factor)[0], units)


def hard_data(name, dtype):
    """Rows with near ties, many of them one rounding apart."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-2, 3, size=(160, 6)).astype(float)
    if name == "decimal grid":
        rows /= 10
    elif name == "permuted features":
        rows = rng.permuted(np.tile(rng.normal(size=6), (160, 1)), axis=1)
    elif name == "nearly equal rows":
        rows = rng.normal(size=(20, 6))[rng.integers(20, size=160)]
        rows *= 1 + rng.integers(-1, 2, size=rows.shape) * 2.0**-50
    elif name == "duplicates":
        rows = rng.normal(size=(20, 6))[rng.integers(20, size=160)]
    elif name == "zero rows":
        rows[::9] = 0
        rows *= rng.uniform(0.1, 9, size=(160, 1))
    elif name == "large offset":
        rows = rows / 10 + 1e7
    return rows.astype(dtype)


DATA = [
    "grid",
    "decimal grid",
    "permuted features",
    "nearly equal rows",
    "duplicates",
    "zero rows",
    "large offset",
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", DATA)
def test_everything_agrees_on_distances_and_ties(name, metric, dtype):
    X = hard_data(name, dtype)
    pairs = all_pairs(X, metric)
    np.fill_diagonal(pairs, np.inf)
    squares = whole(X, metric=metric)
    # Ties are the same for pairs, blocks and lists.
    distances, indices = nearest_neighbors(X, n_neighbors=159, metric=metric)
    np.testing.assert_array_equal(
        np.argsort(pairs, axis=1, kind="stable")[:, :159], indices
    )
    np.testing.assert_array_equal(
        np.argsort(squares, axis=1, kind="stable")[:, :159], indices
    )
    np.testing.assert_array_equal(np.take_along_axis(pairs, indices, axis=1), distances)
    np.testing.assert_array_equal(
        np.diff(np.take_along_axis(squares, indices, axis=1), axis=1) == 0,
        np.diff(distances, axis=1) == 0,
    )
    # And by products: candidates of short lists.
    short, some = nearest_neighbors(X, n_neighbors=5, metric=metric)
    np.testing.assert_array_equal(short, distances[:, :5])
    np.testing.assert_array_equal(some, indices[:, :5])
    if metric == "euclidean":
        rows = X.astype(np.float64)
        expected = np.zeros((160, 160))
        for column in rows.T:
            expected += (column[:, None] - column) ** 2
        expected = np.sqrt(rounded(expected))
        np.fill_diagonal(expected, np.inf)
        np.testing.assert_array_equal(pairs, expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", DATA)
def test_compiled_distances_are_the_same_to_the_bit(name, metric):
    from sk_dml.metrics import _kernels  # which compiles

    for dtype in (np.float32, np.float64):
        X = hard_data(name, dtype)[:40]
        rows = Rows(X, metric)
        scale, smallest = common_scale(rows), rows.smallest_square
        found = [
            [
                _kernels.squared_distance(x, y, zero or other, scale, smallest)
                for y, other in zip(rows.values, rows.is_zero, strict=True)
            ]
            for x, zero in zip(rows.values, rows.is_zero, strict=True)
        ]
        expected = whole(X, metric=metric)
        found = np.where(np.eye(40, dtype=bool), np.inf, found)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", DATA)
def test_the_index_and_recall_at_k_agree(name, metric):
    X = hard_data(name, np.float64)
    labels = np.random.default_rng(1).integers(0, 40, size=160)
    labels[:40] = np.arange(40)
    labels[40:80] = np.arange(40)
    distances, indices = RetrievalIndex(159, metric=metric).fit(X).kneighbors()
    is_relevant = labels[indices] == labels[:, None]
    for k in (1, 5):
        values = retrieval_values(X, labels, metrics=[f"recall_at_{k}"], metric=metric)
        # Over all orders of the rows that the index lists as tied.
        expected = [
            recall_with_ties(*query, k)
            for query in zip(distances, is_relevant, strict=True)
        ]
        np.testing.assert_allclose(values[f"recall_at_{k}"], expected, atol=1e-12)
        score = recall_at_k_score(X, labels, k=k, metric=metric)
        assert score == pytest.approx(np.mean(expected), abs=1e-12)


def recall_with_ties(distances, is_relevant, k):
    """Probability that a random order of ties has a relevant row among the first k."""
    miss = 1.0
    for distance in np.unique(distances[:k]):
        tied = np.flatnonzero(distances == distance)
        n_drawn = min(k - tied[0], len(tied))
        n_misses = int((~is_relevant[tied]).sum())
        for i in range(n_drawn):
            miss *= max(n_misses - i, 0) / (len(tied) - i)
    return 1 - miss
