"""A training that is stopped anyhow goes on, and ends as if it had not been."""

import json
import os
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from skorch.callbacks import Callback

from sk_dml import CircleEmbedder
from sk_dml._training._checkpoint import NAME
from sk_dml._training._checkpoint import NAME as LOCK
from sk_dml._training._net import EmbeddingNet
from sk_dml.utils import all_embedders
from tests._training import small
from tests._training.small import (
    EpochCounter,
    Interrupted,
    X,
    assert_same,
    killed_fit,
    y,
)

embedder = partial(small.embedder, max_epochs=4)
images = np.random.default_rng(1).normal(size=(40, 8, 8)).astype(np.float32)


# Resuming


@pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)
def test_every_method_ends_as_if_undisturbed(cls, tmp_path, monkeypatch):
    expected = embedder(cls).fit(X, y)
    resumed = embedder(cls, checkpoint_dir=tmp_path)
    killed_fit(monkeypatch, resumed, X, y, step=6)
    assert not hasattr(resumed, "net_")
    resumed = embedder(cls, checkpoint_dir=tmp_path).fit(X, y)
    assert_same(resumed, expected)


@pytest.mark.parametrize(
    "params",
    [
        {"memory_size": 30, "memory_warm_up": 0.0},
        {"lr_schedule": None},
        {"lr_schedule": "onecycle", "max_epochs": 8},
        {"samples_per_class": 2},
        {"optimizer": "adam"},
        {"optimizer": "rmsprop", "net_params": {"optimizer__momentum": 0.5}},
        {"optimizer": "sgd", "net_params": {"optimizer__momentum": 0.9}},
        {"optimizer": torch.optim.NAdam},
        {"optimizer": torch.optim.Adagrad},
        {"module": torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout())},
    ],
    ids=lambda params: "-".join(params),
)
def test_settings_end_as_if_undisturbed(params, tmp_path, monkeypatch):
    if isinstance(params.get("module"), torch.nn.Module):
        settings = {**params, "n_components": 8, "random_state": 0, "max_epochs": 4}

        def make(**more):
            return CircleEmbedder(batch_size=20, **settings, **more)
    else:

        def make(**more):
            return embedder(**params, **more)

    expected = make().fit(X, y)
    for step in (1, 4, 3):
        killed_fit(monkeypatch, make(checkpoint_dir=tmp_path), X, y, step=step)
    assert_same(make(checkpoint_dir=tmp_path).fit(X, y), expected)


def test_images_with_batch_norm_and_workers(tmp_path, monkeypatch):
    def make(**more):
        params = {"module__widths": (4, 4), "iterator_train__num_workers": 1}
        return CircleEmbedder(
            max_epochs=2, random_state=0, batch_size=20, net_params=params, **more
        )

    expected = make().fit(images, y)
    killed_fit(monkeypatch, make(checkpoint_dir=tmp_path), images, y, step=3)
    assert_same(make(checkpoint_dir=tmp_path).fit(images, y), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_goes_on(tmp_path, monkeypatch):
    expected = embedder(device="cuda").fit(X, y)
    resumed = embedder(device="cuda", checkpoint_dir=tmp_path)
    killed_fit(monkeypatch, resumed, X, y, step=5)
    resumed.fit(X, y)
    np.testing.assert_allclose(resumed.transform(X), expected.transform(X), atol=1e-5)
    cpu = embedder(device="cpu", checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="device was 'cuda' and is 'cpu'"):
        cpu.fit(X, y)


def test_without_random_state_the_seeds_are_in_the_checkpoint(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    params = {"random_state": None}
    killed_fit(monkeypatch, embedder(checkpoint_dir=first, **params), X, y, step=1)
    shutil.copytree(first, second)
    resumed = embedder(checkpoint_dir=first, **params).fit(X, y)
    again = embedder(checkpoint_dir=second, **params).fit(X, y)
    assert_same(again, resumed)
    assert again.net_.sampling_seed == resumed.net_.sampling_seed
    other = embedder(**params).fit(X, y)
    assert (other.transform(X) != resumed.transform(X)).any()


def test_random_state_instance(tmp_path, monkeypatch):
    expected = embedder(random_state=np.random.RandomState(3)).fit(X, y)
    for step in (3, None):
        state = np.random.RandomState(3)
        resumed = embedder(checkpoint_dir=tmp_path, random_state=state)
        if step:
            killed_fit(monkeypatch, resumed, X, y, step=step)
    assert_same(resumed.fit(X, y), expected)


def test_a_training_at_its_end_is_only_loaded(tmp_path, monkeypatch):
    first = embedder(checkpoint_dir=tmp_path).fit(X, y)
    content = (tmp_path / NAME).read_bytes()
    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    again = embedder(checkpoint_dir=tmp_path).fit(X, y)
    assert_same(again, first)
    assert (tmp_path / NAME).read_bytes() == content
    np.testing.assert_array_equal(again.transform(X), first.transform(X))


def test_checkpoints_change_nothing_and_leave_one_file_and_a_lock(tmp_path):
    plain = embedder().fit(X, y)
    state = torch.get_rng_state()
    saved = embedder(checkpoint_dir=tmp_path / "new" / "one").fit(X, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(saved, plain)
    assert {*os.listdir(tmp_path / "new" / "one")} == {NAME, LOCK}
    copy = pickle.loads(pickle.dumps(saved))
    np.testing.assert_array_equal(copy.transform(X), plain.transform(X))
    with safe_open(tmp_path / "new" / "one" / NAME, "np") as file:
        assert json.loads(file.metadata()["sk_dml"])["n_epochs"] == 4


def test_interruption_goes_on_too(tmp_path):
    expected = embedder(optimizer=Interrupted).fit(X, y)
    resumed = embedder(optimizer=Interrupted, checkpoint_dir=tmp_path)
    Interrupted.left = 3
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 4"):
        resumed.fit(X, y)
    assert resumed.n_iter_ == len(resumed.history_) == 1
    assert_same(resumed.fit(X, y), expected)


# More epochs


def same_score(estimator, X, y):
    return 0.5


HELD_OUT = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 9}
ENDLESS = [
    {"lr_schedule": None},
    {"lr_schedule": None, "net_params": {"lr_schedule__warmup": 2}},
    {"lr_schedule": "step", "net_params": {"lr_schedule__step_size": 2}},
    {"lr_schedule": None, **HELD_OUT},
    {
        "lr_schedule": "plateau",
        "net_params": {"lr_schedule__patience": 2},
        "scoring": same_score,
        **HELD_OUT,
    },
    {"lr_schedule": None, "memory_size": 30, "memory_warm_up": 0.0},
]


@pytest.mark.parametrize("params", ENDLESS, ids=range(len(ENDLESS)))
def test_more_epochs_end_as_if_planned(params, tmp_path, monkeypatch):
    expected = embedder(max_epochs=9, **params).fit(X, y)
    assert embedder(max_epochs=3, checkpoint_dir=tmp_path, **params).fit(X, y)
    longer = embedder(max_epochs=6, checkpoint_dir=tmp_path, **params)
    killed_fit(monkeypatch, longer, X, y, step=3)
    longer.set_params(max_epochs=9).fit(X, y)
    assert_same(longer, expected)
    rates = [row["lr"] for row in expected.history_]
    assert [row["lr"] for row in longer.history_] == rates
    assert len(set(rates)) > (params["lr_schedule"] is not None)


# Warm starts


@pytest.mark.parametrize("n_before", [0, 1])
def test_an_interrupted_warm_start_goes_on(n_before, tmp_path):
    params = {"optimizer": Interrupted, "warm_start": True, "early_stopping": True}
    params |= {"validation_fraction": 0.3}
    expected, resumed = embedder(**params), embedder(**params)
    for _ in range(n_before):
        expected.fit(X, y)
        resumed.fit(X, y)
    expected.fit(X, y)
    resumed.set_params(checkpoint_dir=tmp_path)
    done = 4 * n_before
    n_steps = len(expected.net_._batches(28, y[:28]))  # the others are held out
    for last, steps in (1, n_steps + 1), (3, 2 * n_steps + 1):
        Interrupted.left = steps
        message = f"interrupted in epoch {done + last + 1} of {done + 4}"
        with pytest.warns(UserWarning, match=message):
            resumed.fit(X, y)
        assert resumed.n_iter_ == done + last
    assert_same(resumed.fit(X, y), expected)
    # It has come to its end, so that the next fit is another.
    with pytest.raises(ValueError, match="the fit before was"):
        resumed.fit(X, y)
    expected.fit(X, y)
    resumed.set_params(checkpoint_dir=tmp_path / "next").fit(X, y)
    assert_same(resumed, expected)


def test_an_interrupted_warm_start_elsewhere_goes_on_from_what_there_is(tmp_path):
    params = {"optimizer": Interrupted, "warm_start": True}
    interrupted = []
    for i in range(2):
        interrupted.append(embedder(**params, checkpoint_dir=tmp_path / str(i)))
        Interrupted.left = 3
        with pytest.warns(UserWarning, match="interrupted in epoch 2 of 4"):
            interrupted[i].fit(X, y)
    interrupted[0].set_params(checkpoint_dir=None).fit(X, y)
    interrupted[1].set_params(checkpoint_dir=tmp_path / "next").fit(X, y)
    assert interrupted[0].n_iter_ == 1 + 4
    assert_same(*interrupted)


def test_one_fit_at_a_time(tmp_path):
    class Fit(Callback):
        def on_epoch_end(self, net, **kwargs):
            with pytest.raises(BlockingIOError, match="is in use by another fit"):
                embedder(checkpoint_dir=tmp_path).fit(X, y)

    other = embedder(max_epochs=1, callbacks=[Fit()], checkpoint_dir=tmp_path)
    other.fit(X, y)
    with pytest.raises(ValueError, match="another training"):  # it is free again
        embedder(checkpoint_dir=tmp_path).fit(X, y)


# Early stops, and callbacks that have a state of their own


def test_a_training_that_stopped_early_is_only_loaded(tmp_path, monkeypatch):
    params = {"scoring": same_score, **HELD_OUT, "n_iter_no_change": 2}
    params |= {"lr_schedule": None, "max_epochs": 9, "checkpoint_dir": tmp_path}
    stopped = embedder(**params).fit(X, y)
    assert stopped.n_iter_ == 3
    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    assert_same(embedder(**params).fit(X, y), stopped)


class SavedEpochCounter(EpochCounter):
    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


def test_callbacks_go_on_if_they_can_or_warn(tmp_path, monkeypatch):
    for cls, name in (SavedEpochCounter, "saved"), (EpochCounter, "plain"):
        resumed = embedder(callbacks=[cls()], checkpoint_dir=tmp_path / name)
        killed_fit(monkeypatch, resumed, X, y, step=5)
        if cls is EpochCounter:
            with pytest.warns(
                UserWarning, match=r"1 of the callbacks begin anew: \['E"
            ):
                resumed.fit(X, y)
        else:
            resumed.fit(X, y)
    assert SavedEpochCounter.seen == 4
    assert EpochCounter.seen == 2


def test_a_training_that_a_callback_ended_has_ended(tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    settings = {"max_epochs": 5, "checkpoint_dir": tmp_path, "callbacks": [Stop()]}
    stopped = embedder(**settings).fit(X, y)
    assert stopped.n_iter_ == 2
    again = embedder(**settings).fit(X, y)  # and warns of nothing that continues
    assert again.n_iter_ == 2
    assert_same(again, stopped)
