import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.neighbors import NearestNeighbors

from sk_dml.neighbors import _search, nearest_neighbors
from tests.neighbors.reference import brute_force

rng = np.random.default_rng(0)
N = 400


def clusters(spread, n=N, n_features=8):
    centers = rng.normal(size=(5, n_features))
    noise = rng.normal(size=(n, n_features))
    return centers[rng.integers(5, size=n)] + spread * noise


HARD = {
    "normal": rng.normal(size=(N, 16)),
    "one feature": rng.normal(size=(N, 1)),
    "wide": rng.normal(size=(N, 500)),
    "single precision": rng.normal(size=(N, 16)).astype(np.float32),
    "integers": rng.integers(0, 4, size=(N, 3)).astype(float),
    "duplicates": rng.normal(size=(15, 8))[rng.integers(15, size=N)],
    "all the same": np.full((N, 4), 0.1),
    "zeros of both signs": np.where(rng.random((N, 2)) < 0.5, -0.0, 0.0),
    "offset": 1e6 + rng.normal(size=(N, 16)),
    "offset, integers": 1e6 + rng.integers(0, 3, size=(N, 4)),
    "offset to the last digits": 1e14 + rng.integers(0, 9, size=(N, 4)),
    "tiny": 1e-30 * rng.normal(size=(N, 8)),
    "huge": 1e150 * rng.normal(size=(N, 8)),
    "tight clusters": clusters(1e-4),
    "clusters finer than single precision": clusters(1e-9),
    "clusters finer than products in double precision": clusters(1e-13),
    "an outlier": np.vstack([rng.normal(size=(N - 1, 8)), np.full((1, 8), 1e20)]),
    "many scales": rng.normal(size=(N, 8)) * 10.0 ** rng.uniform(-50, 50, (N, 1)),
    # Enough rows to select by groups.
    "many rows": rng.normal(size=(3000, 4)),
    "many rows of integers": rng.integers(0, 9, size=(3000, 3)).astype(float),
}


X_small = HARD["normal"]
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)
DEVICES = [
    None,
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, needs_cuda]),
]


@cache
def nearest_by_brute_force(name, n_rows):
    return brute_force(HARD[name][:n_rows], n_neighbors=150)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_neighbors", [1, 10, 150])
@pytest.mark.parametrize("name", HARD)
def test_equals_brute_force_to_the_bit(name, n_neighbors, device):
    X = HARD[name]
    X = X if n_neighbors == 10 else X[:N]
    expected_distances, expected = (
        found[:, :n_neighbors] for found in nearest_by_brute_force(name, len(X))
    )
    distances, indices = nearest_neighbors(X, n_neighbors=n_neighbors, device=device)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(distances, expected_distances)
    assert distances.dtype == np.float64
    assert indices.dtype == np.int64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", HARD)
def test_queries_apart_from_the_gallery(name, device):
    gallery = HARD[name][:N]
    near = gallery[::8]
    for queries in (near, near + 10 * np.abs(gallery).max(), near * 1e-9):
        for n_neighbors in (3, N):
            expected = brute_force(queries, gallery, n_neighbors=n_neighbors)
            found = nearest_neighbors(
                queries, gallery, n_neighbors=n_neighbors, device=device
            )
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_array_equal(found[0], expected[0])


def test_whole_gallery_without_oneself():
    X = HARD["duplicates"]
    _, indices = nearest_neighbors(X, n_neighbors=N - 1)
    np.testing.assert_array_equal(indices, brute_force(X, n_neighbors=N - 1)[1])


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 980])
def test_scale_by_powers_of_two_does_not_matter(exponent):
    X = HARD["normal"]
    expected_distances, expected = nearest_neighbors(X)
    distances, indices = nearest_neighbors(np.ldexp(X, exponent))
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(distances, np.ldexp(expected_distances, exponent))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_cosine(scale, device):
    X = HARD["normal"].copy()
    X[[5, 77]] = 0
    expected_distances, expected = brute_force(X, n_neighbors=9, metric="cosine")
    distances, indices = nearest_neighbors(
        X * scale, n_neighbors=9, metric="cosine", device=device
    )
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, expected_distances, atol=1e-14)
    assert (distances[[5, 77]] == 1).all()
    distances, indices = nearest_neighbors(X, n_neighbors=N - 1, metric="cosine")
    assert (distances[np.isin(indices, [5, 77])] == 1).all()
    assert distances.min() >= 0
    assert distances.max() <= 2


def test_equal_directions_are_ties():
    X = HARD["integers"] - 1.5
    factors = rng.integers(1, 100, size=(N, 1))
    distances, indices = nearest_neighbors(X, n_neighbors=20, metric="cosine")
    scaled_distances, scaled = nearest_neighbors(
        X * factors, n_neighbors=20, metric="cosine"
    )
    np.testing.assert_array_equal(indices, scaled)
    np.testing.assert_array_equal(distances, scaled_distances)
    ties = np.diff(distances, axis=1) == 0
    assert ties.any()
    assert (np.diff(indices, axis=1)[ties] > 0).all()


def test_cosine_tells_near_directions_apart():
    # 1 - cos of these is 0 in double precision.
    gallery = np.column_stack([np.ones(60), np.arange(60)[::-1] * 1e-10])
    distances, indices = nearest_neighbors(
        [[1.0, 0.0]], gallery, n_neighbors=3, metric="cosine"
    )
    np.testing.assert_array_equal(indices, [[59, 58, 57]])
    np.testing.assert_allclose(distances, [[0, 0.5e-20, 2e-20]], rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_agrees_with_scikit_learn(metric):
    X, queries = rng.normal(size=(900, 20)), rng.normal(size=(70, 20))
    index = NearestNeighbors(n_neighbors=6, metric=metric, algorithm="brute").fit(X)
    for rows in (None, queries):
        distances, indices = nearest_neighbors(
            *((X,) if rows is None else (rows, X)), n_neighbors=6, metric=metric
        )
        expected_distances, expected = index.kneighbors(rows)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_allclose(distances, expected_distances, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_queries_too_far_for_any_product(device):
    gallery = np.vstack([HARD["normal"][:90], np.tile(HARD["normal"][:1], (9, 1))])
    queries = HARD["normal"][:5] * [[1e8], [1e15], [1e17], [1e20], [1e150]]
    expected = brute_force(queries, gallery, n_neighbors=4)
    found = nearest_neighbors(queries, gallery, n_neighbors=4, device=device)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


def test_copies_beside_others():
    # Some rows have more copies than fit into a list, too few to matter to the rest.
    X = HARD["many rows"].copy()
    X[rng.integers(3000, size=40)] = X[5]
    distances, indices = brute_force(X, n_neighbors=60)
    for n_neighbors in (1, 10, 60):
        for device in (None, "cpu"):
            found = nearest_neighbors(X, n_neighbors=n_neighbors, device=device)
            np.testing.assert_array_equal(found[0], distances[:, :n_neighbors])
            np.testing.assert_array_equal(found[1], indices[:, :n_neighbors])


@pytest.mark.cuda
@needs_cuda
def test_settings_of_torch_do_not_matter():
    X = rng.normal(size=(3000, 16)).astype(np.float32)
    expected = nearest_neighbors(X)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = nearest_neighbors(X, device="cuda")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_auto_device_is_whatever_there_is():
    expected = nearest_neighbors(X_small)
    found = nearest_neighbors(X_small, device="auto")
    np.testing.assert_array_equal(found[1], expected[1])
    device = torch.device("cpu")
    np.testing.assert_array_equal(
        nearest_neighbors(X_small, device=device)[1], expected[1]
    )


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", 2.5])
def test_unknown_device(device):
    with pytest.raises(ValueError, match=f"device={device!r} cannot be used here"):
        nearest_neighbors(X_small, device=device)


def test_device_without_double_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    known = {
        "is_available": True,
        "current_accelerator": torch.device("mps"),
        "device_count": 1,
    }
    for name, value in known.items():
        monkeypatch.setattr(torch.accelerator, name, lambda value=value: value)
    with pytest.raises(ValueError, match=r"device='mps'.* has no double precision"):
        nearest_neighbors(X_small, device="mps")
    nearest_neighbors(X_small, device="auto")


def test_auto_goes_by_the_size_of_the_gallery(monkeypatch):
    made = []
    monkeypatch.setattr(
        _search, "ApproximateSearch", lambda exact, seed: made.append(seed) or exact
    )
    monkeypatch.setattr(_search, "AUTO_APPROXIMATE", 100)
    few, many = X_small[:99], X_small[:100]
    expected = nearest_neighbors(many)[1]
    nearest_neighbors(few, search="auto", random_state=3)
    nearest_neighbors(many, few, search="auto", random_state=3)
    assert made == []
    found = nearest_neighbors(many, search="auto", random_state=3)[1]
    assert made == [3]
    np.testing.assert_array_equal(found, expected)


def test_memory_is_bounded():
    X = rng.normal(size=(4000, 4))
    expected = nearest_neighbors(X)
    with config_context(working_memory=1):
        tracemalloc.start()
        found = nearest_neighbors(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # All distances in single precision would be 64 MB; the lists are 0.6.
    assert peak < 6e6
    np.testing.assert_array_equal(found[1], expected[1])
    with config_context(working_memory=0.001):
        np.testing.assert_array_equal(
            nearest_neighbors(X[:500])[1], brute_force(X[:500], n_neighbors=10)[1]
        )


def test_inputs_stay_as_they_are():
    X, queries = rng.normal(size=(200, 4)), rng.normal(size=(50, 4))
    kept = X.copy(), queries.copy()
    for metric in ("euclidean", "cosine"):
        nearest_neighbors(queries, X, metric=metric)
    np.testing.assert_array_equal((X, queries)[0], kept[0])
    np.testing.assert_array_equal(queries, kept[1])


rows = np.arange(12.0).reshape(6, 2)
with_nan, with_inf = rows.copy(), rows.copy()
with_nan[[2, 4], 1], with_inf[3, 0] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((with_nan,), {}, ValueError, "queries contains NaN in 2 of 6 rows.* row 2"),
        ((rows, with_inf), {}, ValueError, "gallery contains infinity in 1 of 6.* 3"),
        (
            (rows * 1e300,),
            {},
            ValueError,
            r"queries contains values beyond 1e.300.* in 5 of 6",
        ),
        (
            (rows[:, :1], rows),
            {},
            ValueError,
            r"queries has 1 features \(6 rows\) and gallery has 2 \(6 rows\)",
        ),
        ((rows,), {}, ValueError, "n_neighbors=10 is larger than 5.*n_samples=6"),
        ((rows, rows), {}, ValueError, "n_neighbors=10 is larger than .*n_samples=6"),
        ((rows, rows[:0]), {}, ValueError, r"gallery is empty.* \(0, 2\)"),
        ((rows[:1],), {"n_neighbors": 1}, ValueError, "n_neighbors=1 is larger than 0"),
        ((rows,), {"n_neighbors": 0}, ValueError, "n_neighbors must be .* >= 1, got 0"),
        ((rows,), {"n_neighbors": 2.0}, TypeError, "n_neighbors must be an integer"),
        ((rows,), {"n_neighbors": True}, TypeError, "n_neighbors must be an integer"),
        ((rows,), {"metric": "l1"}, ValueError, "metric must be one of .*got 'l1'"),
        ((rows,), {"search": "fast"}, ValueError, "search must be one of .*'fast'"),
        ((rows[0],), {}, ValueError, r"queries must be a 2D array.* shape \(2,\)"),
        ((rows, rows[:, :, None]), {}, ValueError, r"gallery must .*\(6, 2, 1\)"),
        ((rows, 3.0), {}, ValueError, r"gallery must be a 2D array .*shape \(\)"),
        ((rows, []), {}, ValueError, r"gallery is empty: it has shape \(0,\)"),
        (([], rows), {}, ValueError, r"queries is empty: it has shape \(0,\)"),
    ],
)
def test_bad_input(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        nearest_neighbors(*arguments, **keywords)
