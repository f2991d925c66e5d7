import pickle

import numpy as np
import pytest
import torch

from sk_dml.neighbors import RetrievalIndex, _exact, nearest_neighbors, neighbor_recall
from sk_dml.neighbors._approximate import ApproximateSearch
from tests.neighbors.descent import Descent, install
from tests.neighbors.reference import brute_force

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 8))


@pytest.fixture
def descent(monkeypatch):
    install(monkeypatch)


DATA = {
    "normal": X,
    "offset": 1e6 + X,
    "tiny": 1e-30 * X,
    "huge": 1e150 * X,
    "duplicates": np.repeat(X[:60], 5, axis=0)[rng.permutation(300)],
    "few rows": X[:20],
    "all the same": np.ones((100, 3)),
    "zeros among them": np.where(np.arange(300)[:, None] % 50 == 0, 0, X),
}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", DATA)
def test_everything_around_the_descent_is_exact(descent, name, metric):
    rows = DATA[name]
    for n_neighbors in (1, 8, len(rows) - 1):
        keywords = {"n_neighbors": n_neighbors, "metric": metric}
        expected = nearest_neighbors(rows, **keywords)
        found = nearest_neighbors(rows, search="approximate", **keywords)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    gallery = rows[: len(rows) // 2]
    for queries in (rows, rows * 1e9, rows * 0):
        expected = nearest_neighbors(queries, gallery, n_neighbors=4, metric=metric)
        found = nearest_neighbors(
            queries, gallery, n_neighbors=4, metric=metric, search="approximate"
        )
        # In single precision queries may be too far away to rank the last ones.
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
        assert found[0].dtype == np.float64
        assert found[1].dtype == np.int64


def test_queries_too_far_for_single_precision_are_searched_exactly(descent):
    queries = X[:40] * 1e9
    expected = nearest_neighbors(queries, X, n_neighbors=4)
    found = nearest_neighbors(queries, X, n_neighbors=4, search="approximate")
    np.testing.assert_array_equal(found[1], expected[1])


def test_random_state_seeds_it(descent):
    for random_state in (0, 0, 1, np.random.RandomState(0)):
        nearest_neighbors(X, search="approximate", random_state=random_state)
    first, second, other, instance = Descent.seeds
    assert first == second == instance != other


def test_built_once_and_again_for_more_rows(descent):
    index = RetrievalIndex(3, search="approximate").fit(X)
    index.kneighbors(X[:5])
    index.kneighbors()
    assert Descent.n_built == 1
    index.add(X[:5] + 0.001)
    np.testing.assert_array_equal(
        index.kneighbors(X[:5], 2, return_distance=False),
        [[i, 300 + i] for i in range(5)],
    )
    assert Descent.n_built == 2


def test_rebuilt_at_the_next_search_only(descent):
    index = RetrievalIndex(3, search="approximate").fit(X[:100])
    for i in range(100, 110):
        index.add(X[[i]])
    assert Descent.n_built == 1
    index.kneighbors()
    assert Descent.n_built == 2


def test_what_the_descent_does_not_serve_is_prepared_once(descent, monkeypatch):
    made = []
    bounds = _exact._Bounds
    monkeypatch.setattr(
        _exact, "_Bounds", lambda *args: made.append(args) or bounds(*args)
    )
    index = RetrievalIndex(3, search="approximate").fit(X)
    expected = nearest_neighbors(X * 1e9, X, n_neighbors=3)
    made.clear()
    for _ in range(3):
        np.testing.assert_array_equal(index.kneighbors(X * 1e9), expected)
    assert len(made) <= 2  # of single and of double precision


@pytest.fixture(scope="module")
def fitted():
    """Build a search by pynndescent itself, which compiles for half a minute."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(20, 16))
    rows = centers[random.integers(20, size=2000)] + random.normal(size=(2000, 16))
    return RetrievalIndex(metric="cosine", search="approximate", random_state=0).fit(
        rows
    )


@pytest.mark.slow
def test_pynndescent_finds_most_is_seeded_and_pickled(fitted, monkeypatch):
    assert type(fitted._search) is ApproximateSearch
    assert fitted._search.index is not None
    distances, indices = fitted.kneighbors()
    rows = fitted.gallery_
    assert neighbor_recall(indices, rows, metric="cosine") > 0.95
    assert not (indices == np.arange(2000)[:, None]).any()
    assert (np.diff(distances, axis=1) >= 0).all()

    again = nearest_neighbors(
        rows, metric="cosine", search="approximate", random_state=0
    )
    np.testing.assert_array_equal((distances, indices), again)

    pickled = pickle.dumps(fitted)
    install(monkeypatch)
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.kneighbors(), (distances, indices))
    queries = rows[:50] + 0.1
    np.testing.assert_array_equal(copy.kneighbors(queries), fitted.kneighbors(queries))
    assert Descent.n_built == 0


def test_recall_is_the_share_of_the_true_ones():
    _, indices = brute_force(X, n_neighbors=10)
    far = brute_force(X, n_neighbors=299)[1][:, -10:]
    assert neighbor_recall(indices, X) == 1
    assert neighbor_recall(far, X) == 0
    for n_true in (3, 7):
        mixed = np.hstack([indices[:, :n_true], far[:, n_true:]])
        assert neighbor_recall(mixed[:, ::-1], X) == pytest.approx(n_true / 10)
    gallery = X[:100]
    _, indices = brute_force(X, gallery, n_neighbors=10, metric="cosine")
    assert neighbor_recall(indices, X, gallery, metric="cosine") == 1


def test_recall_counts_nothing_twice_and_not_the_query():
    _, indices = brute_force(X, n_neighbors=4)
    twice, own, missing = indices.copy(), indices.copy(), indices.copy()
    twice[:, 3] = twice[:, 0]
    own[:, 1] = np.arange(300)
    missing[:, 2:] = -1
    assert neighbor_recall(twice, X) == 0.75
    assert neighbor_recall(own, X) == 0.75
    assert neighbor_recall(missing, X) == 0.5


def test_recall_counts_ties():
    rows = np.repeat([[0.0], [1.0]], 50, axis=0)
    indices = np.array(
        [[(i // 50) * 50 + (i + j) % 50 for j in (7, 9)] for i in range(100)]
    )
    assert neighbor_recall(indices, rows) == 1


def test_recall_samples():
    _, indices = brute_force(X, n_neighbors=4)
    indices[:150] = -1
    recalls = [
        neighbor_recall(indices, X, n_sampled=20, random_state=i) for i in (0, 0, 1, 2)
    ]
    assert recalls[0] == recalls[1]
    assert len(set(recalls)) > 1
    assert all(0.1 < recall < 0.9 for recall in recalls)
    assert neighbor_recall(indices, X, n_sampled=300) == 0.5


@pytest.mark.parametrize(
    ("indices", "keywords", "error", "message"),
    [
        (np.zeros((299, 2), int), {}, ValueError, r"300 queries, got shape \(299, 2\)"),
        (np.zeros(300, int), {}, ValueError, r"got shape \(300,\)"),
        (np.zeros((300, 2)), {}, TypeError, "integers, got dtype float64"),
        (np.full((300, 2), 300), {}, ValueError, "0 to 299.*300 of 300 queries"),
        (np.zeros((300, 300), int), {}, ValueError, "n_neighbors=300 is larger than"),
        (np.zeros((300, 2), int), {"n_sampled": 0}, ValueError, "n_sampled must"),
        (np.zeros((300, 2), int), {"n_sampled": 9.5}, TypeError, "n_sampled must"),
        (np.zeros((300, 2), int), {"metric": "dot"}, ValueError, "metric must"),
    ],
)
def test_recall_refuses(indices, keywords, error, message):
    with pytest.raises(error, match=message):
        neighbor_recall(indices, X, **keywords)


@pytest.mark.parametrize("method", ["__init__", "query"])
def test_threads_that_the_descent_leaves_are_taken_back(monkeypatch, descent, method):
    import pynndescent

    n_threads = torch.get_num_threads()
    original = getattr(pynndescent.NNDescent, method)

    def greedy(*args, **kwargs):
        torch.set_num_threads(n_threads + 1)  # as numba's pool does
        return original(*args, **kwargs)

    monkeypatch.setattr(pynndescent.NNDescent, method, greedy)
    try:
        nearest_neighbors(X, n_neighbors=3, search="approximate")
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(n_threads)
