from fractions import Fraction

import numpy as np
import pytest

from sk_dml.neighbors._bounded import ExactSearch, _Bounds
from sk_dml.neighbors._gallery import Gallery

rng = np.random.default_rng(0)
N = 2000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_bounds_are_below_the_exact_distances_and_close(dtype, spread, metric):
    rows = rng.normal(size=6) + spread * rng.normal(size=(64, 6))
    rows[1] += 3
    gallery = Gallery(rows, metric)
    bounds = _Bounds(gallery, slice(None), dtype)
    queries = gallery.rows[:8]
    memory = np.empty((8, 64), dtype)
    bounds.search(queries, np.full(8, -1), 1, 5, True, memory)
    points, _ = gallery.centered(queries, dtype)
    norms = np.square(points, dtype=np.float64).sum(axis=1) * bounds.factor
    lower = memory.astype(np.float64) + norms[:, None] - bounds.lost
    scale = Fraction(gallery.first * gallery.second) ** 2
    unit = np.finfo(dtype).eps
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


def test_doubt_is_resolved_by_comparing_more(monkeypatch):
    # Nearer to each other than any product can tell.
    X = np.repeat(rng.normal(size=(20, 8)), 100, 0) + 1e-13 * rng.random((N, 8))
    assert count_comparisons(X, monkeypatch) > 100
