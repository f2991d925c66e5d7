import warnings
from itertools import combinations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from sk_dml.metrics import (
    _clustering,
    ami_score,
    clustering_scores,
    nmi_score,
    pairwise_f1_score,
)
from tests.random_state import global_state

NAMES = ["nmi", "ami", "pairwise_f1"]


def blobs(seed=0, noise=0.9, n=150):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, size=n)
    return rng.normal(size=(6, 4))[labels] + noise * rng.normal(size=(n, 4)), labels


def f1_of(labels, clusters):
    """Precision and recall by looking at every pair."""
    together = classmates = both = 0
    for i, j in combinations(range(len(labels)), 2):
        together += clusters[i] == clusters[j]
        classmates += labels[i] == labels[j]
        both += clusters[i] == clusters[j] and labels[i] == labels[j]
    precision, recall = both / together, both / classmates
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(3))
def test_equals_definitions_on_the_same_clusters(seed):
    X, labels = blobs(seed)
    scores = clustering_scores(X, labels, n_init=1, random_state=seed)
    clusters = KMeans(6, n_init=1, random_state=seed).fit_predict(X)
    assert 0.1 < scores["nmi"] < 0.9
    assert scores == pytest.approx(
        {
            "nmi": normalized_mutual_info_score(labels, clusters),
            "ami": adjusted_mutual_info_score(labels, clusters),
            "pairwise_f1": f1_of(labels, clusters),
        }
    )


def test_single_functions_agree_with_the_joint_one():
    X, labels = blobs()
    scores = clustering_scores(X, labels, random_state=0)
    assert list(scores) == NAMES
    functions = {"nmi": nmi_score, "ami": ami_score, "pairwise_f1": pairwise_f1_score}
    for name, function in functions.items():
        assert function(X, labels, random_state=0) == scores[name]
        options = {"metric": "cosine", "n_init": 1, "random_state": 1}
        expected = clustering_scores(X, labels, metrics=name, **options)[name]
        assert function(X, labels, **options) == expected != scores[name]
    assert list(clustering_scores(X, labels, metrics="ami", n_init=1)) == ["ami"]


def test_classes_apart_are_perfect_and_noise_is_chance():
    X, labels = blobs(noise=1e-3)
    assert clustering_scores(X, labels, random_state=0) == dict.fromkeys(NAMES, 1.0)
    noise = np.random.default_rng(1).normal(size=(600, 3))
    labels = np.arange(600) % 60
    scores = clustering_scores(noise, labels, n_init=1, random_state=0)
    assert abs(scores["ami"]) < 0.03 < 0.3 < scores["nmi"]
    assert scores["pairwise_f1"] < 0.05


def test_all_metrics_take_one_clustering(monkeypatch):
    fitted = []

    class Counting(KMeans):
        def fit(self, *args, **kwargs):
            fitted.append(self.n_init)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(_clustering, "KMeans", Counting)
    clustering_scores(*blobs(), n_init=2, random_state=0)
    assert fitted == [2]


def test_more_restarts_are_no_worse(monkeypatch):
    inertias = {}

    class Recording(KMeans):
        def fit(self, *args, **kwargs):
            super().fit(*args, **kwargs)
            inertias[self.n_init] = self.inertia_
            return self

    monkeypatch.setattr(_clustering, "KMeans", Recording)
    for n_init in (1, 20):
        clustering_scores(*blobs(), n_init=n_init, random_state=0)
    assert inertias[20] <= inertias[1]


def test_mini_batches_above_a_size(monkeypatch):
    X, labels = blobs(n=600)
    assert len(X) < _clustering.MINI_BATCH_ABOVE
    exact = clustering_scores(X, labels, random_state=0)
    monkeypatch.setattr(_clustering, "MINI_BATCH_ABOVE", 599)
    monkeypatch.setattr(_clustering, "KMeans", None)
    scores = clustering_scores(X, labels, random_state=0)
    assert scores == pytest.approx(exact, abs=0.1)
    assert scores == clustering_scores(X, labels, random_state=0)


def test_pairs_of_many_samples_do_not_overflow():
    n = 120_000
    codes = np.repeat([0, 1], [n - 10, 10])
    clusters = np.repeat([0, 1], [n - 20, 20])
    big, small = (n - 20) * (n - 21), 90 + 90
    found = big + small
    together = big + 20 * 19
    classmates = (n - 10) * (n - 11) + 10 * 9
    expected = 2 * found / (together + classmates)
    assert _clustering._pairwise_f1(codes, clusters) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_collapsed_embedding_has_no_mutual_information(dtype):
    X, labels = np.full((40, 3), 0.1, dtype=dtype), np.arange(40) % 4
    with pytest.warns(
        UserWarning, match="1 distinct rows .* 4 classes; there are 1 cl"
    ):
        scores = clustering_scores(X, labels)
    expected = {"nmi": 0, "ami": 0, "pairwise_f1": f1_of(labels, np.zeros(40))}
    assert scores == pytest.approx(expected, abs=1e-12)


def test_the_cosine_clusters_directions():
    X, labels = blobs()
    units = X / np.linalg.norm(X, axis=1, keepdims=True)
    lengths = np.random.default_rng(0).integers(1, 99, size=(len(X), 1))
    expected = clustering_scores(units, labels, random_state=0)
    found = clustering_scores(X * lengths, labels, metric="cosine", random_state=0)
    assert found == pytest.approx(expected)
    assert clustering_scores(X * lengths, labels, random_state=0) != expected
    # Equal directions are equal rows, but for rounding, and zeros are none.
    ray = np.array([0.1, 0.3, 0.7]) * lengths[:40] / 7
    with pytest.warns(UserWarning, match="1 distinct rows"):
        nmi_score(ray, np.arange(40) % 4, metric="cosine")
    rays = np.repeat([[1.0, 3.0], [7.0, 0.3], [0.0, 0.0]], 3, axis=0) * lengths[:9]
    assert nmi_score(rays, np.arange(9) // 3, metric="cosine") == pytest.approx(1)


def test_zeros_stay_as_they_came():
    X = np.array([[-0.0], [0.0], [-0.0]])
    with pytest.warns(UserWarning, match="1 distinct rows"):
        nmi_score(X, [0, 0, 1])
    assert np.signbit(X).ravel().tolist() == [True, False, True]


def test_as_many_distinct_rows_as_classes_are_the_clusters():
    X = np.array([[0.0], [-0.0], [1e-9], [5.0], [5.0], [7.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nmi_score(X, [0, 0, 1, 2, 2, 3]) == pytest.approx(1)
    with pytest.warns(UserWarning, match="4 distinct rows .* 5 classes"):
        assert pairwise_f1_score(X, [0, 0, 1, 2, 3, 4]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("factor", [1e-300, 1e150, 1e299])
def test_scale_does_not_matter(factor):
    X, labels = blobs()
    expected = clustering_scores(X, labels, random_state=0)
    assert clustering_scores(X * factor, labels, random_state=0) == expected


@pytest.mark.parametrize(
    "kind",
    [
        lambda c: c.astype(str),
        lambda c: c + 2**60,
        lambda c: c + 2**24,
        lambda c: c.astype(str).astype(object),
    ],
)
def test_labels_of_any_kind(kind):
    X, labels = blobs()
    expected = clustering_scores(X, labels, random_state=0)
    assert clustering_scores(X, kind(labels), random_state=0) == pytest.approx(expected)


def test_random_state_decides_and_data_stay():
    X, labels = blobs(noise=2)
    before, data = global_state(), X.copy()
    first = clustering_scores(X, labels, n_init=1, random_state=3)
    assert clustering_scores(X, labels, n_init=1, random_state=3) == first
    assert clustering_scores(X, labels, n_init=1, random_state=4) != first
    assert global_state() == before
    assert np.array_equal(X, data)


X = np.arange(6.0)[:, None]
y = ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, ["a"] * 6), {}, ValueError, "labels hold 1 classes for 6 samples"),
        ((X, list("abcdef")), {}, ValueError, "labels hold 6 classes for 6 samples"),
        ((X, y[:5]), {}, ValueError, "labels has 5 entries and X has 6 rows"),
        ((X * np.nan, y), {}, ValueError, "X contains NaN in 6 of 6 rows"),
        ((X, [{}] * 6), {}, TypeError, "labels holds labels that cannot be hashed"),
        ((X, y), {"metric": "l1"}, ValueError, r"metric must be one of .*'l1'"),
        ((X, y), {"metrics": ("nmi", "nmi")}, ValueError, r"\['nmi'\] twice"),
        ((X, y), {"n_init": 1.5}, TypeError, "n_init must be .*got 1.5"),
        ((X + np.inf, y), {}, ValueError, "X contains infinity"),
        ((X[:, 0], y), {}, ValueError, "must be a 2D array"),
        (
            (X, ["a", None, "b", "b", "c", "c"]),
            {},
            ValueError,
            "labels holds 1 missing",
        ),
        ((X, np.array(["a", 1] * 3, object)), {}, TypeError, "labels mixes"),
        ((X, y), {"metrics": ("ari",)}, ValueError, r"'pairwise_f1'\], got \['ari'\]"),
        ((X, y), {"metrics": ()}, ValueError, "one or more"),
        ((X, y), {"metrics": (["nmi"],)}, ValueError, "one or more"),
        ((X, y), {"n_init": 0}, ValueError, "n_init must be an integer >= 1, got 0"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        clustering_scores(*arguments, **options)
