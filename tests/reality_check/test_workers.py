import io
import itertools
import multiprocessing
import signal
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import Callback

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.model_selection import ClassDisjointKFold
from sk_dml.reality_check import _workers
from sk_dml.reality_check._concatenated import fit_fold, last_step, seeded
from sk_dml.reality_check._workers import score_fold, with_deadline
from sk_dml.scorers import map_at_r
from tests.reality_check.small import QUICK, data, outcome, small, work

X, y = data()
HALVES = np.flatnonzero(y < 4), np.flatnonzero(y >= 4)
if "forkserver" in multiprocessing.get_all_start_methods():  # imports once, and forks
    CONTEXT = multiprocessing.get_context("forkserver")
    CONTEXT.set_forkserver_preload(["tests.reality_check.small"])
else:
    CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/check.db"


# One fold


@pytest.mark.parametrize("piped", [False, True])
def test_deadline_ends_a_training_within_an_epoch(piped, monkeypatch):
    embedder = SoftmaxEmbedder(4, max_epochs=10, batch_size=8, early_stopping=False)
    estimator = make_pipeline(StandardScaler(), embedder) if piped else embedder
    # A clock on which a second passes between two looks.
    looks = itertools.count(1)
    monkeypatch.setattr(_workers, "time", SimpleNamespace(time=lambda: next(looks)))
    assert score_fold(estimator, X, y, *HALVES, deadline=5) == {"timed_out": True}
    # One before the training, one after each of five batches of 30, one at the end.
    assert next(looks) == 8
    assert score_fold(estimator, X, y, *HALVES, deadline=5) == {"timed_out": True}
    assert next(looks) == 10  # nothing is begun after it


def test_no_deadline_changes_nothing():
    assert with_deadline(TripletEmbedder(), None).callbacks is None


def test_errors_are_one_line():
    outcome = score_fold(SoftmaxEmbedder(4, module="conv"), X, y, *HALVES)
    assert outcome["error"].startswith("ValueError: module='conv'")
    assert "\n" not in outcome["error"]


def test_every_random_state_is_set():
    nested = make_pipeline(StandardScaler(), make_pipeline(TripletEmbedder()))
    assert last_step(nested)[0] == "pipeline__tripletembedder__"
    states = [
        seeded(nested, seed).get_params()["pipeline__tripletembedder__random_state"]
        for seed in (0, 0, 1)
    ]
    assert states[0] == states[1] != states[2]


class Pressed(Callback):
    """Ctrl-C in an epoch, where a training would keep what it has learned."""

    def __init__(self, epoch=2):
        self.epoch = epoch

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            signal.raise_signal(signal.SIGINT)


def search(estimator, **grid):
    return GridSearchCV(estimator, grid, scoring=map_at_r, cv=ClassDisjointKFold(2))


@pytest.mark.parametrize(
    ("wrap", "early_stopping"),
    [
        (lambda embedder: embedder, False),
        (lambda embedder: embedder, True),
        (lambda embedder: make_pipeline(StandardScaler(), embedder), True),
        (lambda embedder: make_pipeline(make_pipeline(embedder)), True),
        (lambda embedder: make_pipeline(embedder, PCA(2)), False),
        (lambda embedder: search(make_pipeline(embedder)), False),
        (lambda embedder: make_pipeline(StandardScaler(), search(embedder)), False),
    ],
    ids=["alone", "stops early", "last", "nested", "first", "searched", "in a search"],
)
def test_ctrl_c_ends_more_than_the_training(wrap, early_stopping):
    def fit(epoch):
        callbacks = [Pressed(epoch)]
        embedder = SoftmaxEmbedder(
            4,
            max_epochs=2,
            early_stopping=early_stopping,
            callbacks=callbacks,
            random_state=0,
        )
        try:
            return fit_fold(wrap(embedder), X, y, *HALVES)
        finally:
            assert embedder.callbacks is callbacks

    with pytest.raises(KeyboardInterrupt):
        fit(2)
    fit(3)  # it never comes


def test_comparison_that_ctrl_c_stopped_goes_on_where_it_was(
    url, undisturbed, monkeypatch
):
    fit, n_fits = TripletEmbedder.fit, 0

    def pressed_in_the_third(self, *args, **kwargs):
        nonlocal n_fits
        n_fits += 1
        if n_fits == 3:
            self.max_epochs, self.callbacks = 2, [*self.callbacks, Pressed()]
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(TripletEmbedder, "fit", pressed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        small(storage=url).run(X, y)
    assert n_fits == 3
    assert outcome(small(storage=url).run(X, y)) == undisturbed
    # The fold that was interrupted and the one before it are one trial.
    assert n_fits == 3 + 2 * 3 + 2 * 2


def test_training_that_stops_early_is_no_interrupted_one():
    embedder = SoftmaxEmbedder(
        4, max_epochs=60, early_stopping=True, n_iter_no_change=1, tol=1.0
    )
    assert fit_fold(embedder, X, y, *HALVES).n_iter_ < 60


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_terminals_only(monkeypatch, capsys):
    small(**QUICK, verbose=1).run(X, y)
    assert capsys.readouterr().err == ""
    shown = []
    for verbose in (0, 1):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        small(**QUICK, verbose=verbose).run(X, y)
        shown.append(terminal.getvalue())
    assert shown[0] == ""
    for words in ("search", "4/4", "PCA: trial 4, best MAP@R 0.", "test"):
        assert words in shown[1]
    process = SimpleNamespace(name="SpawnProcess-1", daemon=False)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: process)
    small(**QUICK, verbose=1).run(X, y)
    assert terminal.getvalue() == shown[1]


# A storage that outlives its processes


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

    def result(self):
        """Wait for its end; return its outcome and the number of folds it trained."""
        n_folds = 0
        while (message := self.receive()) == "fold":
            n_folds += 1
        self.process.join()
        assert self.process.exitcode == 0
        return message, n_folds

    def kill_after(self, n_folds):
        for _ in range(n_folds):
            assert self.receive() == "fold"
        self.process.kill()
        self.process.join()
        with pytest.raises(EOFError):
            self.receive()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return what one process finds that nothing disturbs."""
    found, n_folds = Worker(tmp_path_factory.mktemp("alone")).result()
    assert n_folds == 2 * 4 * 2
    return found


def states(folder):
    """Return the states of the trials of every study."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/check.db")
    return {
        study.study_name: [
            trial.state.name for trial in storage.get_all_trials(study._study_id)
        ]
        for study in storage.get_all_studies()
    }


@pytest.mark.slow
@pytest.mark.parametrize("fold", [2, 13])
def test_killed_and_resumed(tmp_path, alone, fold):
    # The second fold of a trial that was drawn at random, the first of one that learns.
    Worker(tmp_path, waits_at=fold).kill_after(fold)
    resumed, n_folds = Worker(tmp_path).result()
    assert n_folds == 16 - (fold - 1) // 2 * 2  # trials that were done are not repeated
    assert resumed == alone
    trials = states(tmp_path)
    assert set(map(tuple, trials.values())) == {("COMPLETE",) * 4, ("COMPLETE",) * 2}
    assert sum(map(len, trials.values())) == 2 * 4 + 4 * 2


@pytest.mark.slow
def test_killed_and_resumed_with_a_pruner(tmp_path):
    # It runs SuccessiveHalvingPruners, and both count trials.
    pruner = optuna.pruners.HyperbandPruner(1, max_resource=2, reduction_factor=2)
    params = {**QUICK, "n_trials": 12, "pruner": pruner}
    expected = outcome(small(**params).run(X, y))
    assert "pruned" in {trial["state"] for trial in expected["trials"]}
    Worker(tmp_path, waits_at=15, **params).kill_after(15)
    resumed, _ = Worker(tmp_path, **params).result()
    assert resumed == expected


@pytest.mark.slow
def test_two_workers_share_one_study(tmp_path):
    barrier = CONTEXT.Barrier(2)
    settings = {**QUICK, "seconds": 0.2, "grace": 60, "barrier": barrier}
    both = [Worker(tmp_path, **settings) for _ in range(2)]
    (first, n_first), (second, n_second) = (worker.result() for worker in both)
    assert n_first + n_second == 4 * 2
    assert min(n_first, n_second) > 0
    assert first == second
    # None in excess, where both ask for the last trial at once.
    trials = states(tmp_path)
    assert sorted(trials.values()) == [["COMPLETE"] * 2, ["COMPLETE"] * 4]


@pytest.mark.parametrize(
    ("fold", "pruner"),
    [(1, None), (16, None), (15, optuna.pruners.MedianPruner(2))],
    ids=["first", "learning", "pruning"],
)
def test_interrupted_and_resumed(url, monkeypatch, fold, pruner):
    params = {**QUICK, "n_trials": 12, "pruner": pruner}
    expected = outcome(small(**params).run(X, y))
    score, folds = _workers.score_fold, itertools.count(1)

    def interrupted(*args):
        if next(folds) == fold:
            raise KeyboardInterrupt
        return score(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_workers, "score_fold", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(**params, storage=url).run(X, y)
    assert outcome(small(**params, storage=url).run(X, y)) == expected


def test_goes_on_with_more_trials_and_repeats(url, undisturbed):
    fewer = small(storage=url, n_trials=1, n_repeats=1).run(X, y)
    assert len(fewer.trials) == 2
    assert fewer.notes == []
    more = small(storage=url).run(X, y)
    assert outcome(more)["trials"][0] == undisturbed["trials"][0]
    assert len(more.trials) == 8
    assert more.trials[0]["start"] == fewer.trials[0]["start"]
    again = small(storage=url).run(X, y)
    assert again.trials == more.trials
    assert again.repeats == more.repeats


@pytest.mark.parametrize(("seed", "is_other"), [(0, True), (2, False)])
def test_another_choice_after_the_test_classes_were_used_is_noted(url, seed, is_other):
    params = {**QUICK, "storage": url, "random_state": seed}
    first = small(**params, n_trials=1).run(X, y)
    assert first.notes == []
    later = small(**params).run(X, y)
    chosen = [result.methods[0]["best_params"] for result in (first, later)]
    assert (chosen[0] != chosen[1]) == is_other
    assert len(later.notes) == is_other
    assert all(note.endswith("other settings for PCA.") for note in later.notes)
    assert ("were used before" in later.describe()) == is_other


def test_test_classes_that_were_not_used_are_not_noted(url, monkeypatch):
    """The first repeat is interrupted."""

    def interrupt(*args):
        raise KeyboardInterrupt

    params = {**QUICK, "storage": url}
    with monkeypatch.context() as patch:
        patch.setattr(_workers, "score_repeat", interrupt)
        with pytest.raises(KeyboardInterrupt):
            small(**params, n_trials=1).run(X, y)
    assert small(**params).run(X, y).notes == []


def test_trial_that_the_limit_cut_short_is_run_later(url):
    assert small(**QUICK, storage=url, time_limit=1e-9).run(X, y).notes
    late = small(**QUICK, storage=url).run(X, y)
    assert not late.notes
    assert {trial["state"] for trial in late.trials} == {"complete"}


def test_functions_in_search_spaces_are_distinguished(url):
    def run(*functions):
        return small(
            estimators={"f": FunctionTransformer(functions[0])},
            search_spaces={"f": {"func": list(functions)}},
            storage=url,
            n_trials=2,
        ).run(X, y)

    def both():
        return lambda X: X, lambda X: 2 * X

    first = outcome(run(*both()))
    assert outcome(run(*both())) == first
    with pytest.raises(ValueError, match="with other settings"):
        run(lambda X: 3 * X, both()[1])


def test_other_comparisons_are_refused(url):
    params = {**QUICK, "storage": url, "n_trials": 1, "n_repeats": 1}
    small(**params).run(X, y)
    labels = y.copy()
    labels[-6:-3] = 6  # of test classes
    for rows, classes, other in (
        (X + 1, y, {}),
        (X, labels, {}),
        (X, y, {"random_state": 1}),
        (X, y, {"search_spaces": {"PCA": {"n_components": [1]}}}),
        (X, y, {"pruner": optuna.pruners.NopPruner()}),
    ):
        with pytest.raises(ValueError, match="with other settings"):
            small(**params | other).run(rows, classes)
    small(**params, study_name="another").run(X + 1, y)


def test_of_other_settings_only_what_differs_is_named(url):
    params = {"storage": url, "n_trials": 1, "n_repeats": 1}
    small(**params, embedder_params={"max_epochs": 1}).run(X, y)
    message = r"estimator was \{'max_epochs': 1\} and is \{'max_epochs': 2\}\. Choose"
    with pytest.raises(ValueError, match=message):
        small(**params, embedder_params={"max_epochs": 2}).run(X, y)
