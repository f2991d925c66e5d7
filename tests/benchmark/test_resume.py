"""A storage that outlives its processes."""

import json
import os
import signal
import subprocess
import sys

import optuna
import pytest

from tests.benchmark.small import data, outcome, small

X, y = data()
SECONDS = 0.5  # of a fold: all of them take longer than a process to start


@pytest.fixture(scope="module")
def undisturbed():
    return outcome(small().run(X, y))


def start(folder, out, *seconds):
    arguments = [f"sqlite:///{folder}/check.db", folder / out, *seconds]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmark.small", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def found(folder, out, process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads((folder / out).read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds that nothing disturbs, and the folds it trains on."""
    folder = tmp_path_factory.mktemp("alone")
    whole = found(folder, "alone.json", start(folder, "alone.json", 0))
    return whole, whole.pop("n_folds")


def test_killed_and_resumed(tmp_path, alone):
    folder, (whole, _) = tmp_path, alone
    killed = start(folder, "killed.json", 0, 8)
    for _ in range(8):  # in the middle of the fourth trial
        assert killed.stdout.readline() == "fold\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (folder / "killed.json").exists()
    resumed = found(folder, "resumed.json", start(folder, "resumed.json", 0))
    # Three trials of two folds were done; the fourth is run again.
    assert resumed.pop("n_folds") == 16 - 6
    assert resumed == whole
    attempts = studies(folder)
    for name in ("Triplet", "Softmax"):
        states = [trial.state.name for trial in attempts[f"reality-check/{name}"]]
        assert states.count("COMPLETE") == 4
        assert states.count("FAIL") <= 1
        assert len(states) == states.count("COMPLETE") + states.count("FAIL")
    assert sum(len(trials) for trials in attempts.values()) == 2 * 4 + 4 * 2 + 1


def studies(folder):
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/check.db")
    return {
        study.study_name: storage.get_all_trials(study._study_id)
        for study in storage.get_all_studies()
    }


def test_two_workers_share_one_study(tmp_path, alone):
    folder, (whole, n_folds_alone) = tmp_path, alone
    both = [start(folder, f"{i}.json", SECONDS) for i in range(2)]
    first, second = (found(folder, f"{i}.json", p) for i, p in enumerate(both))
    n_folds = [first.pop("n_folds"), second.pop("n_folds")]
    assert sum(n_folds) == n_folds_alone == 2 * 4 * 2
    assert min(n_folds) > 0
    assert first == second == whole
    for name, trials in studies(folder).items():
        complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
        assert len(complete) == (2 if "repeats" in name else 4)


def test_goes_on_with_more_trials_and_repeats(tmp_path, undisturbed):
    url = f"sqlite:///{tmp_path}/check.db"
    fewer = small(storage=url, n_trials=2, n_repeats=1).run(X, y)
    assert len(fewer.trials) == 4
    more = small(storage=url).run(X, y)
    assert len(more.trials) == 8
    assert more.trials[0]["start"] == fewer.trials[0]["start"]
    assert outcome(more)["trials"][0] == undisturbed["trials"][0]
    again = small(storage=url).run(X, y)
    assert again.trials == more.trials
    assert again.repeats == more.repeats


def test_trial_that_the_limit_cut_short_is_run_later(tmp_path):
    url = f"sqlite:///{tmp_path}/check.db"
    assert small(storage=url, time_limit=1e-9).run(X, y).notes
    late = small(storage=url).run(X, y)
    assert not late.notes
    assert {trial["state"] for trial in late.trials} == {"complete"}


@pytest.mark.parametrize("what", ["data", "seed", "space", "test labels"])
def test_other_comparisons_are_refused(tmp_path, what):
    url = f"sqlite:///{tmp_path}/check.db"
    params = {"storage": url, "n_trials": 1, "n_repeats": 1}
    small(**params).run(X, y)
    labels, rows = y.copy(), X
    if what == "data":
        rows = X + 1
    elif what == "seed":
        params["random_state"] = 1
    elif what == "space":
        params["search_spaces"] = {"Triplet": {"margin": [0.1]}}
    else:
        labels[-6:-3] = 6
    with pytest.raises(ValueError, match="begun with other settings"):
        small(**params).run(rows, labels)
    small(**params, study_name="another").run(rows, labels)
