import tracemalloc
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics.pairwise import paired_distances

from sk_dml.metrics import sample_pairs, verification_scores, verification_threshold
from sk_dml.neighbors import RetrievalIndex
from tests.random_state import global_state

METRICS = ["euclidean", "cosine"]


def grid(seed, n=14):
    """Points on an integer grid, with duplicates and equal distances, and classes."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, size=(n, 2)).astype(float)
    return X, np.append(rng.integers(0, 3, size=n - 2), [0, 1])


def pairs_of(X, labels):
    """Squared distances of all pairs of one class, and of different classes."""
    same, different = [], []
    for i, j in combinations(range(len(X)), 2):
        distance = int(((X[i] - X[j]) ** 2).sum())
        (same if labels[i] == labels[j] else different).append(distance)
    return same, different


def points_of(same, different):
    """Points (FAR, TAR) of all thresholds, as fractions, from accepting nothing."""
    yield Fraction(0), Fraction(0)
    for threshold in sorted({*same, *different}):
        yield (
            Fraction(sum(d <= threshold for d in different), len(different)),
            Fraction(sum(d <= threshold for d in same), len(same)),
        )


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_fractions(seed):
    X, labels = grid(seed)
    same, different = pairs_of(X, labels)
    rates = (0.05, 0.125, 0.5, 0.9)
    found = verification_scores(X, labels, far=rates)
    # Mann-Whitney: how often a same-class pair is nearer, ties counting half.
    wins = sum((s < d) + Fraction(s == d, 2) for s in same for d in different)
    expected = {"roc_auc": wins / (len(same) * len(different))}
    points = list(points_of(same, different))
    for (far, tar), (next_far, next_tar) in pairwise(points):
        # On the way from one point to the next, FAR - (1 - TAR) grows at a constant
        # rate; it is zero at the equal error.
        excess, growth = far + tar - 1, next_far + next_tar - far - tar
        if excess < 0 <= excess + growth:
            way = -excess / growth
            expected["equal_error_rate"] = far + way * (next_far - far)
        for rate in map(Fraction, rates):
            if far <= rate < next_far:
                way = (rate - far) / (next_far - far)
                expected[f"tar_at_far_{float(rate)}"] = tar + way * (next_tar - tar)
    assert found == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_rates_that_are_whole_pairs(seed):
    X = np.random.default_rng(seed).normal(size=(20, 1))
    distances = np.abs(X - X.T)[np.triu_indices(20, k=1)]
    is_same = np.equal.outer(np.arange(20) % 2, np.arange(20) % 2)
    is_same = is_same[np.triu_indices(20, k=1)]
    different = np.sort(distances[~is_same])  # 100 of them
    rates = np.arange(1, 100) / 100
    found = verification_scores(X, np.arange(20) % 2, far=rates)
    # As many false accepts as allowed, and all that is nearer than the next one.
    expected = [(distances[is_same] < different[n]).mean() for n in range(1, 100)]
    assert list(found.values())[2:] == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_constant_embedding_scores_chance(metric):
    X, labels = np.full((60, 7), 0.1, dtype=np.float32), np.arange(60) % 7 // 2
    found = verification_scores(X, labels, metric=metric, far=0.01)
    chance = {"roc_auc": 0.5, "equal_error_rate": 0.5, "tar_at_far_0.01": 0.01}
    assert found == pytest.approx(chance, abs=1e-12)
    assert verification_threshold(X, labels, metric=metric) == 0
    with pytest.raises(ValueError, match=r"far=0\.1: (\d+) of \1 .* at distance 0"):
        verification_threshold(X, labels, metric=metric, far=0.1)


def test_equal_directions_tie_for_the_cosine():
    rng = np.random.default_rng(0)
    X = rng.integers(1, 9, size=7) * rng.integers(1, 99, size=(40, 1))
    found = verification_scores(X, np.arange(40) % 2, metric="cosine", far=0.1)
    assert found["roc_auc"] == pytest.approx(0.5, abs=1e-12)


def test_equal_cosines_tie():
    # All rows are of one length: the cosine sorts and ties as whole numbers do.
    rng = np.random.default_rng(0)
    X = rng.permuted(np.tile(np.arange(1.0, 6), (40, 1)), axis=1)
    labels = rng.integers(0, 3, size=40)
    expected = verification_scores(X, labels, far=0.1)
    found = verification_scores(X, labels, metric="cosine", far=0.1)
    assert found == pytest.approx(expected, abs=1e-12)


def test_equal_distances_of_decimal_points_tie():
    X, labels = np.random.default_rng(0).integers(-9, 10, (60, 1)), np.arange(60) % 4
    expected = verification_scores(X, labels, far=0.1)
    found = verification_scores(X / 10, labels, far=0.1)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_separated_classes_are_perfect(metric):
    X = np.repeat(np.eye(3), 5, axis=0)
    labels = np.repeat(["a", "b", "c"], 5)
    found = verification_scores(X, labels, metric=metric, far=0.05)
    assert found == {"roc_auc": 1, "equal_error_rate": 0, "tar_at_far_0.05": 1}
    distance = 1 if metric == "cosine" else np.sqrt(2)
    threshold = verification_threshold(X, labels, metric=metric)
    assert threshold == pytest.approx(distance / 2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("factor", [1e-300, 1e150, 1e299])
def test_scale_does_not_matter(metric, factor):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 3)), rng.integers(0, 6, size=60)
    expected = verification_scores(X, labels, metric=metric, far=0.1)
    assert verification_scores(X * factor, labels, metric=metric, far=0.1) == expected
    scale = factor if metric == "euclidean" else 1
    threshold = verification_threshold(X, labels, metric=metric)
    found = verification_threshold(X * factor, labels, metric=metric)
    assert found == pytest.approx(threshold * scale)


def test_rows_of_any_length_have_a_direction():
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 3)), rng.integers(0, 6, size=60)
    lengths = 10.0 ** rng.integers(-200, 200, size=(60, 1))
    expected = verification_scores(X, labels, metric="cosine", far=0.1)
    assert (
        verification_scores(X * lengths, labels, metric="cosine", far=0.1) == expected
    )


def test_rows_of_zeros_are_far_from_all():
    X = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    scores = verification_scores(X, [0, 0, 1, 1], metric="cosine", far=0.3)
    assert scores["roc_auc"] == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize("metric", METRICS)
def test_order_blocks_and_kind_of_labels_do_not_matter(metric):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)).astype(np.float32)[rng.integers(0, 60, size=200)]
    labels = rng.integers(0, 9, size=200)
    expected = verification_scores(X, labels, metric=metric)
    order = rng.permutation(200)
    found = verification_scores(X[order], labels[order], metric=metric)
    assert found == pytest.approx(expected, abs=1e-12)
    with config_context(working_memory=0.01):
        assert verification_scores(X, labels, metric=metric) == expected
    for kind in (labels.astype(str), labels + 2**60, labels.astype(str).astype(object)):
        assert verification_scores(X, kind, metric=metric) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("far", [None, 0.01, 0.1, 0.5])
def test_threshold_keeps_what_it_promises(metric, far):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, size=120)
    X = rng.normal(size=(9, 4))[labels] + 0.7 * rng.normal(size=(120, 4))
    threshold = verification_threshold(X, labels, metric=metric, far=far)
    first, second = np.triu_indices(120, k=1)
    distances = paired_distances(X[first], X[second], metric=metric)
    same = labels[first] == labels[second]

    def rates(threshold):
        return [(distances[kind] <= threshold).mean() for kind in (same, ~same)]

    tar, found_far = rates(threshold)
    if far is None:
        others = [np.diff([1 - t, f]) for t, f in map(rates, np.unique(distances))]
        assert abs(found_far + tar - 1) <= np.abs(others).min() + 1e-12
        score = verification_scores(X, labels, metric=metric, far=())
        assert found_far == pytest.approx(score["equal_error_rate"], abs=2e-3)
    else:
        further = distances[~same & (distances > threshold)].min()
        assert found_far <= far < rates(further)[1]
        score = verification_scores(X, labels, metric=metric, far=far)
        assert score[f"tar_at_far_{far}"] == pytest.approx(tar, abs=1e-12)


@pytest.mark.parametrize("n_pairs", [1, 7, 10**6, None])
def test_pairs_are_pairs(n_pairs):
    labels = np.random.default_rng(0).integers(0, 5, size=40)
    first, second, is_same = sample_pairs(labels, n_pairs=n_pairs, random_state=0)
    assert (is_same == (labels[first] == labels[second])).all()
    drawn = {frozenset(pair) for pair in np.stack([first, second], 1).tolist()}
    assert len(drawn) == len(first)
    assert set(map(len, drawn)) == {2}
    if n_pairs in (1, 7):
        assert is_same.sum() == (~is_same).sum() == n_pairs
    else:
        assert drawn == set(map(frozenset, combinations(range(40), 2)))


def test_all_pairs_of_a_kind_are_equally_likely():
    labels = np.array(["b", "a", "b", "b", "c", "a", "d"])
    counts = {True: {}, False: {}}
    for seed in range(1500):
        for i, j, same in zip(
            *sample_pairs(labels, n_pairs=2, random_state=seed), strict=True
        ):
            pair = frozenset((int(i), int(j)))
            counts[bool(same)][pair] = counts[bool(same)].get(pair, 0) + 1
    for same, n_kind in ((True, 4), (False, 17)):
        assert len(counts[same]) == n_kind
        expected = 1500 * 2 / n_kind
        deviations = np.array(list(counts[same].values())) - expected
        assert np.abs(deviations).max() < 5 * np.sqrt(expected)


def test_random_state_decides():
    labels = np.arange(60) % 7
    before = global_state()
    first = sample_pairs(labels, n_pairs=20, random_state=3)
    assert np.array_equal(first, sample_pairs(labels, n_pairs=20, random_state=3))
    assert not np.array_equal(first, sample_pairs(labels, n_pairs=20, random_state=4))
    assert global_state() == before


def test_sampled_scores_are_near_those_of_all_pairs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, size=600)
    X = rng.normal(size=(10, 4))[labels] + rng.normal(size=(600, 4))
    every = verification_scores(X, labels, far=0.05, n_pairs=None)
    some = verification_scores(X, labels, far=0.05, n_pairs=4000, random_state=0)
    assert some == pytest.approx(every, abs=0.03)
    assert some != every


def test_sampling_takes_no_square_of_the_samples():
    labels = np.arange(50_000) % 11
    X = np.ones((50_000, 2)) * (1 + labels[:, None])
    tracemalloc.start()
    verification_scores(X, labels, n_pairs=1000, random_state=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_rates_below_one_pair_are_told():
    X, labels = np.arange(6.0)[:, None], [0, 0, 0, 1, 1, 1]
    with pytest.warns(UserWarning, match=r"far=0\.1, 0\.01 .*in 9, .*needs 100 or"):
        scores = verification_scores(X, labels, far=(0.1, 0.5, 0.01))
    # The nearest pair of different classes is at distance 1, as are four of one class.
    assert scores["tar_at_far_0.1"] == scores["tar_at_far_0.01"] == 0
    assert scores["tar_at_far_0.5"] > 0
    with pytest.raises(ValueError, match=r"far=0\.1 is below 1 in 9, .*needs 10 or"):
        verification_threshold(X, labels, far=0.1)


@pytest.mark.parametrize("outlier", [1e7, 1e299])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_outlier_costs_the_others_no_digits(outlier, sign):
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 5
    X = rng.normal(size=(5, 4))[labels] * 3 + rng.normal(size=(100, 4))
    options = {"far": 0.1, "n_pairs": None}
    expected = verification_scores(X, labels, **options)
    threshold = verification_threshold(X, labels)
    assert expected["roc_auc"] > 0.9
    # Of a class of its own: nothing but 100 pairs more, farther than all others.
    X, labels = np.vstack([X, np.full(4, sign * outlier)]), np.append(labels, 9)
    found = verification_scores(X, labels, **options)
    n = 100 * 99 // 2 - 5 * 20 * 19 // 2
    auc = (expected["roc_auc"] * n + 100) / (n + 100)
    assert found["roc_auc"] == pytest.approx(auc, abs=1e-12)
    assert verification_threshold(X, labels) == pytest.approx(threshold, rel=0.02)


def test_a_wide_column_that_does_not_vary_costs_no_digits():
    rng = np.random.default_rng(0)
    X, labels = rng.integers(0, 99, size=(60, 3)).astype(float), np.arange(60) % 6
    wide = np.hstack([X, np.full((60, 1), 2.0**60)])
    assert verification_scores(wide, labels, far=0.1) == verification_scores(
        X, labels, far=0.1
    )
    assert verification_threshold(wide, labels) == verification_threshold(X, labels)


def test_threshold_is_a_distance_of_the_index():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    X = 20 * np.eye(3)[labels] + rng.normal(size=(60, 3))
    threshold = verification_threshold(X, labels)
    distances, neighbors = RetrievalIndex(59).fit(X).kneighbors()
    same = labels[neighbors] == labels[:, None]
    assert ((distances <= threshold) == same).all()


def test_each_rate_once():
    for far in [(0.1, 0.5, 0.1), (0.1, 0.1 + 1e-12)]:
        with pytest.raises(ValueError, match=r"far must name each rate once, got 0\.1"):
            verification_scores(X, y, far=far)


@pytest.mark.filterwarnings("ignore:far=:UserWarning")
def test_names_are_plain_numbers():
    scores = verification_scores([[0.0], [0.1], [3.0]], [0, 0, 1], far=(1e-5, 0.25))
    assert list(scores)[2:] == ["tar_at_far_1e-05", "tar_at_far_0.25"]
    assert len(verification_scores([[0.0], [0.1], [3.0]], [0, 0, 1], far=())) == 2


X = np.arange(6.0)[:, None]
y = ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("function", [verification_scores, verification_threshold])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (X, ["a"] * 6),
            {},
            ValueError,
            "no pair of different classes.*6 samples in 1",
        ),
        ((X, list("abcdef")), {}, ValueError, "no pair of one class.*6 samples in 6"),
        ((X[:1], y[:1]), {}, ValueError, "no pair of"),
        ((X, y[:5]), {}, ValueError, "labels has 5 entries and X has 6 rows"),
        ((X * np.nan, y), {}, ValueError, "X contains NaN in 6 of 6 rows"),
        ((X, [{}] * 6), {}, TypeError, "labels holds labels that cannot be hashed"),
        ((X, None), {}, ValueError, r"labels must be of shape \(n_samples,\), .*None"),
        (([], []), {}, ValueError, "X is empty"),
        ((X + np.inf, y), {}, ValueError, "X contains infinity"),
        ((X[:, 0], y), {}, ValueError, "must be a 2D array"),
        (
            (X, ["a", None, "b", "b", "c", "c"]),
            {},
            ValueError,
            "labels holds 1 missing",
        ),
        ((X, np.array(["a", 1] * 3, object)), {}, TypeError, "labels mixes"),
        ((X, y), {"metric": "l1"}, ValueError, r"metric must be one of .*'l1'"),
        (
            (X, y),
            {"far": 0.0},
            ValueError,
            r"far must be a number in \(0, 1\), got 0\.0",
        ),
        ((X, y), {"far": 1}, ValueError, r"far must be a number in \(0, 1\), got 1"),
        (
            (X, y),
            {"far": np.nan},
            ValueError,
            r"far must be a number in \(0, 1\), got nan",
        ),
        (
            (X, y),
            {"far": "0.1"},
            TypeError,
            r"far must be a number in \(0, 1\), got '0\.1'",
        ),
        ((X, y), {"n_pairs": True}, TypeError, "n_pairs must be .*got True"),
        ((X, y), {"n_pairs": 0}, ValueError, "n_pairs must be an integer >= 1, got 0"),
        ((X, y), {"n_pairs": 1.5}, TypeError, r"n_pairs must be .*got 1\.5"),
    ],
)
def test_bad_input(function, arguments, options, error, message):
    with pytest.raises(error, match=message):
        function(*arguments, **{"far": 0.2, **options})


def test_threshold_wants_one_rate():
    with pytest.raises(
        TypeError, match=r"far must be a number in \(0, 1\), got \(0\.1, 0\.2"
    ):
        verification_threshold(X, y, far=(0.1, 0.2))
