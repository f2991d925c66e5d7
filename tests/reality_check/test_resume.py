"""A storage that outlives its processes."""

import multiprocessing

import optuna
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer

from sk_dml.reality_check import _run
from tests.reality_check.small import data, outcome, small, work

X, y = data()
# Imports once, and forks.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.reality_check.small"])


@pytest.fixture(scope="module")
def undisturbed():
    return outcome(small().run(X, y))


class Worker:
    """A process that works on the storage in a folder."""

    def __init__(self, folder, **settings):
        url = f"sqlite:///{folder}/check.db"
        self.receiver, sender = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=work, args=(sender, url), kwargs=settings)
        self.process.start()
        sender.close()

    def receive(self):
        assert self.receiver.poll(120)
        return self.receiver.recv()

    def found(self):
        """Wait for its end; return what it found, and how many folds it trained on."""
        n_folds = 0
        while (message := self.receive()) == "fold":
            n_folds += 1
        self.process.join()
        assert self.process.exitcode == 0
        return message, n_folds


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds that nothing disturbs, and the folds it trains on."""
    return Worker(tmp_path_factory.mktemp("alone")).found()


def test_killed_and_resumed(tmp_path, alone):
    folder, (whole, _) = tmp_path, alone
    killed = Worker(folder, waits_at=8)
    for _ in range(8):  # in the middle of the fourth trial
        assert killed.receive() == "fold"
    killed.process.kill()
    killed.process.join()
    with pytest.raises(EOFError):
        killed.receive()
    resumed, n_folds = Worker(folder, silence=1.0).found()
    # Three trials of two folds were done; the fourth is run again.
    assert n_folds == 16 - 6
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
    barrier = CONTEXT.Barrier(2)
    both = [Worker(folder, seconds=0.2, barrier=barrier) for _ in range(2)]
    (first, n_first), (second, n_second) = (worker.found() for worker in both)
    assert n_first + n_second == n_folds_alone == 2 * 4 * 2
    assert min(n_first, n_second) > 0
    assert first == second == whole
    for name, trials in studies(folder).items():
        complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
        assert len(complete) == (2 if "repeats" in name else 4)


def test_goes_on_with_more_trials_and_repeats(tmp_path, undisturbed):
    url = f"sqlite:///{tmp_path}/check.db"
    fewer = small(storage=url, n_trials=1, n_repeats=1).run(X, y)
    assert len(fewer.trials) == 2
    assert fewer.notes == []
    more = small(storage=url).run(X, y)
    assert len(more.trials) == 8
    assert more.trials[0]["start"] == fewer.trials[0]["start"]
    assert outcome(more)["trials"][0] == undisturbed["trials"][0]
    again = small(storage=url).run(X, y)
    assert again.trials == more.trials
    assert again.repeats == more.repeats


def test_another_choice_after_a_look_at_the_test_classes_is_told(tmp_path):
    notes = []
    for seed in range(3):
        params = {
            "estimators": {"PCA": PCA()},
            "search_spaces": {"PCA": {"n_components": [1, 2, 3, 4, 5]}},
            "storage": f"sqlite:///{tmp_path}/{seed}.db",
            "random_state": seed,
        }
        first = small(**params, n_trials=1).run(X, y)
        assert first.notes == []
        later = small(**params).run(X, y)
        is_other = later.methods[0]["best_params"] != first.methods[0]["best_params"]
        assert len(later.notes) == is_other
        assert ("looked at before" in later.describe()) == is_other
        notes += later.notes
    assert 0 < len(notes) < 3
    assert notes[0].endswith("other settings for PCA.")


def test_no_look_at_the_test_classes_is_none(tmp_path, monkeypatch):
    """The first repeat is interrupted."""
    params = {
        "estimators": {"PCA": PCA()},
        "search_spaces": {"PCA": {"n_components": [1, 2, 3, 4, 5]}},
        "n_jobs": 1,
    }

    def interrupt(*args):
        raise KeyboardInterrupt

    for seed in range(3):
        url = f"sqlite:///{tmp_path}/{seed}.db"
        with monkeypatch.context() as patch:
            patch.setattr(_run, "rate_repeat", interrupt)
            with pytest.raises(KeyboardInterrupt):
                small(**params, storage=url, random_state=seed, n_trials=1).run(X, y)
        assert small(**params, storage=url, random_state=seed).run(X, y).notes == []


def test_trial_that_the_limit_cut_short_is_run_later(tmp_path):
    url = f"sqlite:///{tmp_path}/check.db"
    assert small(storage=url, time_limit=1e-9).run(X, y).notes
    late = small(storage=url).run(X, y)
    assert not late.notes
    assert {trial["state"] for trial in late.trials} == {"complete"}


def test_functions_to_choose_from_are_told_apart(tmp_path):
    def run(*functions):
        return small(
            estimators={"f": FunctionTransformer(functions[0])},
            search_spaces={"f": {"func": list(functions)}},
            storage=f"sqlite:///{tmp_path}/check.db",
            n_trials=2,
        ).run(X, y)

    def both():
        return lambda X: X, lambda X: 2 * X

    first = outcome(run(*both()))
    assert outcome(run(*both())) == first
    with pytest.raises(ValueError, match="begun with other settings"):
        run(lambda X: 3 * X, both()[1])


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


def test_of_other_settings_only_what_differs_is_named(tmp_path):
    params = {"storage": f"sqlite:///{tmp_path}/check.db", "n_trials": 1}
    small(**params, embedder_params={"max_epochs": 1}).run(X, y)
    message = r"estimator was \{'max_epochs': 1\} and is \{'max_epochs': 2\}\. Set"
    with pytest.raises(ValueError, match=message):
        small(**params, embedder_params={"max_epochs": 2}).run(X, y)
