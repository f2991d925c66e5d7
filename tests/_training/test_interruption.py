"""What Ctrl-C ends."""

import signal

import pytest
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sk_dml import map_at_r
from tests._training.small import Interrupted, X, assert_same, embedder, y


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
    assert all({"valid_score", "duration"} <= row.keys() for row in fitted.history_)


class InterruptedCallback(Callback):
    """Raises, as a signal that arrives in it does, in an event of some epoch."""

    def __init__(self, event, epoch):
        self.event, self.epoch = event, epoch

    def initialize(self):
        setattr(self, self.event, self.interrupt)
        return self

    def interrupt(self, net, *args, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("event", "epoch"),
    [("on_train_begin", 0), ("on_epoch_begin", 1), ("on_batch_end", 1)],
)
def test_interrupted_in_a_callback_before_the_first_epoch_is_complete(event, epoch):
    estimator = embedder(callbacks=[InterruptedCallback(event, epoch)])
    for fit in estimator.fit, estimator.partial_fit:
        with pytest.raises(KeyboardInterrupt):
            fit(X, y)
    assert not hasattr(estimator, "net_")


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_batch_end"])
def test_interrupted_in_a_callback_within_a_later_epoch(event):
    fitted = embedder(callbacks=[InterruptedCallback(event, 3)])
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 3"):
        fitted.fit(X, y)
    assert fitted.n_iter_ == 2


def test_a_callback_stops_the_fit_at_the_end_of_an_epoch():
    for epoch in (1, 2):  # and warns of nothing
        stop = InterruptedCallback("on_epoch_end", epoch)
        assert embedder(callbacks=[stop]).fit(X, y).n_iter_ == epoch


class Busy(Callback):
    """Is at work at the end of the second epoch, when Ctrl-C arrives."""

    pressed = False

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2 and not Busy.pressed:
            Busy.pressed = True
            signal.raise_signal(signal.SIGINT)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_ctrl_c_while_a_callback_ends_an_epoch_is_no_stop_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Busy, "pressed", False)
    interrupted = embedder(callbacks=[Busy()], checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 3"):
        interrupted.fit(X, y)
    assert interrupted.n_iter_ == 2
    expected = embedder().fit(X, y)
    assert_same(interrupted.fit(X, y), expected)
