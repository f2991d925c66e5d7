import numpy as np
import pytest
from sklearn.utils import check_random_state

from sk_dml.inspection import _data


def by_sorting(queries, gallery, own):
    distances = np.sqrt(((queries[:, None] - gallery) ** 2).sum(axis=2))
    if own is not None:
        distances[np.arange(len(queries)), own] = np.inf
    return np.sort(distances, axis=1)


@pytest.mark.parametrize("kind", ["distinct", "duplicates", "one point"])
def test_neighbours_leave_out_the_query_by_index(kind):
    rng = np.random.default_rng(0)
    gallery = {
        "distinct": rng.normal(size=(30, 3)),
        "duplicates": rng.integers(0, 2, size=(30, 3)).astype(float),
        "one point": np.ones((30, 3)),
    }[kind]
    own = np.array([29, 3, 0, 14])
    distances, indices = _data.nearest(gallery[own], gallery, 5, own=own)
    assert indices.shape == (4, 5)
    assert not (indices == own[:, None]).any()
    assert all(len(set(row)) == 5 for row in indices.tolist())
    expected = by_sorting(gallery[own], gallery, own)[:, :5]
    np.testing.assert_allclose(distances, expected, atol=1e-7)
    found = np.linalg.norm(gallery[own][:, None] - gallery[indices], axis=2)
    np.testing.assert_allclose(distances, found, atol=1e-7)


def test_neighbours_in_a_gallery_keep_duplicates_of_the_query():
    queries = np.array([[0.0, 1.0], [1.0, 0.0]])
    gallery = np.array([[0.0, 2.0], [0.0, 1.0], [1.0, 0.1]])
    distances, indices = _data.nearest(queries, gallery, 1)
    assert indices.ravel().tolist() == [1, 2]
    assert distances[0, 0] == 0
    cosine, indices = _data.nearest(queries, gallery, 2, metric="cosine")
    assert set(indices[0]) == {0, 1}
    np.testing.assert_allclose(cosine[0], 0, atol=1e-15)


def test_samples_are_drawn_once_and_in_order():
    state = check_random_state(0)
    drawn = _data.draw_sample(100, 30, state)
    assert len(set(drawn)) == 30
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() < 100
    assert drawn.tolist() != list(range(30))
    for size in (None, 7, 8):
        assert _data.draw_sample(7, size, state).tolist() == list(range(7))


def test_search_counts_what_there_is_to_find():
    X = np.eye(4)
    *_, n_relevant = _data.check_search(X, ["a", "b", "b", "b"], None, None)
    assert n_relevant.tolist() == [0, 2, 2, 2]
    *_, n_relevant = _data.check_search(X, list("abbc"), X[:3], list("bbx"))
    assert n_relevant.tolist() == [0, 2, 2, 0]


def test_bad_input():
    X = np.eye(4)
    with pytest.raises(ValueError, match="go together, got only gallery"):
        _data.check_search(X, list("aabb"), X, None)
    with pytest.raises(ValueError, match="go together, got only gallery_labels"):
        _data.check_search(X, list("aabb"), None, list("aabb"))
    with pytest.raises(ValueError, match="gallery has 3 features and X has 4"):
        _data.check_search(X, list("aabb"), X[:, :3], list("aabb"))
    with pytest.raises(ValueError, match="None of the 4 queries"):
        _data.findable(np.zeros(4, dtype=int))
    with pytest.warns(UserWarning, match="1 of 3 samples are left out"):
        assert _data.findable(np.array([2, 0, 1])).tolist() == [0, 2]
    with pytest.raises(ValueError, match="y holds 1 missing labels"):
        _data.embed_labelled(None, X, ["a", None, "b", "b"])
