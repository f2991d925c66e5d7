import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances

from sk_dml.neighbors import similarity_blocks


def whole(*arguments, **keywords):
    return np.vstack([block for _, block in similarity_blocks(*arguments, **keywords)])


@pytest.mark.parametrize("working_memory", [1024, 0.01])
def test_order_is_that_of_the_distances(working_memory):
    rng = np.random.default_rng(0)
    X, gallery = rng.normal(size=(40, 6)), rng.normal(size=(70, 6))
    with config_context(working_memory=working_memory):
        euclidean = whole(X, gallery)
        cosine = whole(X, gallery, metric="cosine")
    np.testing.assert_array_equal(
        euclidean.argsort(axis=1)[:, ::-1],
        euclidean_distances(X, gallery).argsort(axis=1),
    )
    np.testing.assert_allclose(cosine, cosine_similarity(X, gallery), atol=1e-9)


def test_no_row_is_its_own_neighbour():
    X = np.ones((5, 3))
    found = whole(X)
    np.testing.assert_array_equal(np.isneginf(found), np.eye(5, dtype=bool))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_rows_are_equally_similar_to_the_bit(metric):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(23, 17)).astype(np.float32)
    place = rng.integers(0, 23, size=301)
    found = whole(rng.normal(size=(11, 17)), rows[place], metric=metric)
    for row in range(23):
        same = found[:, place == row]
        assert (same == same[:, :1]).all()


def test_integer_points_tie_exactly():
    X = np.array([[0, 0], [0, 1], [1, 0], [-1, 0], [0, -1], [7, 9]]) + 1000
    found = whole(X)
    assert len(set(found[0, 1:5])) == 1


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'dot'"):
        whole(np.ones((2, 2)), metric="dot")
