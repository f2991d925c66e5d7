import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from sk_dml.inspection import _embedding


def test_pca_is_scikit_learns(blobs):
    positions, names = _embedding.reduce(blobs[0], "pca", check_random_state(0))
    expected = PCA(2).fit(blobs[0])
    np.testing.assert_allclose(
        np.abs(positions), np.abs(expected.transform(blobs[0])), atol=1e-12
    )
    share = expected.explained_variance_ratio_[1]
    assert names[1] == f"principal component 2 ({share:.0%} of the variance)"


@pytest.mark.parametrize("n_samples", [2, 5, 42])
def test_tsne_takes_few_samples(blobs, n_samples):
    X = blobs[0][:n_samples]
    first = _embedding.reduce(X, "tsne", check_random_state(0))[0]
    again = _embedding.reduce(X, "tsne", check_random_state(0))[0]
    assert first.shape == (n_samples, 2)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_tsne_draws_from_the_random_state(blobs, monkeypatch):
    given, state = {}, check_random_state(0)

    class Mapped:
        def __init__(self, **kwargs):
            given.update(kwargs)

        def fit_transform(self, X):
            return X[:, :2]

    monkeypatch.setattr(_embedding, "TSNE", Mapped)
    _embedding.reduce(blobs[0], "tsne", state)
    assert given["random_state"] is state


def test_umap_is_called_with_a_seed(blobs, monkeypatch):
    given = {}

    class UMAP:
        def __init__(self, **kwargs):
            given.update(kwargs)

        def fit_transform(self, X):
            return X[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    positions, names = _embedding.reduce(blobs[0], "umap", check_random_state(0))
    assert positions.shape == (42, 2)
    assert positions.dtype == np.float64
    assert names == ("UMAP 1", "UMAP 2")
    seed = check_random_state(0).randint(np.iinfo(np.int32).max)
    assert given == {"n_neighbors": 15, "random_state": seed, "n_jobs": 1}
    with pytest.raises(ValueError, match="'umap' needs 4 or more samples, got 3"):
        _embedding.reduce(blobs[0][:3], "umap", check_random_state(0))


def test_umap_missing_says_what_to_install(blobs, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        _embedding.reduce(blobs[0], "umap", check_random_state(0))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_one_point_is_told(method):
    with pytest.warns(UserWarning, match="All 9 samples are embedded at the same"):
        positions, _ = _embedding.reduce(np.ones((9, 3)), method, check_random_state(0))
    np.testing.assert_array_equal(positions, np.zeros((9, 2)))


@pytest.mark.parametrize("n_chosen", [0, 1, 2, 20, 200])
def test_chosen_points_are_apart(n_chosen):
    points = np.random.default_rng(0).normal(size=(300, 2))
    chosen, spacing = _embedding.spread(points, n_chosen, smallest=0.25)
    assert len(chosen) == len(set(chosen.tolist())) <= n_chosen
    gaps = np.abs(points[chosen][:, None] - points[chosen]).max(axis=2)
    gaps = gaps[~np.eye(len(chosen), dtype=bool)]
    if n_chosen < 2:
        assert spacing == np.inf
    else:
        assert gaps.min() == pytest.approx(spacing)
        assert spacing >= 0.25
    if n_chosen <= 20:
        assert len(chosen) == n_chosen
    else:  # No room for another one.
        left = np.abs(points[:, None] - points[chosen]).max(axis=2).min(axis=1)
        assert left.max() < 0.25


def test_equal_points_are_chosen_once():
    assert len(_embedding.spread(np.ones((5, 2)), 3, smallest=0)[0]) == 1
