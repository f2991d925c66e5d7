import csv
import json

import joblib
import numpy as np
import optuna
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.datasets import ImageSequence
from sk_dml.reality_check import RealityCheck, _check, _workers
from sk_dml.reality_check._search import count_random, make_seed
from tests.random_state import global_state
from tests.reality_check.small import QUICK, data, outcome, small

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
    estimator = TripletEmbedder(4, max_epochs=1, early_stopping=True, **chosen)
    for repeat in range(2):
        rows = [r for r in result.repeats if r["repeat"] == repeat][:2]
        seed = rows[0]["seed"]
        model = _workers.train_models(estimator, *parts, None, 2, seed)
        separated = [
            _workers.score_embedding(fold.transform(X[24:]), y[24:], ["nmi"], seed)
            for fold in model.estimators_
        ]
        assert rows[0]["scoring"] == "separated"
        assert rows[0]["nmi"] == np.mean([scores["nmi"] for scores in separated])
        together = _workers.score_embedding(
            model.transform(X[24:]), y[24:], ["map_at_r", "nmi"], seed
        )
        assert {name: rows[1][name] for name in together} == together


def test_same_again_and_global_generators_stay(result):
    before = global_state()
    assert outcome(small().run(X, y)) == outcome(result)
    assert global_state() == before
    other = small(random_state=1, n_trials=1, n_repeats=1).run(X, y)
    assert other.trials[0]["params"] != result.trials[0]["params"]


def test_labels_of_test_classes_reach_no_choice_and_no_weight(monkeypatch):
    weights = []
    train = _workers.train_models

    def recording(*args):
        model = train(*args)
        for fold in model.estimators_:
            if hasattr(fold, "net_"):
                state = fold.net_.module_.state_dict()
                weights[-1].append({k: v.numpy().tobytes() for k, v in state.items()})
            else:
                weights[-1].append(fold.transform(X).tobytes())
        return model

    monkeypatch.setattr(_workers, "train_models", recording)
    noise = y.copy()
    noise[24:] = np.random.default_rng(0).permutation(y[24:])
    assert (noise != y).sum() > 10
    means = np.array([X[y == k].mean(axis=0) for k in range(8)])
    rows = (X + means[y]) / 2
    results = []
    for labels in (y, noise):
        weights.append([])
        results.append(small(n_trials=2).run(rows, labels))
    real, noisy = results
    assert len(weights[0]) == 4 * 2 * 2  # methods and baselines, repeats, folds
    assert weights[0] == weights[1]
    assert outcome(real)["trials"] == outcome(noisy)["trials"]
    assert real.methods == noisy.methods
    scores = [[row["map_at_r"] for row in r.repeats] for r in results]
    assert np.mean(scores[0]) > np.mean(scores[1]) + 0.1


def test_test_samples_do_not_reach_the_search(monkeypatch):
    seen = []

    def recording(**settings):
        seen.append(settings)
        return search(**settings)

    search = _check.Search
    monkeypatch.setattr(_check, "Search", recording)
    small(**QUICK, n_trials=1, n_repeats=1).run(X, y)
    (given,) = seen
    assert set(given["y"]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(given["X"], X[:24])


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
    check = small(**QUICK, n_trials=1, n_repeats=1)
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


def test_jobs_share_the_trials():
    params = {**QUICK, "n_trials": 12}
    one = small(**params).run(X, y)
    with joblib.parallel_config("threading", n_jobs=2):
        two, again = (small(**params).run(X, y) for _ in range(2))
    assert outcome(two) == outcome(again)
    assert [trial["trial"] for trial in two.trials] == list(range(12))
    # Those that are drawn at random do not depend on what else runs.
    random = slice(count_random(12))
    assert outcome(two)["trials"][random] == outcome(one)["trials"][random]


@pytest.mark.slow
def test_jobs_in_processes():
    check = small(**QUICK, n_jobs=2)
    with joblib.parallel_config("threading"):
        expected = outcome(check.run(X, y))
    assert outcome(check.run(X, y)) == expected
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        assert outcome(check.run(X, y)) == expected


def test_failing_trials_are_recorded_and_the_rest_goes_on():
    result = small(
        estimators={"PCA": PCA(), "never": PCA(99), "Triplet": TripletEmbedder(4)},
        baselines=[],
        # More components than features fail.
        search_spaces={"PCA": {"n_components": [3, 9]}, "Triplet": {"max_epochs": [1]}},
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
    train = _workers.train_models

    def sometimes(estimator, *args):
        if isinstance(estimator, TripletEmbedder) and args[-1] % 2 == parity:
            raise RuntimeError("out of luck")
        return train(estimator, *args)

    monkeypatch.setattr(_workers, "train_models", sometimes)
    seeds = [make_seed(0, 1, repeat) % 2 for repeat in range(4)]
    parity = seeds[0]
    result = small(n_trials=1, n_repeats=4, baselines=[]).run(X, y)
    rows = {row["method"]: row for row in result.rows()}
    n_failed = seeds.count(parity)
    assert rows["Triplet"]["n"] == 4 - n_failed
    assert (
        f"{n_failed} of 4 repeats failed, the first with RuntimeError: out"
        in (rows["Triplet"]["reason"])
    )
    assert rows["Softmax"]["n"] == 4


@pytest.mark.parametrize("seconds", [0.4, 1e-9])
def test_time_limit_in_the_middle_of_a_trial(seconds):
    check = small(
        estimators={"Triplet": TripletEmbedder(4)},
        # The first trials are short; the others last until the limit.
        n_trials=40,
        time_limit=seconds,
        baselines=["raw features"],
        metrics=["map_at_r"],
        n_repeats=1,
        search_spaces={"Triplet": {"max_epochs": [1, 1, 1, 10**5]}},
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
    row = compared["Softmax"]
    assert row["difference"] == pytest.approx(mean)
    assert row["difference_low"] == pytest.approx(mean - width, rel=1e-4)
    assert row["difference_high"] == pytest.approx(mean + width, rel=1e-4)


def test_reference(result):
    baselines = ["raw features", "LDA"]
    for reference, methods, chosen in (
        (None, ["Triplet", "Softmax"], "Triplet"),
        (None, ["Triplet", "Contrastive"], "Contrastive"),
        ("soft-max", ["Triplet", "Softmax"], "Softmax"),
        ("lda", ["Triplet", "Softmax"], "LDA"),
        (None, ["Contrastive"], "raw features"),
        ("PCA +", ["PCA -", "PCA +"], "PCA +"),
        ("PCA -", ["PCA -", "PCA +"], "PCA -"),
    ):
        check = small(reference=reference)
        assert check._reference(methods, baselines) == chosen
    assert small()._reference(["Contrastive"], []) == "Contrastive"
    assert set(result.comparisons()) == {"Softmax"}
    result = small(**QUICK | {"baselines": baselines}, n_trials=1).run(X, y)
    assert result.settings["reference"] == "raw features"
    assert set(result.comparisons()) == {"PCA"}
    alike = {f"PCA {sign}": PCA(2) for sign in ("+", "-")}
    with pytest.raises(ValueError, match=r"'PCA -'\] or baselines .* got 'pca'"):
        small(reference="pca", estimators=alike).run(X, y)


def test_groups_stay_on_one_side_of_classes_that_are_listed():
    check = small(test_classes=[1, 3, 5, 7])
    with pytest.raises(ValueError, match=r"; 4 groups are .* sides: 0, 1, 2, 3\."):
        check.run(X, y, groups=y // 2)
    _, test = check._split(X, y, y % 2 * 2 + y // 4)
    assert set(test[1]) == {1, 3, 5, 7}


@pytest.mark.parametrize(
    ("params", "labels", "message"),
    [
        (
            {"search_spaces": {"Triplet": {"margn": [1]}}},
            y,
            r"search_spaces\['Triplet'\] has the unknown parameter 'margn'",
        ),
        (
            {"embedder_params": {"max_epoch": 2}},
            y,
            "embedder_params do not fit Triplet: Invalid parameter 'max_epoch'",
        ),
        ({"search_spaces": {"Circle": {}}}, y, r"unknown methods \['Circle'\]"),
        ({"n_folds": 3}, y, "n_folds=3 takes two classes .* there are 4 classes"),
        ({"n_folds": 9}, y, "n_folds=9 takes two classes .* there are 4 classes"),
        ({}, y % 3, "y must have 4 classes or more, .* got 3"),
        ({"test_classes": [7]}, y, "leave 1 classes for test"),
        ({"test_classes": [7, 8]}, y, "test_classes are not in y: 8"),
        ({"reference": "Circle"}, y, "reference must be one of .*'Triplet'"),
        ({"baselines": ["raw"]}, y, "baselines must be of .*got"),
        ({"metrics": ["recall"]}, y, "metrics must name one or more of"),
        ({"storage": "nonsense"}, y, "storage='nonsense' cannot be opened"),
        ({"n_trials": 0}, y, "'n_trials' parameter of RealityCheck"),
        ({"time_limit": 0}, y, "'time_limit' parameter of RealityCheck"),
        ({"estimators": {"LDA": PCA(2)}}, y, "must not have names of baselines"),
    ],
)
def test_bad_input(params, labels, message):
    with pytest.raises(ValueError, match=message):
        small(**params).run(X, labels)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Paths of 40 pictures of eight classes, of several sizes; the last is broken."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 5)
    tiles = rng.integers(0, 255, (8, 3, 3, 3)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("photographs")
    paths = [str(folder / f"{i}.png") for i in range(40)]
    for i, (path, label) in enumerate(zip(paths, labels, strict=True)):
        size = 16 + i % 5, 20
        Image.fromarray(tiles[label]).resize(size, Image.Resampling.NEAREST).save(path)
    with open(paths[-1], "wb") as file:
        file.write(b"no image")
    return np.array(paths), labels


def run_on_images(X, y, **params):
    embedder = SoftmaxEmbedder(4, max_epochs=1, image_size=16, batch_size=8, **params)
    check = small(
        estimators={"Softmax": embedder},
        search_spaces={"Softmax": {}},
        baselines=None,
        n_repeats=1,
        metrics=["map_at_r"],
    )
    return check.run(X, y)


@pytest.fixture(scope="module")
def of_photographs(photographs):
    paths, labels = photographs
    result = run_on_images(paths[:-1], labels[:-1])
    assert [row["n"] for row in result.rows()] == [1] * 4
    return outcome(result)


def test_datasets_are_files_that_are_read_when_needed(
    photographs, of_photographs, monkeypatch
):
    paths, labels = photographs

    def refuse(self, *_, **__):
        raise AssertionError("all images are read at once")

    monkeypatch.setattr(ImageSequence, "__array__", refuse, raising=False)
    # Images of several sizes make no array.
    pairs = [(np.asarray(Image.open(path)), None) for path in paths[:-1]]
    result = run_on_images(ImageSequence(pairs), labels[:-1])
    assert outcome(result) == of_photographs


def test_images_that_cannot_be_read_are_left_out(photographs, of_photographs):
    message = "rows are NaN|1 of 20 samples have no embedding"
    with pytest.warns(UserWarning, match=message):
        result = run_on_images(*photographs, on_bad_image="skip")
    assert outcome(result) == of_photographs


@pytest.mark.parametrize(
    ("pruner", "reason"),
    [
        (None, "its only trial failed with fold 0: ValueError"),
        (optuna.pruners.ThresholdPruner(lower=2.0), "2 of 2 trials were pruned"),
    ],
)
def test_reasons_of_methods_without_a_setting(pruner, reason):
    width = 99 if pruner is None else 2
    result = small(
        estimators={"PCA": PCA(width)},
        search_spaces={} if pruner is None else {"PCA": {"whiten": [False, True]}},
        n_trials=2,
        pruner=pruner,
    ).run(X, y)
    assert result.methods[0]["reason"].startswith(reason)


def test_another_process_may_find_better_in_between(tmp_path, monkeypatch):
    """What is repeated goes by the name of what was chosen."""
    params = {**QUICK, "storage": f"sqlite:///{tmp_path}/check.db"}
    choose = _check._choose

    def choose_and_go_on(search, methods):
        chosen = choose(search, methods)
        monkeypatch.setattr(_check, "_choose", choose)
        small(**params, n_repeats=1).run(X, y)
        return chosen

    monkeypatch.setattr(_check, "_choose", choose_and_go_on)
    small(**params, n_trials=1).run(X, y)
    again = small(**params).run(X, y)
    expected = small(**params | {"storage": None}).run(X, y)
    assert again.repeats == expected.repeats


# Pruners

N_TRIALS = 12
PRUNERS = [
    optuna.pruners.MedianPruner(n_startup_trials=2),
    optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    optuna.pruners.HyperbandPruner(1, max_resource=2, reduction_factor=2),
]


def run_pruned(pruner, **params):
    settings = {**QUICK, "n_trials": N_TRIALS, "n_repeats": 1}
    return small(pruner=pruner, **{**settings, **params}).run(X, y)


def test_no_pruner_and_one_that_stops_nothing_agree():
    without, nop = (run_pruned(p) for p in (None, optuna.pruners.NopPruner()))
    assert outcome(without) == outcome(nop)
    assert without.settings["pruner"] is None
    assert nop.settings["pruner"] == "NopPruner()"


def test_median_pruner_stops_what_is_below_the_median(tmp_path):
    result = run_pruned(PRUNERS[0])
    trials = result.trials
    first = [trial["fold_scores"][0] for trial in trials]
    for i, trial in enumerate(trials):
        complete = [t["trial"] for t in trials[:i] if t["state"] == "complete"]
        below = len(complete) >= 2 and first[i] < np.median(
            [first[k] for k in complete]
        )
        assert trial["state"] == ("pruned" if below else "complete")
        assert len(trial["fold_scores"]) == (1 if below else 2)
        assert trial["value"] == np.mean(trial["fold_scores"])
    values = [trial["value"] for trial in trials if trial["state"] == "complete"]
    assert 2 < len(values) < N_TRIALS
    (entry,) = result.methods
    assert entry["best_score"] == max(values)
    assert entry["reason"] == ""
    assert "MedianPruner(interval_steps=1, " in result.describe()
    result.trials_to_csv(tmp_path / "trials.csv")
    with open(tmp_path / "trials.csv") as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert states == [trial["state"] for trial in trials]


def test_pruned_trial_is_never_the_best(monkeypatch):
    # After its first fold, the one that is stopped is ahead of all others.
    scores = iter([0.1, 0.3] * 6 + [0.9] + [0.1, 0.3] * 6)
    stops = optuna.pruners.ThresholdPruner(upper=0.5)
    monkeypatch.setattr(_workers, "score_fold", lambda *_: {"score": next(scores)})
    result = run_pruned(stops)
    assert [trial["state"] for trial in result.trials].count("pruned") == 1
    assert max(trial["value"] for trial in result.trials) == 0.9
    assert result.methods[0]["best_score"] == 0.2


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: type(pruner).__name__)
def test_pruned_trials_of_several_jobs(pruner):
    with joblib.parallel_config("threading", n_jobs=2):
        result, again = (run_pruned(pruner) for _ in range(2))
    assert outcome(result) == outcome(again)
    assert {trial["state"] for trial in result.trials} == {"complete", "pruned"}


def test_errors_end_a_trial():
    space = {"PCA": {"n_components": [2, 3, 4, 99]}}
    result = run_pruned(PRUNERS[0], search_spaces=space)
    assert len(result.trials) == N_TRIALS
    for trial in result.trials:
        failed = trial["params"]["n_components"] == 99
        assert (trial["state"] == "failed") == failed
        if failed:
            assert trial["error"].startswith("fold 0: ValueError: n_components=99")
    states = [trial["state"] for trial in result.trials]
    assert "failed" in states[:-1]  # others saw it
    assert "complete" in states


def test_what_is_no_pruner_is_refused():
    with pytest.raises(ValueError, match="'pruner' parameter of RealityCheck"):
        RealityCheck(pruner="median").run(X, y)
