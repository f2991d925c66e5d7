import numpy as np
import pytest
from sklearn.utils import check_random_state

from sk_dml.inspection import _data


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
