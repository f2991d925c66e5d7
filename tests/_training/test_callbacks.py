"""The callbacks of a training: scikit-learn's, the user's, and what is shown."""

import importlib
import importlib.util
import io
import pickle
import re
import signal
import sys
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import skorch
import torch
import tqdm
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.callback import AutoPropagatedCallback, FitCallback, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
)
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from sk_dml import map_at_r
from sk_dml._training import _callbacks
from sk_dml._training._net import EmbeddingNet
from sk_dml.metrics import map_at_r_score
from sk_dml.scorers import retrieval_scorer
from tests._training.small import Interrupted, assert_same, embedder

rng = np.random.default_rng(0)
y = np.repeat(["a", "b", "c", "d"], 10)
X = rng.normal(size=(40, 3)) + 2 * (np.arange(40) // 10)[:, None]


def quick(*callbacks, **params):
    return embedder(**params).set_callbacks(*callbacks)


class Recorder:
    """Keeps what it hears; may stop the fit or fail."""

    def __init__(self, stop_after=None, fails_in=None):
        self.stop_after, self.fails_in = stop_after, fails_in
        self.heard = []

    def hear(self, hook, context):
        self.heard.append((hook, context.task_name, context.task_id))
        if hook == self.fails_in:
            raise RuntimeError("no more disk")

    def setup(self, estimator, context):
        self.hear("setup", context)

    def on_fit_task_begin(self, estimator, context):
        self.hear("on_fit_task_begin", context)

    def on_fit_task_end(self, estimator, context):
        self.hear("on_fit_task_end", context)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.hear("teardown", context)

    def hooks(self):
        return [hook for hook, _, _ in self.heard]


class Keeper(Recorder):
    """Keeps the embedder as it is at the end of every task."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.kept.append((context, X, y, fitted_estimator))


class Propagated(Recorder):
    max_propagation_depth = None


# Callbacks of scikit-learn


def test_tasks_are_the_fit_and_its_epochs():
    recorder = Recorder()
    quick(recorder, max_epochs=2).fit(X, y)
    assert recorder.heard == [
        ("setup", "fit", 0),
        ("on_fit_task_begin", "fit", 0),
        ("on_fit_task_begin", "epoch", 0),
        ("on_fit_task_end", "epoch", 0),
        ("on_fit_task_begin", "epoch", 1),
        ("on_fit_task_end", "epoch", 1),
        ("on_fit_task_end", "fit", 0),
        ("teardown", "fit", 0),
    ]


def test_callbacks_get_the_data_as_given_and_embedders_as_they_were():
    keeper = Keeper()
    fitted_last = quick(keeper).fit(X, y)
    *epochs, whole = keeper.kept
    assert whole[0].max_subtasks == 3
    for n, (context, seen_X, seen_y, fitted) in enumerate(epochs, 1):
        assert context.parent is whole[0]
        assert seen_X is X
        assert seen_y is y
        assert fitted is not fitted_last
        assert fitted.n_iter_ == len(fitted.history_) == n
        assert fitted.loss_curve_ == fitted_last.loss_curve_[:n]
        assert list(fitted.classes_) == ["a", "b", "c", "d"]
        assert list(fitted.get_feature_names_out()) == list(
            fitted_last.get_feature_names_out()
        )
        # A schedule spreads over max_epochs, so a shorter fit is no reference.
        assert np.isfinite(fitted.transform(X)).all()
    embeddings = [fitted.transform(X) for *_, fitted in keeper.kept]
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-4
    np.testing.assert_array_equal(embeddings[2], fitted_last.transform(X))
    np.testing.assert_array_equal(embeddings[3], fitted_last.transform(X))


def test_a_kept_embedder_is_that_of_a_fit_that_stopped_there():
    keeper = Keeper()
    quick(keeper, lr_schedule=None).fit(X, y)
    for n, (*_, fitted) in enumerate(keeper.kept[:2], 1):
        shorter = quick(lr_schedule=None, max_epochs=n).fit(X, y)
        np.testing.assert_array_equal(fitted.transform(X), shorter.transform(X))
        restored = pickle.loads(pickle.dumps(fitted.set_callbacks()))
        np.testing.assert_array_equal(restored.transform(X), shorter.transform(X))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_kept_embedder_on_cuda():
    keeper = Keeper()
    estimator = quick(keeper, device="cuda").fit(X, y)
    embeddings = [fitted.transform(X) for *_, fitted in keeper.kept]
    np.testing.assert_array_equal(embeddings[-1], estimator.transform(X))
    assert np.abs(embeddings[0] - embeddings[-1]).max() > 1e-4


def test_scoring_monitor():
    scorer = retrieval_scorer("map_at_r", "precision_at_1")
    by_names = ScoringMonitor(scoring=scorer)
    by_dict = ScoringMonitor(scoring={"MAP": map_at_r})
    fitted = quick(by_names, by_dict).fit(X, y)
    log = by_names.get_logs().data
    assert [row["task_name"] for row in log] == ["fit", *["epoch"] * 3]
    final = map_at_r_score(fitted.transform(X), y)
    assert log[0]["map_at_r"] == log[-1]["map_at_r"] == final
    assert log[1]["map_at_r"] != final
    assert 0 < log[0]["precision_at_1"] <= 1
    names = [row["map_at_r"] for row in log]
    assert [row["MAP"] for row in by_dict.get_logs().data] == names
    # Looking on changes nothing.
    np.testing.assert_array_equal(fitted.transform(X), quick().fit(X, y).transform(X))


@pytest.mark.skipif(not importlib.util.find_spec("rich"), reason="needs rich")
def test_progress_bar(capsys):
    from sklearn.callback import ProgressBar

    quick(ProgressBar()).fit(X, y)
    assert "CircleEmbedder - fit" in capsys.readouterr().out


def test_without_callbacks_nothing_is_left_behind():
    fitted = quick(Recorder()).fit(X, y)
    assert len(fitted.net_.callbacks_) == 2
    left = {name for name in vars(fitted) if "callback" in name}
    assert left == {"callbacks", "_skl_callbacks"}
    fitted.set_callbacks().fit(X, y)
    pickle.dumps(fitted)


def test_a_callback_stops_the_fit_by_its_return_value():
    recorder = Recorder(stop_after=2)
    fitted = quick(recorder, max_epochs=5).fit(X, y)  # and warns of nothing
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 2
    assert recorder.heard[-3:] == [
        ("on_fit_task_end", "epoch", 1),
        ("on_fit_task_end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    kept = quick(max_epochs=2, lr_schedule=None).fit(X, y)
    stopped = quick(Recorder(stop_after=2), lr_schedule=None).fit(X, y)
    np.testing.assert_array_equal(stopped.transform(X), kept.transform(X))
    assert stopped.set_callbacks().fit(X, y).n_iter_ == 3


def test_pipelines_propagate():
    recorder = Propagated()
    steps = StandardScaler(), quick(), KNeighborsClassifier()
    pipeline = make_pipeline(*steps).set_callbacks(recorder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The estimator KNeighborsClassifier does not")
        pipeline.fit(X, y)
    assert isinstance(recorder, AutoPropagatedCallback)
    assert [told for told in recorder.heard if told[1] == "epoch"] == [
        (hook, "epoch", i)
        for i in range(3)
        for hook in ("on_fit_task_begin", "on_fit_task_end")
    ]
    hooks = recorder.hooks()
    assert (hooks.count("setup"), hooks.count("teardown")) == (1, 1)
    assert not hasattr(pipeline[1], "_skl_callbacks")


def test_searches_propagate_and_clones_keep_callbacks():
    recorder, monitor = Propagated(), ScoringMonitor(scoring={"MAP": map_at_r})
    fitted = quick(monitor, max_epochs=2)
    assert clone(fitted)._skl_callbacks == [monitor]
    search = GridSearchCV(fitted, {"margin": [0.2, 0.4]}, scoring=map_at_r, cv=2)
    search.set_callbacks(recorder).fit(X, y)
    epochs = [told for told in recorder.heard if told[1] == "epoch"]
    assert len(epochs) == 2 * 2 * (2 * 2 + 1)  # begin and end; epochs; 4 fits and refit
    assert len(monitor.get_logs().data) == (2 + 1) * (2 * 2 + 1)


@pytest.mark.slow
def test_searches_in_worker_processes_report_to_the_main_one():
    monitor = ScoringMonitor(scoring={"MAP": map_at_r})
    search = GridSearchCV(
        quick(monitor, max_epochs=1),
        {"margin": [0.4]},
        scoring=map_at_r,
        cv=2,
        n_jobs=2,
    ).fit(X, y)
    assert len(monitor.get_logs().data) == 2 * (2 + 1)
    assert search.best_estimator_.n_iter_ == 1


@pytest.mark.parametrize(
    "hook", ["setup", "on_fit_task_begin", "on_fit_task_end", "teardown"]
)
def test_all_are_torn_down_after_an_error_of_one(hook):
    recorders = [Propagated(), Recorder(fails_in=hook)]
    estimator = quick(*recorders)
    with pytest.raises(RuntimeError, match="no more disk"):
        estimator.fit(X, y)
    for recorder in recorders:
        assert recorder.hooks().count("teardown") == 1
    recorders[1].fails_in = None
    assert estimator.fit(X, y).n_iter_ == 3


def test_other_errors_tear_down_too():
    recorder = Recorder()
    diverging = {"lr": 1e38, "optimizer": "sgd", "lr_schedule": None, "max_epochs": 20}
    with pytest.raises(ValueError, match="diverged"):
        quick(recorder, **diverging).fit(X, y)
    assert recorder.hooks()[-1] == "teardown"


def test_bad_data_is_refused_before_callbacks_hear_of_a_fit():
    recorder = Recorder()
    with pytest.raises(ValueError, match="0 sample"):
        quick(recorder).fit(X[:0], y[:0])
    assert recorder.heard == []


def test_kinds_of_callbacks_are_told_apart():
    with pytest.raises(TypeError, match=r"skorch callbacks.*go to set_callbacks"):
        quick(callbacks=[Recorder()]).fit(X, y)
    for given in skorch.callbacks.EpochTimer(), skorch.callbacks.EpochTimer:
        with pytest.raises(TypeError, match=r"EpochTimer of .* parameter callbacks"):
            quick(Recorder(), given)
    with pytest.raises(TypeError, match="FitCallback"):
        quick(print)
    assert isinstance(Recorder(), FitCallback)
    assert not isinstance(Recorder(), AutoPropagatedCallback)


# Callbacks of the user


def exponential(**params):
    return LRScheduler(ExponentialLR, gamma=0.5, **params)


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(EmbeddingNet, "train_step", None)


@pytest.mark.parametrize(
    ("params", "mover"),
    [
        ({}, "lr_schedule='onecycle'"),
        ({"lr_schedule": "plateau"}, "lr_schedule='plateau'"),
        (
            {"lr_schedule": None, "net_params": {"lr_schedule__warmup": 1}},
            "lr_schedule__warmup=1 in net_params",
        ),
    ],
)
@pytest.mark.parametrize("callback", [exponential(), ("mine", exponential())])
def test_two_schedules_are_refused(callback, params, mover, untrained):
    name = "mine" if isinstance(callback, tuple) else "LRScheduler"
    message = f"callbacks holds {name}, which moves .* and so does {mover}"
    with pytest.raises(ValueError, match=message):
        embedder(callbacks=[callback], **params).fit(X, y)


def test_rates_that_stay_are_left_to_a_callback():
    fitted = embedder(callbacks=[exponential()], lr_schedule=None).fit(X, y)
    rates = [row["lr"] for row in fitted.history_]
    np.testing.assert_allclose(rates, 1e-3 * 0.5 ** np.arange(3))
    # A partial fit has no schedule, whatever lr_schedule says.
    embedder(callbacks=[exponential()]).partial_fit(X, y)


@pytest.mark.parametrize(
    ("callback", "net_params", "monitor"),
    [
        (EarlyStopping(), {}, "valid_loss"),
        (EarlyStopping, {}, "valid_loss"),
        (
            EarlyStopping(monitor="train_loss"),
            {"callbacks__EarlyStopping__monitor": "valid_acc"},
            "valid_acc",
        ),
        (EarlyStopping(monitor="valid_score"), {}, "valid_score"),
        (Checkpoint(), {}, "valid_loss_best"),
        (LRScheduler(ReduceLROnPlateau, monitor="valid_loss"), {}, "valid_loss"),
    ],
)
def test_what_nobody_records_cannot_be_monitored(
    callback, net_params, monitor, untrained
):
    params = {"callbacks": [callback, PrintLog()], "net_params": net_params}
    estimator = embedder(lr_schedule=None, **params)
    message = (
        rf"monitors '{monitor}', and no epoch of this fit has that. Allowed are: "
        r"\[.*'train_loss_best'\]. early_stopping=True or validation_data add 'valid_"
    )
    for fit in estimator.fit, estimator.partial_fit:
        with pytest.raises(ValueError, match=message):
            fit(X, y)
    assert not hasattr(estimator, "net_")
    if monitor != "valid_score":
        with pytest.raises(
            ValueError, match=r"'valid_score_best'\]. Of scores the larger"
        ):
            estimator.fit(X, y, validation_data=(X, y))


@pytest.mark.parametrize(
    "callback",
    [
        EpochScoring(lambda *_: 1.0, name="valid_loss"),
        BatchScoring(lambda *_: 1.0, name="valid_loss"),
        PassthroughScoring("valid_loss"),
    ],
)
def test_scoring_without_samples_is_refused(callback, untrained):
    kind = type(callback).__name__
    message = (
        f"callbacks holds {kind} with on_train=False, .*validation_data.*set scoring"
    )
    estimator = embedder(callbacks=[callback, EarlyStopping()])
    for fit in estimator.fit, estimator.partial_fit:
        with pytest.raises(ValueError, match=message):
            fit(X, y)
    on_train = {f"callbacks__{kind}__on_train": True}
    estimator.set_params(callbacks=[callback], **on_train)
    with pytest.raises(TypeError):  # in training, of which there is none here
        estimator.fit(X, y)


@pytest.mark.parametrize("scoring", [EpochScoring, BatchScoring])
def test_scorers_that_need_an_embedder_say_so_in_short(scoring):
    callback = scoring(map_at_r, name="map", on_train=True)
    with pytest.raises(TypeError, match="EmbeddingNet has no transform") as caught:
        embedder(callbacks=[callback]).fit(X, y)
    assert "Linear" not in str(caught.value)


class LossRecorder(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("valid_loss", 1.0)


def test_what_somebody_records_can_be_monitored():
    stop = EarlyStopping(patience=1)
    for recorder in LossRecorder(), EpochScoring(lambda *_: 1.0, name="valid_loss"):
        if isinstance(recorder, EpochScoring):
            recorder.set_params(on_train=True, use_caching=False)
        assert embedder(callbacks=[recorder, stop], max_epochs=9).fit(X, y).n_iter_ == 2
    by_score = EarlyStopping("valid_score", patience=1, lower_is_better=False)
    scored = embedder(callbacks=[by_score], scoring=lambda *_: 0.5, max_epochs=9)
    assert scored.fit(X, y, validation_data=(X, y)).n_iter_ == 2
    by_loss = EarlyStopping("train_loss", patience=1, threshold=-9, lower_is_better=0)
    assert embedder(callbacks=[by_loss], max_epochs=2).fit(X, y).n_iter_ == 2


@pytest.mark.parametrize("key", ["callbacks__Print__sink", "callbacks__Print"])
def test_settings_of_callbacks_that_are_not_there(key, untrained):
    params = {"callbacks": [PrintLog(), ("mine", PrintLog)], "net_params": {key: print}}
    with pytest.raises(
        ValueError,
        match=rf"'{key}', but no callback has the name 'Print'.*'PrintLog', 'mine'",
    ):
        embedder(**params).fit(X, y)


def test_callbacks_can_be_set_and_switched_off():
    lines = []
    params = {"callbacks__mine__sink": lines.append, "callbacks__PrintLog": None}
    callbacks = [PrintLog(), ("mine", PrintLog)]
    embedder(callbacks=callbacks, net_params=params).fit(X, y)
    assert lines


# Stops and Ctrl-C


class SavedCallback(Callback):
    """Has a state that checkpoints can save."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Raising(SavedCallback):
    """Raises in an event of some epoch, once, as a signal that arrives in it does."""

    def __init__(self, event, epoch, raise_it):
        self.event, self.epoch, self.raise_it = event, epoch, raise_it

    def initialize(self):
        setattr(self, self.event, self.interrupt)
        return self

    def interrupt(self, net, *args, **kwargs):
        if len(net.history) == self.epoch:
            self.raise_it()


def stop():
    raise KeyboardInterrupt


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def search():
    grid = {"margin": [0.2, 0.3, 0.4]}
    estimator = embedder(optimizer=Interrupted, batch_size=8)
    return GridSearchCV(estimator, grid, scoring=map_at_r, cv=2, refit=False)


def test_a_search_goes_on_after_a_fit_that_was_interrupted_in_a_later_epoch():
    fitted = embedder(optimizer=Interrupted, batch_size=8).fit(X[::2], y[::2])
    n_steps = fitted.net_.history[-1, "train_batch_count"]
    Interrupted.left = n_steps + 1
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 3") as caught:
        searched = search().fit(X, y)
    assert len(caught) == 1
    assert len(searched.cv_results_["params"]) == 3


def test_a_search_ends_with_a_fit_that_was_interrupted_in_its_first_epoch():
    Interrupted.left = 1
    with pytest.raises(KeyboardInterrupt):
        search().fit(X, y)


@pytest.mark.parametrize("callbacks", [None, [Callback()]])
def test_an_interrupted_scoring_leaves_whole_epochs_and_warns(callbacks):
    calls = []

    def scorer(estimator, X, y):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.5

    fitted = embedder(max_epochs=9, scoring=scorer, callbacks=callbacks)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 9"):
        fitted.fit(X, y, validation_data=(X, y))
    assert fitted.n_iter_ == 2
    assert fitted.net_.interrupted_
    assert all({"valid_score", "duration"} <= row.keys() for row in fitted.history_)


@pytest.mark.parametrize(
    ("event", "epoch"),
    [("on_train_begin", 0), ("on_epoch_begin", 1), ("on_batch_end", 1)],
)
def test_interrupted_before_the_first_epoch_is_complete(event, epoch):
    estimator = embedder(callbacks=[Raising(event, epoch, stop)])
    for fit in estimator.fit, estimator.partial_fit:
        with pytest.raises(KeyboardInterrupt):
            fit(X, y)
    assert not hasattr(estimator, "net_")


@pytest.mark.parametrize("raise_it", [stop, press_ctrl_c])
@pytest.mark.parametrize("event", ["on_epoch_begin", "on_batch_end"])
def test_interrupted_within_a_later_epoch(event, raise_it):
    fitted = embedder(callbacks=[Raising(event, 3, raise_it)])
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 3"):
        fitted.fit(X, y)
    assert fitted.n_iter_ == 2
    assert fitted.net_.interrupted_


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_callback_stops_the_fit_at_the_end_of_an_epoch(epoch, tmp_path):
    stopping = Raising("on_epoch_end", epoch, stop)
    params = {"callbacks": [stopping], "checkpoint_dir": tmp_path}
    for _ in range(2):  # the second time it is only loaded; none warns
        fitted = embedder(**params).fit(X, y)
        assert fitted.n_iter_ == epoch
        assert not fitted.net_.interrupted_


class Busy(Recorder):
    """Is at work at the end of the second epoch, when Ctrl-C arrives, once."""

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == 1:
            self.on_fit_task_end = lambda *args: None
            press_ctrl_c()


@pytest.mark.parametrize("where", ["callback of scikit-learn", "checkpoint"])
def test_ctrl_c_at_the_end_of_an_epoch_is_no_stop(where, tmp_path, monkeypatch):
    expected = embedder().fit(X, y)
    interrupted = embedder(checkpoint_dir=tmp_path)
    if where == "checkpoint":
        save = _callbacks.SaveCheckpoint.on_epoch_end

        def on_epoch_end(self, net, **kwargs):
            save(self, net)
            if len(net.history) == 2:
                press_ctrl_c()

        monkeypatch.setattr(_callbacks.SaveCheckpoint, "on_epoch_end", on_epoch_end)
    else:
        interrupted.set_callbacks(Busy())
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 3"):
        interrupted.fit(X, y)
    assert interrupted.n_iter_ == 2
    assert interrupted.net_.interrupted_
    monkeypatch.undo()
    assert_same(interrupted.set_callbacks().fit(X, y), expected)


# Progress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    # pytest sets sys.stderr itself, after the fixtures.
    seen = SimpleNamespace(stderr=stream, modules=sys.modules)
    monkeypatch.setattr(_callbacks, "sys", seen)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    return stream


def drawn(terminal):
    """Return what is left of the last line that was drawn over."""
    return terminal.getvalue().split("\r")[-1]


@pytest.mark.parametrize("name", ["loss", "score"])
def test_terminals_show_a_bar_and_end_its_line(name, terminal, capsys):
    data = {"validation_data": (X, y)} if name == "score" else {}
    n_threads = threading.active_count()
    fitted = quick(verbose=1).fit(X, y, **data)
    assert threading.active_count() == n_threads
    assert capsys.readouterr() == ("", "")
    facts = f"loss {fitted.loss_curve_[-1]:.4g}"
    if data:
        facts += f", score {fitted.history_[-1]['valid_score']:.3f}"
    last = drawn(terminal)
    assert re.fullmatch(
        rf"CircleEmbedder: epoch 3/3 █+ 00:\d\d<00:00, {re.escape(facts)} *\n", last
    )
    assert all(len(line) < 100 for line in terminal.getvalue().split("\r"))


def test_bars_move_within_epochs(terminal, monkeypatch):
    monkeypatch.setattr(_callbacks.Bar, "__init__", undelayed_bar)
    quick(verbose=1, batch_size=8, max_epochs=2).fit(X, y)
    lines = [line for line in terminal.getvalue().split("\r") if "loss" in line]
    shares = [line.count("█") for line in lines]
    assert shares == sorted(shares)
    assert len(set(shares)) > 6
    assert "epoch 1/2" in lines[0]
    assert "epoch 2/2" in lines[-1]


def undelayed_bar(self, **params):
    super(_callbacks.Bar, self).__init__(mininterval=0, miniters=1, **params)


def test_bars_of_trainings_that_go_on_or_stop_early(terminal):
    embedder = quick(verbose=1, warm_start=True).fit(X, y)
    embedder.set_callbacks(Recorder(stop_after=2)).fit(X, y)
    first, second = terminal.getvalue().split("\n")[:2]
    assert " epoch 1/3 " in first
    begin, end = second.split("\r")[1], second.split("\r")[-1]
    assert re.match(r"CircleEmbedder: epoch 4/6 █+", begin)  # those of before are done
    assert re.match(r"CircleEmbedder: epoch 5/6 █+ 00:\d\d<00:00", end)


def test_terminals_that_go_away_stop_no_training(terminal):
    terminal.close()
    assert quick(verbose=1).fit(X, y).n_iter_ == 3


def test_the_line_of_the_bar_ends_before_an_error(terminal):
    class Fail(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        quick(verbose=1, callbacks=[Fail]).fit(X, y)
    assert "epoch 1/3" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_checkpoints_are_announced(verbose, terminal, capsys, tmp_path):
    class Stop(SavedCallback):
        is_over = False

        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 3 and not Stop.is_over:
                Stop.is_over = True
                raise KeyboardInterrupt

    params = {"checkpoint_dir": tmp_path, "max_epochs": 4, "callbacks": [Stop()]}
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 4"):
        quick(**params).fit(X, y)
    for _ in range(2):
        quick(**params, verbose=verbose).fit(X, y)
    path = str(tmp_path / "checkpoint.safetensors")
    begin = f"CircleEmbedder: goes on after epoch 2, from {path!r}"
    end = f"CircleEmbedder: was trained already, loaded from {path!r}"
    out, shown = capsys.readouterr().out, terminal.getvalue()
    if verbose == 2:
        lines = out.splitlines()
        assert [lines[0], lines[-1]] == [begin, end]
        assert [line[:9] for line in lines[1:-1]] == ["epoch 3/4", "epoch 4/4"]
    else:
        assert out == ""
    if verbose == 1:
        assert shown.replace("\r", "").startswith(f"{begin}\n")
        assert shown.replace("\r", "").endswith(f"\n{end}\n")
        assert "epoch 4/4" in shown
    else:
        assert shown == ""


@pytest.mark.parametrize("where", ["pipe", "worker", "no standard error"])
def test_nothing_is_shown_elsewhere(where, terminal, capfd, monkeypatch):
    if where == "worker":
        process = SimpleNamespace(name="LokyProcess-1")
        monkeypatch.setattr("multiprocessing.current_process", lambda: process)
    else:
        stream = None if where == "no standard error" else sys.__stderr__
        monkeypatch.setattr(_callbacks.sys, "stderr", stream)
    quick(verbose=1).fit(X, y)
    assert capfd.readouterr() == ("", "")
    assert terminal.getvalue() == ""


@pytest.mark.slow
def test_workers_are_known_by_their_name():
    def name_of_process():  # a local function, so that the worker imports nothing
        import multiprocessing

        return multiprocessing.current_process().name

    (name,) = Parallel(n_jobs=2)([delayed(name_of_process)()])
    assert name != "MainProcess"


@pytest.mark.parametrize("has_kernel", [True, False])
def test_notebooks_show_a_bar(has_kernel, monkeypatch):
    shell = SimpleNamespace(kernel=0) if has_kernel else SimpleNamespace()
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    stream = io.StringIO()  # as that of a notebook, it is no terminal
    seen = SimpleNamespace(stderr=stream, modules=sys.modules)
    monkeypatch.setattr(_callbacks, "sys", seen)
    quick(verbose=1).fit(X, y)
    assert ("epoch 3/3" in stream.getvalue()) == has_kernel


def test_notebooks_without_widgets_are_not_warned_of(monkeypatch):
    class ZMQInteractiveShell:
        pass

    ipython = SimpleNamespace(get_ipython=ZMQInteractiveShell)
    for name, module in {
        "IPython": ipython,
        "ipykernel.zmqshell": ipython,
        "ipywidgets": None,
        "IPython.html": None,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)

    def forget():
        for name in "tqdm.auto", "tqdm.autonotebook", "tqdm.notebook":
            monkeypatch.delitem(sys.modules, name, raising=False)

    forget()
    with pytest.warns(tqdm.TqdmWarning, match="IProgress not found"):
        importlib.import_module("tqdm.auto")
    forget()
    filters = [*warnings.filters]
    spec = importlib.util.spec_from_file_location("again", _callbacks.__file__)
    again = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        spec.loader.exec_module(again)
    assert not record
    assert warnings.filters == filters
    assert issubclass(again.Bar, tqdm.std.tqdm)


def test_lines_of_epochs(capfd):
    fitted = quick(verbose=2).fit(X, y, validation_data=(X, y))
    out, err = capfd.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["epoch", f"{i}/3"] for i in (1, 2, 3)]
    assert [line[3] for line in lines] == [f"{x:.4f}" for x in fitted.loss_curve_]
    scores = [f"{row['valid_score']:.4f}" for row in fitted.history_]
    assert [line[5] for line in lines] == scores
    assert err == ""


@pytest.mark.parametrize("verbose", [1, 2])
def test_showing_changes_nothing(verbose, terminal):
    shown, silent = quick(verbose=verbose).fit(X, y), quick().fit(X, y)
    np.testing.assert_array_equal(shown.transform(X), silent.transform(X))
