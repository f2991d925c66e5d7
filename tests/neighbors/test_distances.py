import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from sk_dml.neighbors._distances import distance_blocks, equal_rows


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


def test_no_row_is_its_own_neighbour():
    X = np.ones((5, 3))
    found = whole(X)
    np.testing.assert_array_equal(np.isposinf(found), np.eye(5, dtype=bool))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_rows_are_equally_far_to_the_bit(metric):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(23, 17)).astype(np.float32)
    place = rng.integers(0, 23, size=301)
    found = whole(rng.normal(size=(11, 17)), rows[place], metric=metric)
    for row in range(23):
        same = found[:, place == row]
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
    rows[0, 0], place = 0.0, rng.integers(0, 9, size=100)
    X = rows[place]
    X[::2][X[::2] == 0] = -0.0
    numbers = equal_rows(X)
    np.testing.assert_array_equal(numbers[:, None] == numbers, place[:, None] == place)


def test_rows_with_equal_hashes_have_numbers_of_their_own():
    least = 2.0**-1074  # of which the bits are those of the integer 1
    X = np.array([[3 * least, 0.0], [0.0, least], [3 * least, 0.0]])
    numbers = equal_rows(X)
    assert numbers[0] == numbers[2] != numbers[1]


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'dot'"):
        whole(np.ones((2, 2)), metric="dot")
