import numpy as np
import pytest
from scipy.stats import binomtest

from sk_dml.metrics import _intervals, class_bootstrap
from tests.random_state import global_state


def queries(seed, n_classes=20, mean=0.7):
    """Values that vary between classes of unequal size."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), 2 + rng.poisson(6, size=n_classes))
    means = rng.beta(5 * mean, 5 * (1 - mean), size=n_classes)
    return rng.binomial(1, means[labels]).astype(float), labels


def score_of(classes, average):
    """Score some classes, each an array of values, from its definition."""
    if average == "micro":
        return np.concatenate(classes).mean()
    return np.mean([values.mean() for values in classes])


def error_of(classes, average):
    """Linearised standard error: the influence of every class, one by one."""
    score = score_of(classes, average)
    sizes = np.array([len(values) if average == "micro" else 1 for values in classes])
    means = np.array([values.mean() for values in classes])
    influences = sizes * (means - score) / sizes.sum()
    return np.sqrt(len(sizes) / (len(sizes) - 1) * np.sum(influences**2))


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("mean", [0.7, 0.97])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed, mean, average):
    values, labels = queries(seed, n_classes=11, mean=mean)
    values[labels == 0] = np.arange((labels == 0).sum()) % 2
    order = np.random.default_rng(seed).permutation(len(values))
    found = class_bootstrap(
        values[order],
        np.array(list("abcdefghijk"))[labels][order],
        average=average,
        confidence_level=0.8,
        n_resamples=60,
        random_state=seed,
    )
    classes = [values[labels == c] for c in range(11)]
    score, error = score_of(classes, average), error_of(classes, average)
    without = [score_of(classes[:c] + classes[c + 1 :], average) for c in range(11)]
    jackknife = np.sqrt(10 * np.var(without))
    t = []
    for drawn in np.random.RandomState(seed).randint(11, size=(60, 11)):
        resample = [classes[c] for c in drawn]
        least = max(error_of(resample, average), 0.2 * error)
        t.append((score_of(resample, average) - score) / least)
    bounds = score - np.quantile(t, [0.9, 0.1]) * jackknife
    assert found == pytest.approx(np.clip(bounds, 0, 1).tolist(), abs=1e-12)


def test_holds_the_expected_score_as_often_as_it_says():
    held, alone = [], []
    for seed in range(360):
        mean, average = (0.1, 0.5, 0.9)[seed % 3], ("micro", "macro")[seed % 2]
        values, labels = queries(seed, n_classes=25, mean=mean)
        options = {"average": average, "n_resamples": 400, "random_state": seed}
        low, high = class_bootstrap(values, labels, **options)
        assert 0 <= low <= values.mean() <= high <= 1
        held.append(low <= mean <= high)
        # As if every query were independent of the others.
        low, high = class_bootstrap(values, np.arange(len(values)), **options)
        alone.append(low <= mean <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(alone) < 0.87


def test_failures_mirror_successes():
    values, labels = queries(0)
    low, high = class_bootstrap(values, labels, random_state=0)
    mirrored = class_bootstrap(1 - values, labels, random_state=0)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_higher_level_is_wider():
    values, labels = queries(0)
    bounds = [
        class_bootstrap(values, labels, confidence_level=level, random_state=0)
        for level in (0.5, 0.8, 0.95, 0.99)
    ]
    lows, highs = np.transpose(bounds)
    assert (np.diff(lows) < 0).all()
    assert (np.diff(highs) > 0).all()


def test_averages_agree_where_classes_are_of_one_size_only():
    values, labels = queries(0)
    kept = np.concatenate([np.flatnonzero(labels == c)[:2] for c in range(20)])
    micro, macro = (
        class_bootstrap(values[kept], labels[kept], average=average, random_state=0)
        for average in ("micro", "macro")
    )
    assert micro == pytest.approx(macro, abs=1e-12)
    assert class_bootstrap(values, labels, random_state=0) != pytest.approx(
        class_bootstrap(values, labels, average="macro", random_state=0), abs=1e-3
    )


def test_duplicated_queries_bring_no_certainty():
    values, labels = queries(0)
    once = class_bootstrap(values, labels, random_state=0)
    copies = class_bootstrap(np.tile(values, 9), np.tile(labels, 9), random_state=0)
    assert copies == pytest.approx(once, abs=1e-12)


@pytest.mark.filterwarnings("ignore:An interval from:UserWarning")
@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("n_classes", [2, 7, 120])
def test_perfect_and_failed_scores_have_exact_bounds(n_classes, average):
    labels = np.arange(3 * n_classes) % n_classes
    options = {"average": average, "confidence_level": 0.9}
    exact = binomtest(n_classes, n_classes).proportion_ci(0.9, method="exact")
    ones, zeros = np.ones(len(labels)), np.zeros(len(labels))
    low, high = class_bootstrap(ones, labels, **options)
    assert (low, high) == (pytest.approx(exact.low), 1.0)
    low, high = class_bootstrap(zeros, labels, **options)
    assert (low, high) == (0.0, pytest.approx(1 - exact.low))


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("values", [[0.5] * 30, [0, 0, 1] * 10, [0.3] * 30, [0.9] * 30])
def test_equal_classes_leave_room_for_others(values, average):
    labels = np.repeat(np.arange(10), 3)
    low, high = class_bootstrap(values, labels, average=average, confidence_level=0.9)
    # Unseen classes are at most so frequent, and may all score 0, or all 1.
    share = binomtest(0, 10).proportion_ci(0.9, method="exact").high
    mean = np.mean(values)
    assert low == pytest.approx((1 - share) * mean)
    assert high == pytest.approx((1 - share) * mean + share)


def test_bounds_of_equal_classes_hold_the_expected_score():
    # One class in twelve fails: 10 classes show none of those in two of five samples.
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        values = np.where(rng.random(10) < 1 / 12, 0.0, 0.6)
        low, high = class_bootstrap(values, np.arange(10), random_state=0)
        if np.ptp(values) == 0:
            held.append(low <= 0.6 * 11 / 12 <= high)
    assert len(held) > 90
    assert all(held)


@pytest.mark.parametrize("n_classes", [2, 9])
def test_few_classes_are_told(n_classes):
    values, labels = queries(0, n_classes=n_classes)
    with pytest.warns(UserWarning, match=f"interval from {n_classes} classes is a rou"):
        class_bootstrap(values, labels)


def test_left_out_queries_stay_out():
    values, labels = queries(0)
    expected = class_bootstrap(values, labels, random_state=0)
    more = np.insert(values, [0, 5, 9], np.nan)
    named = np.insert(labels, [0, 5, 9], [99, 3, -1])
    assert class_bootstrap(more, named, random_state=0) == expected
    with pytest.raises(ValueError, match="scores are of 0 class"):
        class_bootstrap([np.nan] * 3, [0, 1, 2])


def test_one_class_that_differs_leaves_finite_bounds():
    values = np.ones(40)
    values[:2] = 0
    low, high = class_bootstrap(values, np.arange(40) // 2, random_state=0)
    assert 0.6 < low < 0.9
    assert 0.95 < high <= 1


def test_number_of_draws_at_a_time_does_not_matter(monkeypatch):
    values, labels = queries(0)
    whole = class_bootstrap(values, labels, random_state=0)
    monkeypatch.setattr(_intervals, "DRAWS", 70)
    assert class_bootstrap(values, labels, random_state=0) == pytest.approx(whole)


def test_random_state_decides():
    values, labels = queries(0)
    before = global_state()
    first = class_bootstrap(values, labels, random_state=3)
    assert class_bootstrap(values, labels, random_state=3) == first
    assert class_bootstrap(values, labels, random_state=4) != first
    assert global_state() == before


@pytest.mark.parametrize("name", [str, lambda c: 2**60 + c, lambda c: 2**24 + c])
def test_labels_of_any_kind(name):
    values, labels = queries(0, n_classes=10)
    named = class_bootstrap(values, [name(int(c)) for c in labels], random_state=0)
    assert named == class_bootstrap(values, labels, random_state=0)


y = [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("values", "labels", "options", "message"),
    [
        ([0, 1, 0, 1], ["a"] * 4, {}, "are of 1 class: .* needs 2 or"),
        ([0, 1, 0, 1.5], y, {}, r"in \[0, 1\], but 1 of 4 are not, for example 1\.5"),
        ([0, 1, 0, -np.inf], y, {}, "values contains infinity"),
        ([0, 1, 0], y, {}, "labels has 4 entries and values has 3 rows"),
        ([[0], [1], [0], [1]], y, {}, r"one score a query, got shape \(4, 1\)"),
        ([], [], {}, "0 sample"),
        ([0, 1, 0, 1], [0, 0, 1, None], {}, "1 missing labels"),
        ([0, 1, 0, 1], y, {"average": "weighted"}, "average must be.*'weighted'"),
        ([0, 1, 0, 1], y, {"confidence_level": 95}, r"in \(0, 1\), got 95"),
        ([0, 1, 0, 1], y, {"confidence_level": 1.0}, r"in \(0, 1\), got 1\.0"),
        ([0, 1, 0, 1], y, {"n_resamples": 0}, "n_resamples must be.*got 0"),
    ],
)
def test_bad_input(values, labels, options, message):
    with pytest.raises(ValueError, match=message):
        class_bootstrap(values, labels, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_resamples": 2.5}, r"n_resamples must be.*got 2\.5"),
        ({"n_resamples": True}, "n_resamples must be.*got True"),
        ({"confidence_level": "95"}, "confidence_level must be.*got '95'"),
        ({"confidence_level": None}, "confidence_level must be.*got None"),
    ],
)
def test_bad_types(options, message):
    with pytest.raises(TypeError, match=message):
        class_bootstrap([0, 1, 0, 1], y, **options)
