import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array

from sk_dml.metrics import (
    _evaluate,
    class_bootstrap,
    map_at_r_score,
    precision_at_1_score,
    retrieval_scores,
    retrieval_values,
)
from tests.metrics.reference import NAMES, points, random_data
from tests.neighbors.descent import install

X = np.arange(6.0)[:, None]
y = ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        (
            (X, [1, 2, 3, 4, 5, 6]),
            {},
            ValueError,
            "None of the 6 queries .* among the other .*classes with 2 or more samples",
        ),
        (
            (X, y),
            {"gallery": X, "gallery_labels": list("pqrpqr")},
            ValueError,
            "None of the 6 queries .* in the gallery.*have no class in common",
        ),
        ((X, y[:5]), {}, ValueError, "labels has 5 entries and X has 6 rows"),
        (
            (X, y),
            {"gallery": X, "gallery_labels": y[:5]},
            ValueError,
            "gallery_labels has 5 entries and gallery has 6 rows",
        ),
        ((X * np.nan, y), {}, ValueError, "X contains NaN in 6 of 6 rows"),
        (
            (X, y),
            {"gallery": np.where(X > 3, np.inf, X), "gallery_labels": y},
            ValueError,
            "gallery contains infinity in 2 of 6 rows, the first of them row 4",
        ),
        ((X * 1e301, y), {}, ValueError, "X contains values beyond 1e.300"),
        (([], []), {}, ValueError, "X is empty"),
        ((X, y), {"gallery": [], "gallery_labels": []}, ValueError, "gallery is empty"),
        (
            (X, y),
            {"gallery": np.ones((0, 1)), "gallery_labels": []},
            ValueError,
            "gallery is empty",
        ),
        (([[1], [1, 2]] * 3, y), {}, ValueError, "X must be .*6 rows differ in shape"),
        ((csr_array(X), y), {}, TypeError, "X must be a dense array, got a sparse one"),
        ((X, [{"a": 1}] * 6), {}, TypeError, r"cannot be hashed \(found \['dict'\]"),
        ((X, [("a", 1)] * 6), {}, ValueError, r"labels must be .*got shape \(6, 2\)"),
        ((X, None), {}, ValueError, "labels must be .*got None"),
        (
            (X, np.array(["2000-01-01", "NaT"] * 3, "M8[D]")),
            {},
            ValueError,
            "labels holds 3 missing labels .*NaT",
        ),
        ((X, ["a", None, "b", "b", "c", "c"]), {}, ValueError, "1 missing labels"),
        (
            (X, ["a", 1, "b", "b", "c", "c"][:6]),
            {"as_objects": True},
            TypeError,
            "mixes",
        ),
        ((X, y), {"metric": "l1"}, ValueError, r"metric must be one of .*'l1'"),
        ((X, y), {"gallery": X}, ValueError, "go together, got only gallery"),
        (
            (X, y),
            {"gallery": np.ones((2, 3)), "gallery_labels": y[:2]},
            ValueError,
            r"X has 1 features \(6 rows\) and gallery has 3",
        ),
        (
            (X, y),
            {"gallery": X, "gallery_labels": list(range(6))},
            TypeError,
            "labels and gallery_labels mix labels",
        ),
        ((X, y), {"metrics": ("map",)}, ValueError, r"recall_at_<k>.*\['map'\]"),
        ((X, y), {"metrics": ()}, ValueError, "one or more"),
        ((X, y), {"metrics": None}, ValueError, r"one or more.*\[None\]"),
        (
            (X, y),
            {"metrics": ("map_at_r", "recall_at_2", "map_at_r")},
            ValueError,
            r"each metric once, got \['map_at_r'\] twice",
        ),
        ((X, y), {"search": "fast"}, ValueError, "search must be one of .*'fast'"),
        ((X, y), {"metrics": ("recall_at_6",)}, ValueError, "k=6 items.*got 5"),
    ],
)
def test_bad_input(arguments, keywords, error, message):
    if keywords.pop("as_objects", False):
        arguments = (arguments[0], np.array(arguments[1], dtype=object))
    with pytest.raises(error, match=message):
        retrieval_scores(*arguments, **keywords)


@pytest.fixture
def no_search(monkeypatch):
    def fail(*args):
        raise AssertionError("a search began before all was checked")

    monkeypatch.setattr(_evaluate, "_search", fail)


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"average": "mean"}, ValueError, "average must be one of .*got 'mean'"),
        ({"n_classes": 1}, ValueError, "n_classes must be at least 2, got 1"),
        ({"n_classes": 0}, ValueError, "n_classes must be an integer >= 1, got 0"),
        ({"n_classes": 2.0}, TypeError, "n_classes must be an integer .*got 2.0"),
        ({"n_classes": True}, TypeError, "n_classes must be an integer .*got True"),
        ({"n_classes": 4}, ValueError, "n_classes must be at most 3, .*got 4"),
        ({"n_repeats": -3}, ValueError, "n_repeats must be an integer >= 1, got -3"),
        ({"n_repeats": True}, TypeError, "n_repeats must be an integer .*got True"),
        ({"n_resamples": -3}, ValueError, "n_resamples must be .*>= 1, got -3"),
        ({"n_resamples": 2.5}, TypeError, "n_resamples must be an integer .*got 2.5"),
        ({"confidence_level": 95}, ValueError, "confidence_level must .*got 95"),
        ({"confidence_level": "0.9"}, TypeError, "confidence_level must .*got '0.9'"),
        ({"random_state": "a"}, ValueError, "'a' cannot be used to seed"),
    ],
)
def test_options_are_checked_before_any_search(options, error, message):
    with pytest.raises(error, match=message):
        retrieval_scores(X, y, **options)


@pytest.mark.usefixtures("no_search")
def test_k_fits_the_smallest_gallery_that_may_be_dealt():
    labels = np.repeat([0, 1, 2, 3], [2, 3, 9, 9])
    rows = np.arange(23.0)[:, None]
    options = {"metrics": ["map_at_r", "recall_at_5"], "n_classes": 2}
    message = "recall_at_5 needs at least k=5 .* n_classes=2 there may be as few as 4"
    with pytest.raises(ValueError, match=message):
        retrieval_scores(rows, labels, **options)
    # A separate gallery is not without the query.
    where = {"gallery": rows[1:], "gallery_labels": labels[1:]}
    with pytest.raises(ValueError, match=message):
        retrieval_scores(rows, labels, **where, **options)
    options["metrics"] = ["recall_at_4"]
    with pytest.raises(AssertionError, match="a search began"):
        retrieval_scores(rows, labels, **options)


def test_left_out_queries_are_counted_once():
    X = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [20.0]])
    with pytest.warns(UserWarning, match="2 of 6 queries are left out") as record:
        score = precision_at_1_score(X, ["a", "a", "b", "b", "c", "d"])
    assert len(record) == 1
    assert score == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision_at_1_score(X, ["a", "a", "b", "b", "c", "c"])


def test_one_class_says_nothing():
    with pytest.warns(UserWarning, match="of one class: nothing can be missed"):
        assert map_at_r_score(X, ["a"] * 6) == 1


def test_galleries_of_equal_numbers_of_classes():
    rows, labels = random_data()
    pairs = [(a, b) for a in range(7) for b in range(a)]
    expected = {}
    for a, b in pairs:
        some = np.isin(labels, [a, b])
        expected[a, b] = retrieval_values(rows[some], labels[some])["map_at_r"]
    found = retrieval_values(rows, labels, n_classes=2, n_repeats=300, random_state=0)
    for a in range(7):
        mine = [
            values[labels[np.isin(labels, pair)] == a]
            for pair, values in expected.items()
            if a in pair
        ]
        mean = np.mean(mine, axis=0)
        assert found["map_at_r"][labels == a] == pytest.approx(mean, abs=0.05)
    fewer = [
        retrieval_scores(rows, labels, n_classes=n, random_state=0)["map_at_r"]
        for n in (2, 4, 7)
    ]
    assert fewer[0] > fewer[1] > fewer[2]
    assert fewer[2] == pytest.approx(map_at_r_score(rows, labels))


def test_galleries_of_equal_numbers_of_classes_are_seeded():
    rows, labels = random_data()
    scores = [
        retrieval_scores(rows, labels, n_classes=3, random_state=seed)
        for seed in (0, 0, 1)
    ]
    assert scores[0] == scores[1] != scores[2]


def test_separate_galleries_of_equal_numbers_of_classes():
    rows, labels = random_data()
    names = {"gallery": rows[40:], "gallery_labels": labels[40:]}
    whole = retrieval_scores(rows[:40], labels[:40], n_classes=7, **names)
    assert whole == pytest.approx(retrieval_scores(rows[:40], labels[:40], **names))
    fewer = retrieval_scores(rows[:40], labels[:40], n_classes=2, **names)
    assert fewer["map_at_r"] > whole["map_at_r"]


def test_every_class_of_the_gallery_is_dealt():
    # Two classes of queries, twelve of the gallery: all but two are distractors.
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(120, 3)), np.arange(120) % 12
    queries = labels < 2
    where = {"gallery": rows, "gallery_labels": labels}
    arguments = rows[queries] + 0.1, labels[queries]
    whole = retrieval_values(*arguments, **where)["map_at_r"]
    all_of_them = retrieval_values(*arguments, **where, n_classes=12)["map_at_r"]
    assert all_of_them == pytest.approx(whole)
    fewer = retrieval_values(*arguments, **where, n_classes=6, random_state=0)
    assert not np.isnan(fewer["map_at_r"]).any()
    assert whole.mean() < fewer["map_at_r"].mean()
    with pytest.raises(ValueError, match=r"at most 12, .*got 13"):
        retrieval_scores(*arguments, **where, n_classes=13)


def test_single_samples_are_dealt_as_distractors():
    # 20 pairs on a line, and 60 single samples between the two of every pair.
    pairs, singles = np.arange(20) * 10.0, np.arange(60) * 3.3 + 0.4
    rows = np.concatenate([pairs, pairs + 1, singles])[:, None]
    labels = np.concatenate([np.arange(20), np.arange(20), 100 + np.arange(60)])
    with pytest.warns(UserWarning, match="60 of 100 queries are left out"):
        scores = retrieval_scores(rows, labels)
    with pytest.warns(UserWarning, match="60 of 100"):
        values = retrieval_values(rows, labels, n_classes=80)
    assert scores["map_at_r"] == pytest.approx(np.nanmean(values["map_at_r"]))
    assert np.flatnonzero(np.isnan(values["map_at_r"])).tolist() == [*range(40, 100)]
    with pytest.warns(UserWarning, match="60 of 100"):
        fewer = retrieval_scores(rows, labels, n_classes=20, random_state=0)
    assert scores["map_at_r"] < fewer["map_at_r"] < 1


@pytest.mark.parametrize("n_classes", [2, 5, 7, 11, 12])
def test_no_query_sits_a_deal_out(n_classes):
    rows, labels = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 12
    values = retrieval_values(
        rows, labels, n_classes=n_classes, n_repeats=1, random_state=0
    )
    assert not np.isnan(values["map_at_r"]).any()


def test_deals_are_even():
    rng = np.random.RandomState(0)
    drawn = list(_evaluate._deal(np.repeat(np.arange(7), 3), 3, 500, rng))
    assert len(drawn) == 1500
    assert all(len(set(gallery.tolist())) == 3 for gallery in drawn)
    times = np.bincount(np.concatenate(drawn))
    assert times.min() > 500
    # Any two classes meet equally often.
    together = np.zeros((7, 7))
    for gallery in drawn:
        together[np.ix_(gallery, gallery)] += 1
    meetings = together[np.triu_indices(7, k=1)]
    assert np.abs(meetings - 1500 * 3 / 21).max() < 5 * np.sqrt(1500 * 3 / 21)


def test_approximate_search_finds_nearly_the_same(monkeypatch):
    install(monkeypatch)
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 60
    rows = rng.normal(size=(60, 8))[labels] + 0.5 * rng.normal(size=(900, 8))
    names = ("precision_at_1", "map_at_r", "recall_at_5", "neighbor_recall")
    exact = retrieval_scores(rows, labels, metrics=names)
    found = retrieval_scores(
        rows, labels, metrics=names, search="approximate", random_state=0
    )
    assert exact["neighbor_recall"] == 1
    assert 0.9 < found["neighbor_recall"] <= 1
    for name in names[:3]:
        assert found[name] == pytest.approx(exact[name], abs=0.03)


@pytest.mark.parametrize("separate", [False, True])
def test_lists_are_ranked_as_the_whole(separate):
    # So few different rows are searched exactly.
    rng = np.random.default_rng(0)
    rows, labels = points(rng, 60, spread=1), rng.integers(0, 6, size=60)
    where = {}
    if separate:
        where = {"gallery": rows[20:], "gallery_labels": labels[20:]}
        rows, labels = rows[:20], labels[:20]
    # Lists of the whole gallery cut no group of ties.
    names = [*NAMES[:6], "precision_at_40" if separate else "precision_at_59"]
    exact = retrieval_scores(rows, labels, metrics=names, **where)
    found = retrieval_scores(rows, labels, metrics=names, search="approximate", **where)
    assert found == pytest.approx(exact)


@pytest.mark.usefixtures("no_search")
def test_approximate_search_knows_no_whole_ranking():
    for name in ("mean_average_precision", "mean_reciprocal_rank"):
        with pytest.raises(ValueError, match=rf"metrics \['{name}'\] need the whole"):
            retrieval_scores(X, y, metrics=["map_at_r", name], search="approximate")


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_intervals_are_those_of_the_classes(average):
    rows, labels = random_data(n_classes=12)
    labels[4] = 99
    options = {"average": average, "confidence_level": 0.9, "n_resamples": 300}
    with pytest.warns(UserWarning, match="1 of 90"):
        found = retrieval_scores(rows, labels, random_state=3, **options)
    with pytest.warns(UserWarning, match="1 of 90"):
        values = retrieval_values(rows, labels)
    seed = np.random.RandomState(3).randint(2**31 - 1)
    for name in ("precision_at_1", "map_at_r"):
        expected = class_bootstrap(values[name], labels, random_state=seed, **options)
        low, high = found[f"{name}_interval"]
        assert (low, high) == expected
        assert low < found[name] < high


def test_intervals_do_not_depend_on_other_metrics():
    rows, labels = random_data(n_classes=12)
    options = {"confidence_level": 0.9, "n_resamples": 100, "random_state": 0}
    alone = retrieval_scores(rows, labels, metrics="map_at_r", **options)
    joint = retrieval_scores(rows, labels, metrics=NAMES, **options)
    assert alone == {name: joint[name] for name in alone}
    assert list(joint) == [n for name in NAMES for n in (name, f"{name}_interval")]


def test_intervals_of_few_classes_warn_once():
    rows, labels = random_data(n_classes=7)
    with pytest.warns(
        UserWarning, match="interval from 7 classes is a rough"
    ) as record:
        retrieval_scores(rows, labels, confidence_level=0.9)
    assert len(record) == 1
