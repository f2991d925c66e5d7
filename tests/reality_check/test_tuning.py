"""Trials that a pruner of Optuna may stop."""

import csv

import joblib
import numpy as np
import optuna
import pytest
from scipy.stats import uniform
from sklearn.decomposition import PCA

from sk_dml import TripletEmbedder
from sk_dml.reality_check import RealityCheck, _ledger, _run
from sk_dml.reality_check._search_space import translate
from sk_dml.reality_check._tuning import WINDOW, describe_pruner, n_random, propose
from tests.reality_check.small import data, outcome, small

X, y = data()
N_TRIALS = 12
PRUNERS = [
    optuna.pruners.MedianPruner(n_startup_trials=2),
    optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    optuna.pruners.HyperbandPruner(1, max_resource=2, reduction_factor=2),
]
by_name = pytest.mark.parametrize(
    "pruner", PRUNERS, ids=lambda pruner: type(pruner).__name__
)


def check(pruner, **params):
    settings = {
        "estimators": {"Triplet": TripletEmbedder(4, max_epochs=2)},
        "baselines": [],
        "n_trials": N_TRIALS,
        "n_repeats": 1,
        "metrics": ["map_at_r"],
    }
    return small(pruner=pruner, **{**settings, **params})


@pytest.fixture(scope="module")
def undisturbed():
    """What comes out without a break, by the name of the pruner."""
    return {type(p).__name__: check(p).run(X, y) for p in PRUNERS}


def test_no_pruner_and_one_that_stops_nothing_agree():
    without, nop = (
        small(pruner=pruner).run(X, y) for pruner in (None, optuna.pruners.NopPruner())
    )
    assert outcome(without) == outcome(nop)
    assert without.settings["pruner"] is None
    assert nop.settings["pruner"] == "NopPruner()"


def test_median_pruner_stops_what_is_below_the_median(undisturbed, tmp_path):
    result = undisturbed["MedianPruner"]
    trials = result.trials
    first = [trial["fold_scores"][0] for trial in trials]
    for i, trial in enumerate(trials):
        known = trials[: i - WINDOW + 1] if i >= n_random(N_TRIALS) else []
        complete = [t["trial"] for t in known if t["state"] == "complete"]
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


def test_pruned_trial_is_never_the_best():
    # After its first fold, the one that is stopped is ahead of all others.
    scores = iter([0.1, 0.3] * 6 + [0.9] + [0.1, 0.3] * 6)
    stops = optuna.pruners.ThresholdPruner(upper=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "rate_fold", lambda *_: {"score": next(scores)})
        result = check(stops).run(X, y)
    assert [trial["state"] for trial in result.trials].count("pruned") == 1
    assert max(trial["value"] for trial in result.trials) == 0.9
    assert result.methods[0]["best_score"] == 0.2


@pytest.mark.parametrize(
    ("pruner", "fold", "how"),
    [
        (PRUNERS[0], 15, "interrupted"),
        (PRUNERS[0], 16, "killed"),
        (PRUNERS[1], 17, "killed"),
        (PRUNERS[2], 15, "killed"),
    ],
    ids=lambda value: value if isinstance(value, int | str) else type(value).__name__,
)
def test_goes_on_after_a_break(tmp_path, monkeypatch, undisturbed, pruner, fold, how):
    rate, n_folds = _run.rate_fold, 0

    def breaking(*args):
        nonlocal n_folds
        n_folds += 1
        if n_folds == fold:
            raise KeyboardInterrupt
        return rate(*args)

    url = f"sqlite:///{tmp_path}/check.db"
    with monkeypatch.context() as patch:
        patch.setattr(_run, "rate_fold", breaking)
        if how == "killed":  # and the trial still seems to run
            patch.setattr(_ledger.Ledger, "release", lambda ledger: None)
        with pytest.raises(KeyboardInterrupt):
            check(pruner, storage=url).run(X, y)
    monkeypatch.setattr(_ledger, "SILENCE", 0.2)
    monkeypatch.setattr(_run, "POLL", 0.05)
    resumed = check(pruner, storage=url).run(X, y)
    expected = undisturbed[type(pruner).__name__]
    assert "pruned" in {trial["state"] for trial in expected.trials}
    assert outcome(resumed) == outcome(expected)


@by_name
def test_jobs_change_nothing(pruner):
    params = {
        "estimators": {"pca": PCA()},
        "search_spaces": {"pca": {"n_components": [1, 2, 3, 4, 5]}},
    }
    one = check(pruner, **params).run(X, y)
    with joblib.parallel_config("threading", n_jobs=2):
        assert outcome(check(pruner, **params).run(X, y)) == outcome(one)


def test_errors_end_a_trial():
    result = check(
        PRUNERS[0],
        estimators={"PCA": PCA()},
        search_spaces={"PCA": {"n_components": [2, 3, 4, 99]}},
    ).run(X, y)
    assert len(result.trials) == N_TRIALS
    for trial in result.trials:
        failed = trial["params"]["n_components"] == 99
        assert (trial["state"] == "failed") == failed
        if failed:
            assert trial["error"].startswith("fold 0: ValueError: n_components=99")
    states = [trial["state"] for trial in result.trials]
    assert "failed" in states[:-WINDOW]  # others saw it
    assert "complete" in states


def test_other_pruners_are_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/check.db"
    params = {"storage": url, "n_trials": 1}
    check(PRUNERS[0], **params).run(X, y)
    with pytest.raises(ValueError, match=r"pruner was 'MedianPruner\(.* is None"):
        check(None, **params).run(X, y)
    with pytest.raises(ValueError, match="'pruner' parameter of RealityCheck"):
        RealityCheck(pruner="median").run(X, y)


# The one pruner of Optuna that wraps another is experimental.
@pytest.mark.filterwarnings("ignore:PatientPruner is experimental")
def test_description_of_pruners():
    inner = optuna.pruners.ThresholdPruner(lower=0.5)
    assert describe_pruner(inner) == (
        "ThresholdPruner(interval_steps=1, lower=0.5, n_warmup_steps=0, upper=inf)"
    )
    assert describe_pruner(optuna.pruners.PatientPruner(inner, 2)) == (
        "PatientPruner(min_delta=0.0, patience=2, wrapped_pruner="
        f"{describe_pruner(inner)})"
    )


def test_the_first_trial_that_may_learn_does():
    dimensions = {"x": translate("x", uniform(0, 1))}

    def proposed(n_trials, seed, best):
        """Propose a value where the nearer to the best the better."""
        index = n_random(n_trials)
        known = [
            optuna.trial.create_trial(
                params={"x": x},
                distributions={"x": dimensions["x"].distribution},
                value=-abs(x - best),
            )
            for x in np.linspace(0, 1, index - WINDOW + 1)
        ]
        settings = {"method": "m", "index": index, "n_startup": index}
        return propose(dimensions, known, seed=seed, **settings)["x"]

    for n_trials in (10, 50):
        draws = [[proposed(n_trials, s, best) for s in range(9)] for best in (0.0, 1.0)]
        assert draws[0] != draws[1]
