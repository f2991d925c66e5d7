import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from sk_dml.neighbors import _exact
from sk_dml.neighbors._distances import Rows
from sk_dml.neighbors._exact import Centering, ExactSearch, _Bounds, _TorchBounds

rng = np.random.default_rng(0)
N = 2000


BOUNDS = {
    "single": lambda search: _Bounds(search, np.float32),
    "double": lambda search: _Bounds(search, np.float64),
    "torch": lambda search: _TorchBounds(search, torch.device("cpu")),
}


@pytest.mark.parametrize("make_bounds", BOUNDS.values(), ids=list(BOUNDS))
@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_bounds_are_below_the_exact_distances_and_close(make_bounds, spread, metric):
    rows = rng.normal(size=6) + spread * rng.normal(size=(64, 6))
    rows[1] += 3
    search = ExactSearch(rows, metric)
    bounds = make_bounds(search)
    queries = Rows(rows[:8], metric)
    memory = bounds._empty(8)
    own = np.full(8, -1)
    first = np.arange(8)
    bounds._search_block(search, queries, first, own, bounds.offsets, 1, np.inf, memory)
    points, _ = search.centering.apply(queries.values, bounds.dtype)
    norms = np.square(points, dtype=np.float64).sum(axis=1) * bounds.factor
    lower = np.asarray(memory, dtype=np.float64) + norms[:, None] - bounds.lost
    scale = Fraction(search.centering.scale) ** 2
    unit = np.finfo(bounds.dtype).eps
    for i in range(8):
        for j in range(64):
            exact = scale * sum(
                (Fraction(a) - Fraction(b)) ** 2
                for a, b in zip(
                    queries.values[i].tolist(),
                    search.gallery.values[j].tolist(),
                    strict=True,
                )
            )
            assert lower[i, j] <= exact
            assert lower[i, j] >= exact - 1000 * unit


def test_products_on_a_device_are_of_double_precision():
    bounds = BOUNDS["torch"](ExactSearch(rng.normal(size=(64, 6)), "euclidean"))
    for tensor in (bounds.points, bounds.offsets, bounds._empty(1)):
        assert tensor.dtype == torch.float64


def count_comparisons(X, monkeypatch, n_neighbors=10):
    count = 0
    pair_distances = _exact.pair_distances

    def counted(rows, indices, others, other_indices):
        nonlocal count
        count += len(indices)
        return pair_distances(rows, indices, others, other_indices)

    monkeypatch.setattr(_exact, "pair_distances", counted)
    ExactSearch(X, "euclidean").search(X, n_neighbors, np.arange(len(X)))
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
    search = ExactSearch(X, "euclidean", device)
    for n_neighbors in (3, 10, 3):
        _, indices = search.search(X[:50], n_neighbors)
        np.testing.assert_array_equal(indices[:40], [range(n_neighbors)] * 40)
        np.testing.assert_array_equal(indices[40:, 0], range(40, 50))
    assert made == ["_Bounds" if device is None else "_TorchBounds"]


def test_pickles_hold_no_bounds():
    search = ExactSearch(rng.normal(size=(N, 8)), "euclidean")
    size = len(pickle.dumps(search))
    expected = search.search(search.gallery.values, 5)
    assert search.bounds
    assert len(pickle.dumps(search)) == size
    found = pickle.loads(pickle.dumps(search)).search(search.gallery.values, 5)
    np.testing.assert_array_equal(found, expected)


def test_pickles_go_to_machines_without_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    rows = rng.normal(size=(N, 8))
    pickles = [
        pickle.dumps(ExactSearch(rows, "euclidean", name)) for name in ("auto", "cuda")
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    auto, cuda = map(pickle.loads, pickles)
    expected = ExactSearch(rows, "euclidean").search(rows[:9], 5)
    np.testing.assert_array_equal(auto.search(rows[:9], 5), expected)
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        cuda.search(rows[:9], 5)


def test_doubt_is_resolved_by_comparing_more(monkeypatch):
    # Nearer to each other than any product can tell.
    X = np.repeat(rng.normal(size=(20, 8)), 100, 0) + 1e-13 * rng.random((N, 8))
    assert count_comparisons(X, monkeypatch) > 100


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1.0, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centered_points_keep_distances(scale, dtype):
    rows = (1e3 + rng.normal(size=(50, 4))) * scale / 2000
    centering = Centering(rows)
    points, is_far = centering.apply(rows, dtype)
    assert points.dtype == dtype
    assert not is_far.any()
    assert 0.25 < np.abs(points).max() <= 1
    squares = np.square((rows - rows[0]) * centering.scale).sum(axis=1)
    found = np.square(points.astype(float) - points[0]).sum(axis=1)
    np.testing.assert_allclose(found, squares, rtol=1e-5)


def test_far_queries_are_told():
    centering = Centering(rng.normal(size=(50, 4)))
    queries = np.array([[1e5] * 4, [1e10] * 4, [-1e300] * 4])
    for dtype, expected in (
        (np.float32, [False, True, True]),
        (np.float64, [False, False, True]),
    ):
        points, is_far = centering.apply(queries, dtype)
        assert is_far.tolist() == expected
        assert np.isfinite(points).all()


@pytest.mark.parametrize("n_copies", [1, 9, 40])
def test_rows_tied_with_the_last_neighbor_are_in_order_of_their_index(n_copies):
    # On a sphere around each query there are more rows than a list and its spare ones.
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 6)).reshape(6, -1).T
    shells = np.repeat(np.vstack([signs * 0.1, signs * 0.3]), n_copies, axis=0)
    gallery = rng.permutation(np.vstack([shells, rng.normal(size=(N, 6)) + 3]))
    for offset in (0.0, 1000.0):
        near = np.flatnonzero(np.isclose(np.abs(gallery), 0.1).all(axis=1))
        rows = gallery + offset
        rows = rows if offset == 0 else np.round(rows * 1024) / 1024
        search = ExactSearch(rows, "euclidean")
        for n_neighbors in (1, 7, 30, 64 * n_copies):
            distances, indices = search.search(np.full((3, 6), offset), n_neighbors)
            np.testing.assert_array_equal(indices, np.tile(near[:n_neighbors], (3, 1)))
            assert (distances == distances[0, 0]).all()
