import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state

from sk_dml.inspection import _base
from sk_dml.neighbors import nearest_neighbors


def test_samples_are_drawn_once_and_in_order():
    state = check_random_state(0)
    drawn = _base.draw_sample(100, 30, state)
    assert len(set(drawn)) == 30
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() < 100
    assert drawn.tolist() != list(range(30))
    for size in (None, 7, 8):
        assert _base.draw_sample(7, size, state).tolist() == list(range(7))


def test_neighbours_are_those_of_a_full_search():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.integers(0, 3, (20, 2)), 3, axis=0).astype(float)
    queries = np.array([0, 7, 59, 30])
    distances, found = _base.nearest(X, queries, n_neighbors=4)
    expected, expected_of = nearest_neighbors(X, n_neighbors=4)
    np.testing.assert_array_equal(found, expected_of[queries])
    np.testing.assert_array_equal(distances, expected[queries])


def test_neighbours_in_a_gallery_may_be_the_query():
    X = np.arange(6.0)[:, None]
    distances, found = _base.nearest(X, np.array([1, 4]), X, n_neighbors=1)
    assert found.ravel().tolist() == [1, 4]
    assert not distances.any()


def test_faults_show_before_the_work():
    class Display(_base.FromEstimatorMixin):
        @classmethod
        def from_embeddings(cls, X, labels, *, k=1):
            return X

    with pytest.raises(TypeError, match="unexpected keyword argument 'gallery'"):
        Display.from_estimator(None, np.eye(4), list("aabb"), gallery=np.eye(4))
    with pytest.raises(ValueError, match="y holds 1 missing labels"):
        Display.from_estimator(None, np.eye(4), ["a", None, "b", "b"])


def test_samples_without_an_embedding_are_named():
    class Display(_base.FromEstimatorMixin):
        @classmethod
        def from_embeddings(cls, X, labels, *, gallery=None):
            return X

    class Embedder(TransformerMixin, BaseEstimator):
        def transform(self, X):
            rows = np.array([[len(str(path)), 1.0] for path in X])
            rows[rows[:, 0] == 7] = np.nan
            return rows

    good, bad = ["a.png", "bb.png", "cc.png"], ["a.png", "bad.png", "odd.png"]
    labels = list("aab")
    assert Display.from_estimator(Embedder(), good, labels).shape == (3, 2)
    message = r"2 of 3 samples of {} have no embedding.*at place 1, 'bad\.png'"
    with pytest.raises(ValueError, match=message.format("X")):
        Display.from_estimator(Embedder(), bad, labels)
    with pytest.raises(ValueError, match=message.format("gallery")):
        Display.from_estimator(Embedder(), good, labels, gallery=bad)


def test_bad_input():
    with pytest.raises(ValueError, match="None of the 4 queries"):
        _base.findable(np.zeros(4, dtype=int))
    with pytest.warns(UserWarning, match="1 of 3 samples are left out"):
        assert _base.findable(np.array([2, 0, 1])).tolist() == [0, 2]
