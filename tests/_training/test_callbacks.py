import importlib.util
import pickle
import traceback
import warnings

import numpy as np
import pytest
import skorch
import torch
from sklearn.base import clone
from sklearn.callback import AutoPropagatedCallback, FitCallback, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import CircleEmbedder, map_at_r
from sk_dml.metrics import map_at_r_score
from sk_dml.scorers import retrieval_scorer

rng = np.random.default_rng(0)
y = np.repeat(["a", "b", "c", "d"], 10)
X = rng.normal(size=(40, 3)) + 2 * (np.arange(40) // 10)[:, None]


def quick(*callbacks, **params):
    settings = {"max_epochs": 3, "random_state": 0, **params}
    return CircleEmbedder(**settings).set_callbacks(*callbacks)


class Recorder:
    """Keeps what it was told; may stop the fit or fail."""

    def __init__(self, stop_after=None, fails_in=None):
        self.stop_after, self.fails_in = stop_after, fails_in
        self.told = []

    def tell(self, hook, context):
        self.told.append((hook, context.task_name, context.task_id))
        if hook == self.fails_in:
            raise RuntimeError("no more disk")

    def setup(self, estimator, context):
        self.tell("setup", context)

    def on_fit_task_begin(self, estimator, context):
        self.tell("on_fit_task_begin", context)

    def on_fit_task_end(self, estimator, context):
        self.tell("on_fit_task_end", context)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.tell("teardown", context)

    def hooks(self):
        return [hook for hook, _, _ in self.told]


class Keeper(Recorder):
    """Keeps the embedder as it is at the end of every task."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.kept.append((context, X, y, fitted_estimator))


class Propagated(Recorder):
    max_propagation_depth = None


# What callbacks hear


def test_tasks_are_the_fit_and_its_epochs():
    recorder = Recorder()
    quick(recorder, max_epochs=2).fit(X, y)
    assert recorder.told == [
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
    embedder = quick(keeper).fit(X, y)
    *epochs, whole = keeper.kept
    assert whole[0].max_subtasks == 3
    for n, (context, seen_X, seen_y, fitted) in enumerate(epochs, 1):
        assert context.parent is whole[0]
        assert seen_X is X
        assert seen_y is y
        assert fitted is not embedder
        assert fitted.n_iter_ == len(fitted.history_) == n
        assert fitted.loss_curve_ == embedder.loss_curve_[:n]
        assert list(fitted.classes_) == ["a", "b", "c", "d"]
        assert list(fitted.get_feature_names_out()) == list(
            embedder.get_feature_names_out()
        )
        # A schedule spreads over max_epochs, so a shorter fit is no reference.
        assert np.isfinite(fitted.transform(X)).all()
    embeddings = [fitted.transform(X) for *_, fitted in keeper.kept]
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-4
    np.testing.assert_array_equal(embeddings[2], embedder.transform(X))
    np.testing.assert_array_equal(embeddings[3], embedder.transform(X))


def test_a_kept_embedder_is_that_of_a_fit_that_stopped_there():
    keeper = Keeper()
    quick(keeper, lr_schedule=None).fit(X, y)
    for n, (*_, fitted) in enumerate(keeper.kept[:3], 1):
        shorter = quick(lr_schedule=None, max_epochs=n).fit(X, y)
        np.testing.assert_array_equal(fitted.transform(X), shorter.transform(X))
        restored = pickle.loads(pickle.dumps(fitted.set_callbacks()))
        np.testing.assert_array_equal(restored.transform(X), shorter.transform(X))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_kept_embedder_on_cuda():
    keeper = Keeper()
    embedder = quick(keeper, device="cuda").fit(X, y)
    embeddings = [fitted.transform(X) for *_, fitted in keeper.kept]
    np.testing.assert_array_equal(embeddings[-1], embedder.transform(X))
    assert np.abs(embeddings[0] - embeddings[-1]).max() > 1e-4


def test_scoring_monitor():
    scorer = retrieval_scorer("map_at_r", "precision_at_1")
    by_names = ScoringMonitor(scoring=scorer)
    by_dict = ScoringMonitor(scoring={"MAP": map_at_r})
    embedder = quick(by_names, by_dict).fit(X, y)
    log = by_names.get_logs().data
    assert [row["task_name"] for row in log] == ["fit", *["epoch"] * 3]
    final = map_at_r_score(embedder.transform(X), y)
    assert log[0]["map_at_r"] == log[-1]["map_at_r"] == final
    assert log[1]["map_at_r"] != final
    assert 0 < log[0]["precision_at_1"] <= 1
    names = [row["map_at_r"] for row in log]
    assert [row["MAP"] for row in by_dict.get_logs().data] == names
    # Looking on changes nothing.
    np.testing.assert_array_equal(embedder.transform(X), quick().fit(X, y).transform(X))


@pytest.mark.skipif(not importlib.util.find_spec("rich"), reason="needs rich")
def test_progress_bar(capsys):
    from sklearn.callback import ProgressBar

    quick(ProgressBar()).fit(X, y)
    assert "CircleEmbedder - fit" in capsys.readouterr().out


def test_without_callbacks_nothing_is_left_behind():
    embedder = quick(Recorder()).fit(X, y)
    assert embedder.net_.watchers_ == ()
    left = {name for name in vars(embedder) if "callback" in name}
    assert left == {"callbacks", "_skl_callbacks"}
    embedder.set_callbacks().fit(X, y)
    pickle.dumps(embedder)


# Stopping


def test_a_callback_stops_the_fit_by_its_return_value():
    recorder = Recorder(stop_after=2)
    embedder = quick(recorder, max_epochs=5).fit(X, y)  # and warns of nothing
    assert embedder.n_iter_ == len(embedder.loss_curve_) == 2
    assert recorder.told[-3:] == [
        ("on_fit_task_end", "epoch", 1),
        ("on_fit_task_end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    kept = quick(max_epochs=2, lr_schedule=None).fit(X, y)
    stopped = quick(Recorder(stop_after=2), lr_schedule=None).fit(X, y)
    np.testing.assert_array_equal(stopped.transform(X), kept.transform(X))
    assert stopped.set_callbacks().fit(X, y).n_iter_ == 3


# Meta-estimators


def test_pipelines_propagate():
    recorder = Propagated()
    steps = StandardScaler(), quick(), KNeighborsClassifier()
    pipeline = make_pipeline(*steps).set_callbacks(recorder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The estimator KNeighborsClassifier does not")
        pipeline.fit(X, y)
    assert isinstance(recorder, AutoPropagatedCallback)
    assert [told for told in recorder.told if told[1] == "epoch"] == [
        (hook, "epoch", i)
        for i in range(3)
        for hook in ("on_fit_task_begin", "on_fit_task_end")
    ]
    hooks = recorder.hooks()
    assert (hooks.count("setup"), hooks.count("teardown")) == (1, 1)
    assert not hasattr(pipeline[1], "_skl_callbacks")


def test_searches_propagate_and_clones_keep_callbacks():
    recorder, monitor = Propagated(), ScoringMonitor(scoring={"MAP": map_at_r})
    embedder = quick(monitor, max_epochs=2)
    assert clone(embedder)._skl_callbacks == [monitor]
    search = GridSearchCV(embedder, {"margin": [0.2, 0.4]}, scoring=map_at_r, cv=2)
    search.set_callbacks(recorder).fit(X, y)
    epochs = [told for told in recorder.told if told[1] == "epoch"]
    assert len(epochs) == 2 * 2 * (2 * 2 + 1)  # begin and end; epochs; 4 fits and refit
    assert len(monitor.get_logs().data) == (2 + 1) * (2 * 2 + 1)


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


# Failures


@pytest.mark.parametrize(
    "hook", ["setup", "on_fit_task_begin", "on_fit_task_end", "teardown"]
)
@pytest.mark.parametrize("n_others", [0, 1])
def test_errors_name_the_callback_and_all_are_torn_down(hook, n_others):
    others = [Propagated() for _ in range(n_others)]
    failing = Recorder(fails_in=hook)
    embedder = quick(*others, failing)
    with pytest.raises(RuntimeError, match="no more disk") as caught:
        embedder.fit(X, y)
    assert caught.value.__notes__ == [f"Raised by the callback Recorder in {hook}."]
    for recorder in [*others, failing]:
        assert recorder.hooks().count("teardown") == 1
    failing.fails_in = None
    assert embedder.fit(X, y).n_iter_ == 3


def test_errors_of_several_teardowns_all_name_their_callback():
    class Other(Recorder):
        pass

    with pytest.raises(ExceptionGroup) as caught:
        quick(Recorder(fails_in="teardown"), Other(fails_in="teardown")).fit(X, y)
    notes = [error.__notes__[0] for error in caught.value.exceptions]
    assert notes == [
        f"Raised by the callback {name} in teardown." for name in ("Recorder", "Other")
    ]


def test_an_error_behind_that_of_a_teardown_names_its_callback():
    class Other(Recorder):
        pass

    callbacks = Recorder(fails_in="on_fit_task_end"), Other(fails_in="teardown")
    with pytest.raises(RuntimeError) as caught:
        quick(*callbacks).fit(X, y)
    text = "".join(traceback.format_exception(caught.value))
    assert "Raised by the callback Recorder in on_fit_task_end." in text
    assert "Raised by the callback Other in teardown." in text


def test_errors_of_skorch_callbacks_name_them():
    class Fail(skorch.callbacks.Callback):
        def on_batch_end(self, net, **kwargs):
            raise RuntimeError("no more disk")

    recorder = Recorder()
    for given, name in ((Fail, "Fail"), (("mine", Fail()), "mine")):
        with pytest.raises(RuntimeError, match="no more disk") as caught:
            quick(recorder, callbacks=[given]).fit(X, y)
        note = f"Raised by the callback {name} in on_batch_end."
        assert caught.value.__notes__ == [note]
    assert recorder.hooks().count("teardown") == 2


def test_other_errors_name_no_callback_and_tear_down():
    recorder = Recorder()
    with pytest.raises(ValueError, match="diverged") as caught:
        quick(recorder, lr=1e38, optimizer="sgd", lr_schedule=None, max_epochs=20).fit(
            X, y
        )
    assert not hasattr(caught.value, "__notes__")
    assert recorder.hooks()[-1] == "teardown"


def test_bad_data_is_refused_before_callbacks_hear_of_a_fit():
    recorder = Recorder()
    with pytest.raises(ValueError, match="0 sample"):
        quick(recorder).fit(X[:0], y[:0])
    assert recorder.told == []


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


@pytest.mark.parametrize("hook", ["__init__", "initialize"])
def test_errors_of_skorch_callbacks_name_them_before_the_net_is_ready(hook):
    def fail(self):
        raise RuntimeError("no more disk")

    failing = type("Fail", (skorch.callbacks.Callback,), {hook: fail})
    fail.__code__ = fail.__code__.replace(co_name=hook)
    with pytest.raises(RuntimeError, match="no more disk") as caught:
        quick(callbacks=[failing]).fit(X, y)
    assert caught.value.__notes__ == [f"Raised by the callback Fail in {hook}."]


def test_errors_name_callbacks_that_call_themselves_otherwise():
    class This:
        def setup(this, estimator, context):  # noqa: N805
            raise RuntimeError("no more disk")

        on_fit_task_begin = on_fit_task_end = teardown = lambda *args, **kwargs: None

    with pytest.raises(RuntimeError) as caught:
        quick(This()).fit(X, y)
    assert caught.value.__notes__ == ["Raised by the callback This in setup."]


def test_failures_in_a_search_name_the_callback():
    search = GridSearchCV(
        quick(Recorder(fails_in="setup")), {"margin": [0.4]}, scoring=map_at_r, cv=2
    )
    with pytest.raises(ValueError, match="Raised by the callback Recorder in setup"):
        search.fit(X, y)
