"""Callbacks of skorch that cannot work are refused before the first epoch."""

import signal

import numpy as np
import pytest
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
from sk_dml._training._net import EmbeddingNet
from tests._training.small import X, embedder, y


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
        (EarlyStopping(monitor="train_loss_best"), {}, "train_loss_best"),
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
        r"\[.*'train_loss'\]. early_stopping=True or validation_data add 'valid_score'"
    )
    for fit in estimator.fit, estimator.partial_fit:
        with pytest.raises(ValueError, match=message):
            fit(X, y)
    assert not hasattr(estimator, "net_")
    if monitor != "valid_score":
        with pytest.raises(ValueError, match=r"'valid_score'\]. Of scores the larger"):
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


class Recorder(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("valid_loss", 1.0)


def test_what_somebody_records_can_be_monitored():
    stop = EarlyStopping(patience=1)
    for recorder in Recorder(), EpochScoring(lambda *_: 1.0, name="valid_loss"):
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


class Interrupted(Callback):
    """Stands for a user who presses Ctrl-C while a callback is at work."""

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


class Stopping(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_an_interruption_within_an_epoch_is_none_by_a_callback():
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 3"):
        assert embedder(callbacks=[Interrupted()]).fit(X, y).n_iter_ == 1
    assert embedder(callbacks=[Stopping()]).fit(X, y).n_iter_ == 1
