import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from sk_dml.neighbors import _exact
from sk_dml.neighbors._exact import ExactSearch, Gallery, _Bounds, _TorchBounds

rng = np.random.default_rng(0)
N = 2000


BOUNDS = {
    "single": lambda gallery: _Bounds(gallery, np.float32),
    "double": lambda gallery: _Bounds(gallery, np.float64),
    "torch": lambda gallery: _TorchBounds(gallery, torch.device("cpu")),
}


@pytest.mark.parametrize("make_bounds", BOUNDS.values(), ids=list(BOUNDS))
@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_bounds_are_below_the_exact_distances_and_close(make_bounds, spread, metric):
    rows = rng.normal(size=6) + spread * rng.normal(size=(64, 6))
    rows[1] += 3
    gallery = Gallery(rows, metric)
    bounds = make_bounds(gallery)
    queries = gallery.rows[:8]
    memory = bounds.empty(8)
    own = np.full(8, -1)
    bounds.search(queries, own, bounds.offsets, 1, 5, np.inf, memory)
    points, _ = gallery.centered(queries, bounds.dtype)
    norms = np.square(points, dtype=np.float64).sum(axis=1) * bounds.factor
    lower = np.asarray(memory, dtype=np.float64) + norms[:, None] - bounds.lost
    scale = Fraction(gallery.first * gallery.second) ** 2
    unit = np.finfo(bounds.dtype).eps
    for i in range(8):
        for j in range(64):
            exact = scale * sum(
                (Fraction(a) - Fraction(b)) ** 2
                for a, b in zip(
                    queries[i].tolist(), gallery.rows[j].tolist(), strict=True
                )
            )
            assert lower[i, j] <= exact
            assert lower[i, j] >= exact - 1000 * unit


def test_products_on_a_device_are_of_double_precision():
    bounds = BOUNDS["torch"](Gallery(rng.normal(size=(64, 6)), "euclidean"))
    for tensor in (bounds.points, bounds.offsets, bounds.empty(1)):
        assert tensor.dtype == torch.float64


def count_comparisons(X, monkeypatch, n_neighbors=10):
    count = 0
    distances = Gallery.distances

    def counted(self, queries, columns):
        nonlocal count
        count += columns.size
        return distances(self, queries, columns)

    monkeypatch.setattr(Gallery, "distances", counted)
    ExactSearch(Gallery(X, "euclidean")).search(X, n_neighbors, np.arange(len(X)))
    return count / len(X)


@pytest.mark.parametrize(
    ("X", "most"),
    [
        (rng.normal(size=(N, 32)), 19),
        (1e6 + rng.normal(size=(N, 32)), 19),
        (np.repeat(rng.normal(size=(N // 100, 8)), 100, axis=0), 40),
        (np.zeros((N, 4)), 19),
        # Single precision leaves a cluster of 20, double precision does not.
        (np.repeat(rng.normal(size=(100, 8)), 20, 0) + 1e-6 * rng.random((N, 8)), 45),
        (np.repeat(rng.normal(size=(2, 8)), N // 2, 0) + 1e-6 * rng.random((N, 8)), 45),
        (np.vstack([np.full((1, 8), 1e7), rng.normal(size=(N - 1, 8))]), 45),
    ],
)
def test_few_rows_are_compared_in_double_precision(X, most, monkeypatch):
    assert 10 <= count_comparisons(X, monkeypatch) <= most


@pytest.mark.parametrize("device", [None, "cpu"])
def test_bounds_are_made_once(device, monkeypatch):
    made = []
    for name in ("_Bounds", "_TorchBounds"):
        monkeypatch.setattr(
            _exact,
            name,
            lambda *args, kind=name: (
                made.append(kind)
                or BOUNDS[{"_Bounds": "single", "_TorchBounds": "torch"}[kind]](args[0])
            ),
        )
    X = rng.normal(size=(N, 8))
    X[:40] = X[0]  # more copies than any list has room for
    search = ExactSearch(Gallery(X, "euclidean"), device)
    for n_neighbors in (3, 10, 3):
        _, indices = search.search(X[:50], n_neighbors)
        np.testing.assert_array_equal(indices[:40], [range(n_neighbors)] * 40)
        np.testing.assert_array_equal(indices[40:, 0], range(40, 50))
    assert made == ["_Bounds" if device is None else "_TorchBounds"]


def test_pickles_hold_no_bounds():
    search = ExactSearch(Gallery(rng.normal(size=(N, 8)), "euclidean"))
    size = len(pickle.dumps(search))
    expected = search.search(search.gallery.rows, 5)
    assert search.bounds
    assert len(pickle.dumps(search)) == size
    found = pickle.loads(pickle.dumps(search)).search(search.gallery.rows, 5)
    np.testing.assert_array_equal(found, expected)


def test_pickles_go_to_machines_without_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    rows = rng.normal(size=(N, 8))
    gallery = Gallery(rows, "euclidean")
    pickles = [pickle.dumps(ExactSearch(gallery, name)) for name in ("auto", "cuda")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    auto, cuda = map(pickle.loads, pickles)
    expected = ExactSearch(gallery).search(rows[:9], 5)
    np.testing.assert_array_equal(auto.search(rows[:9], 5), expected)
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        cuda.search(rows[:9], 5)


def test_doubt_is_resolved_by_comparing_more(monkeypatch):
    # Nearer to each other than any product can tell.
    X = np.repeat(rng.normal(size=(20, 8)), 100, 0) + 1e-13 * rng.random((N, 8))
    assert count_comparisons(X, monkeypatch) > 100
