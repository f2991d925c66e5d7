import json

import joblib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import TripletEmbedder
from sk_dml.reality_check import RealityCheck, _run, _tasks
from tests.random_state import global_state
from tests.reality_check.small import data, outcome, small

X, y = data()


@pytest.fixture(scope="module")
def result():
    return small().run(X, y)


def test_every_method_has_the_same_budget(result):
    assert len(result.trials) == 8
    for method in ("Triplet", "Softmax"):
        own = [trial for trial in result.trials if trial["method"] == method]
        assert [trial["trial"] for trial in own] == [0, 1, 2, 3]
        for trial in own:
            assert trial["state"] == "complete"
            assert trial["value"] == pytest.approx(np.mean(trial["fold_scores"]))
            assert len(trial["fold_scores"]) == 2
        best = max(own, key=lambda trial: trial["value"])
        entry = next(row for row in result.methods if row["method"] == method)
        assert entry["best_params"] == best["params"]
        assert entry["best_score"] == best["value"]
    assert len({trial["params"].get("margin") for trial in result.trials}) == 5


def test_table_has_every_row(result):
    rows = [(r["method"], r["kind"], r["scoring"], r["n"]) for r in result.rows()]
    assert rows == [
        (method, kind, scoring, 2)
        for method, kind in (
            ("Triplet", "method"),
            ("Softmax", "method"),
            ("raw features", "baseline"),
            ("LDA", "baseline"),
        )
        for scoring in ("separated", "concatenated")
    ]
    assert not any(row["reason"] for row in result.rows())


def test_scores_are_those_of_models_trained_alone(result):
    chosen = result.methods[0]["best_params"]
    parts = X[:24], y[:24]
    estimator = TripletEmbedder(4, max_epochs=2, early_stopping=True, **chosen)
    for repeat in range(2):
        rows = [r for r in result.repeats if r["repeat"] == repeat][:2]
        seed = rows[0]["seed"]
        model = _tasks.train_models(estimator, *parts, None, 2, seed)
        separated = [
            _tasks.rate(fold.transform(X[24:]), y[24:], ["map_at_r"], 0)["map_at_r"]
            for fold in model.estimators_
        ]
        assert rows[0]["scoring"] == "separated"
        assert rows[0]["map_at_r"] == np.mean(separated)
        together = _tasks.rate(
            model.transform(X[24:]), y[24:], ["map_at_r", "nmi"], seed
        )
        assert {name: rows[1][name] for name in together} == together


def test_same_again_and_global_generators_stay(result):
    before = global_state()
    assert outcome(small().run(X, y)) == outcome(result)
    assert global_state() == before
    other = small(random_state=1).run(X, y)
    assert other.trials[0]["params"] != result.trials[0]["params"]


def test_labels_of_test_classes_reach_no_choice_and_no_weight(monkeypatch):
    weights = []
    train = _tasks.train_models

    def recording(*args):
        model = train(*args)
        for fold in model.estimators_:
            if hasattr(fold, "net_"):
                state = fold.net_.module_.state_dict()
                weights[-1].append({k: v.numpy().tobytes() for k, v in state.items()})
            else:
                weights[-1].append(fold.transform(X).tobytes())
        return model

    monkeypatch.setattr(_tasks, "train_models", recording)
    noise = y.copy()
    noise[24:] = np.random.default_rng(0).permutation(y[24:])
    assert (noise != y).sum() > 10
    found = []
    for labels in (y, noise):
        weights.append([])
        found.append(small().run(X, labels))
    real, noisy = found
    assert len(weights[0]) == 4 * 2 * 2  # methods and baselines, repeats, folds
    assert weights[0] == weights[1]
    assert outcome(real)["trials"] == outcome(noisy)["trials"]
    assert real.methods == noisy.methods
    scores = [[row["map_at_r"] for row in r.repeats] for r in found]
    assert np.mean(scores[0]) > np.mean(scores[1]) + 0.1


def test_test_samples_do_not_reach_the_search(monkeypatch):
    seen = []
    search = _run.Search.__init__

    def recording(self, methods, development, folds, **settings):
        seen.append(development)
        search(self, methods, development, folds, **settings)

    monkeypatch.setattr(_run.Search, "__init__", recording)
    small(n_trials=1, n_repeats=1).run(X, y)
    (given,) = seen
    assert set(given[1]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(given[0], X[:24])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"test_classes": [0, 2, 5]}, {0, 2, 5}),
        ({"test_size": 0.25}, {6, 7}),
        ({"test_size": 3}, {5, 6, 7}),
        ({"test_classes": "random", "random_state": 4}, None),
    ],
)
def test_split(params, expected):
    development, test = RealityCheck(**params)._split(X, y, None)
    assert not set(development[1]) & set(test[1])
    assert len(development[1]) + len(test[1]) == len(y)
    if expected is None:
        assert set(test[1]) not in ({4, 5, 6, 7}, {0, 1, 2, 3})
    else:
        assert set(test[1]) == expected


def test_groups_stay_together():
    check = small(n_trials=1, n_repeats=1)
    families = np.array([0, 1, 0, 1, 2, 2, 3, 3])[y]
    development, _ = check._split(X, y, families)
    assert set(development[1]) == {0, 1, 2, 3}
    folds = check._folds(*development)
    assert [set(development[1][valid]) for _, valid in folds] == [{0, 2}, {1, 3}]
    assert check.run(X, y, groups=families).settings["groups"]


def test_pipelines_and_other_transformers_take_part():
    pipeline = make_pipeline(StandardScaler(), TripletEmbedder(4, max_epochs=1))
    check = small(
        estimators={"piped": pipeline, "pca": PCA(2), "wide": PCA()},
        search_spaces={"wide": {"n_components": [1, 2, 3]}},
        n_trials=2,
    )
    result = check.run(X, y)
    counts = [trial["method"] for trial in result.trials]
    assert [counts.count(name) for name in ("piped", "pca", "wide")] == [2, 1, 2]
    assert set(result.trials[0]["params"]) == {
        "tripletembedder__margin",
        "tripletembedder__mining",
    }
    assert result.settings["reference"] == "piped"
    assert "early_stopping=True" in result.settings["estimators"]["piped"]


def test_jobs_change_nothing():
    params = {
        "estimators": {"pca": PCA()},
        "search_spaces": {"pca": {"n_components": [1, 2, 3]}},
        "baselines": [],
    }
    one = small(**params).run(X, y)
    two = small(**params, n_jobs=2).run(X, y)
    assert outcome(one) == outcome(two)
    with joblib.parallel_config("threading", n_jobs=2):
        assert outcome(small(**params).run(X, y)) == outcome(one)


def test_cluster_changes_nothing():
    distributed = pytest.importorskip("distributed")
    params = {"estimators": {"pca": PCA(2)}, "baselines": []}
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        found = small(**params, n_jobs=2).run(X, y)
    assert outcome(found) == outcome(small(**params).run(X, y))


def test_failing_trials_are_recorded_and_the_rest_goes_on():
    result = small(
        estimators={"PCA": PCA(), "never": PCA(99), "Triplet": TripletEmbedder(4)},
        baselines=[],
        # More components than features fail.
        search_spaces={"PCA": {"n_components": [3, 9]}, "Triplet": {"max_epochs": [2]}},
        reference="Triplet",
        n_trials=6,
    ).run(X, y)
    own = [trial for trial in result.trials if trial["method"] == "PCA"]
    for trial in own:
        failed = trial["params"]["n_components"] == 9
        assert trial["state"] == ("failed" if failed else "complete")
        assert bool(trial["error"]) == failed
    assert {trial["state"] for trial in own} == {"failed", "complete"}
    assert "fold 0: ValueError: n_components=9" in next(
        trial["error"] for trial in own if trial["error"]
    )
    rows = {row["method"]: row for row in result.rows()}
    assert rows["PCA"]["n"] == rows["Triplet"]["n"] == 2
    assert "of 6 trials failed" in rows["PCA"]["reason"]
    assert rows["never"]["n"] == 0
    assert np.isnan(rows["never"]["map_at_r"])
    assert rows["never"]["reason"].startswith(
        "its only trial failed with fold 0: ValueError: n_components=99"
    )
    assert np.isnan(rows["never"]["p_value_holm"])
    assert not np.isnan(rows["PCA"]["p_value_holm"])


def test_failing_repeats_are_reported(monkeypatch):
    train = _tasks.train_models

    def sometimes(estimator, *args):
        if isinstance(estimator, TripletEmbedder) and args[-1] % 2 == parity:
            raise RuntimeError("out of luck")
        return train(estimator, *args)

    monkeypatch.setattr(_tasks, "train_models", sometimes)
    seeds = [_tasks.make_seed(0, 1, repeat) % 2 for repeat in range(4)]
    parity = seeds[0]
    result = small(n_trials=1, n_repeats=4).run(X, y)
    rows = {row["method"]: row for row in result.rows()}
    n_failed = seeds.count(parity)
    assert rows["Triplet"]["n"] == 4 - n_failed
    assert (
        f"{n_failed} of 4 repeats failed, the first with RuntimeError: out"
        in (rows["Triplet"]["reason"])
    )
    assert rows["Softmax"]["n"] == 4


@pytest.mark.parametrize("seconds", [0.4, 1e-9])
def test_time_limit_in_the_middle_of_a_trial(capsys, seconds):
    check = small(
        estimators={"Triplet": TripletEmbedder(4)},
        # The first trials are short; the others last until the limit.
        n_trials=40,
        time_limit=seconds,
        baselines=["raw features"],
        metrics=["map_at_r"],
        n_repeats=1,
        search_spaces={"Triplet": {"max_epochs": [1, 1, 1, 10**5]}},
        verbose=1,
    )
    result = check.run(X, y)
    (note,) = result.notes
    row = result.rows()[0]
    done = [trial for trial in result.trials if trial["state"] == "complete"]
    assert len(done) < 40
    assert f"ended the search after {len(done)} of 40 trials a method" in note
    assert note in result.describe()
    assert all(trial["params"]["max_epochs"] == 1 for trial in done)
    if done:
        assert row["n"] == 1
        assert row["validation"] == max(trial["value"] for trial in done)
    else:
        assert "time limit came before" in row["reason"]
        assert row["n"] == 0
    assert result.rows()[-1]["n"] == 1
    # The trials that were not begun take no time.
    assert "repeat 1 of 1; about 0 s left" in capsys.readouterr().err.splitlines()[-1]


def test_result_is_plain_and_written(result, tmp_path):
    json.dumps([result.methods, result.trials, result.repeats, result.settings])
    frame = result.to_frame()
    assert frame.shape[0] == 8
    result.to_csv(tmp_path / "results.csv")
    result.trials_to_csv(tmp_path / "trials.csv")
    result.settings_to_json(tmp_path / "settings.json")
    text = (tmp_path / "results.csv").read_text().splitlines()
    assert text[0].split(",") == list(frame.columns)
    assert len(text) == 9
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 9
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["settings"]["versions"]["torch"]
    assert settings["methods"] == result.methods
    for words in ("4 classes with 24 samples", "4 settings", "2-fold", "Triplet"):
        assert words in result.describe()


def test_methods_are_compared_with_the_reference(result):
    assert result.settings["reference"] == "Triplet"
    compared = result.comparisons(scoring="separated", metric="nmi")
    assert set(compared) == {"Softmax"}
    ours, theirs = (
        result.values(name, "separated", "nmi") for name in ("Softmax", "Triplet")
    )
    differences = [ours[i] - theirs[i] for i in range(2)]
    # Of two, the t-interval is the mean and 6.353 times their distance.
    mean, width = np.mean(differences), 6.3531 * abs(differences[0] - differences[1])
    found = compared["Softmax"]
    assert found["difference"] == pytest.approx(mean)
    assert found["difference_low"] == pytest.approx(mean - width, rel=1e-4)
    assert found["difference_high"] == pytest.approx(mean + width, rel=1e-4)


def test_reference():
    few = {"n_trials": 1, "n_repeats": 1, "metrics": ["map_at_r"]}
    for given, chosen in ((None, "Triplet"), ("soft-max", "Softmax"), ("lda", "LDA")):
        result = small(reference=given, **few).run(X, y)
        assert result.settings["reference"] == chosen
        assert set(result.comparisons()) == {"Triplet", "Softmax"} - {chosen}
    for name in ("Triplet", "Contrastive"):
        one = {"estimators": {name: TripletEmbedder(4, max_epochs=1)}}
        result = small(**one, **few).run(X, y)
        assert result.settings["reference"] == "raw features"
        assert set(result.comparisons()) == {name}
    result = small(**one, baselines=[], **few).run(X, y)
    assert result.settings["reference"] == "Contrastive"


def test_reference_among_names_that_are_alike():
    alike = {f"PCA {sign}": PCA(2) for sign in ("+", "-")}
    few = {"n_repeats": 1, "metrics": ["map_at_r"], "estimators": alike}
    for name in alike:
        assert small(reference=name, **few).run(X, y).settings["reference"] == name
    with pytest.raises(ValueError, match=r"'PCA -'\] or baselines .* got 'pca'"):
        small(reference="pca", **few).run(X, y)


def test_groups_stay_on_one_side_of_classes_that_are_listed():
    check = small(test_classes=[1, 3, 5, 7], n_trials=1, n_repeats=1)
    with pytest.raises(ValueError, match=r"but 4 groups are .* sides: 0, 1, 2, 3\."):
        check.run(X, y, groups=y // 2)
    assert check.run(X, y, groups=y % 2 * 2 + y // 4).settings["n_test_classes"] == 4


@pytest.mark.parametrize(
    ("params", "labels", "message"),
    [
        (
            {"search_spaces": {"Triplet": {"margn": [1]}}},
            y,
            r"search_spaces\['Triplet'\] names 'margn', which is no parameter",
        ),
        ({"search_spaces": {"Circle": {}}}, y, r"\['Circle'\], which take no part"),
        ({"n_folds": 3}, y, "n_folds=3 takes two classes .* there are 4 classes"),
        ({"n_folds": 9}, y, "n_folds=9 takes two classes .* there are 4 classes"),
        ({}, y % 3, "y has 3 classes"),
        ({"test_classes": [7]}, y, "leave 1 classes for test"),
        ({"test_classes": [7, 8]}, y, "test_classes are not in y: 8"),
        ({"reference": "Circle"}, y, "reference must be one of .*'Triplet'"),
        ({"baselines": ["raw"]}, y, "baselines must be of .*got"),
        ({"metrics": ["recall"]}, y, "metrics must name one or more of"),
        ({"storage": "nonsense"}, y, "storage='nonsense' cannot be opened"),
        ({"n_trials": 0}, y, "'n_trials' parameter of RealityCheck"),
        ({"time_limit": 0}, y, "'time_limit' parameter of RealityCheck"),
        ({"estimators": {"LDA": PCA(2)}}, y, "must not be named as baselines"),
    ],
)
def test_bad_input(params, labels, message):
    with pytest.raises(ValueError, match=message):
        small(**params).run(X, labels)
