"""Small data and embedders, for tests that look at every number of a training."""

import numpy as np
import pytest
import skorch
import torch

from sk_dml import CircleEmbedder
from sk_dml._training._net import EmbeddingNet

X = np.random.default_rng(0).normal(size=(40, 3))
y = np.arange(40) % 4


def embedder(cls=CircleEmbedder, **params):
    """Make an embedder of 3 epochs of 2 batches each."""
    small = {"module__hidden": (8,)}
    settings = {"max_epochs": 3, "random_state": 0, "batch_size": 20, **params}
    if settings.get("module") is None:
        settings["net_params"] = {**small, **(settings.get("net_params") or {})}
    return cls(**settings)


class Interrupted(torch.optim.SGD):
    """Stands for a user who interrupts at a step of all fits, counted through."""

    left = 0

    def step(self, closure=None):
        Interrupted.left -= 1
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        return super().step(closure)


class Killed(BaseException):
    """Stands for what nothing can catch."""


def killed_fit(monkeypatch, estimator, X, y, *, step):
    """Fit, but die at a step of the training."""
    steps = []

    def on_batch_end(net, *args, **kwargs):
        steps.append(net)
        if len(steps) == step:
            raise Killed
        return original(net, *args, **kwargs)

    original = EmbeddingNet.on_batch_end
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingNet, "on_batch_end", on_batch_end)
        with pytest.raises(Killed):
            estimator.fit(X, y)


def parameters(estimator):
    """Copy what is learned: batch statistics move at any learning rate."""
    net = estimator.net_
    learned = [*net.module_.parameters(), *net.criterion_.parameters()]
    return [parameter.detach().clone() for parameter in learned]


def assert_same(one, other):
    """Two embedders have the same weights, and got there alike."""
    one_state, other_state = _state(one), _state(other)
    assert list(one_state) == list(other_state)
    for name, value in one_state.items():
        assert torch.equal(value, other_state[name]), name
    assert one.loss_curve_ == other.loss_curve_
    assert one.n_iter_ == other.n_iter_
    assert one.best_score_ == other.best_score_
    assert one.best_epoch_ == other.best_epoch_


def _state(estimator):
    net = estimator.net_
    state = {**net.module_.state_dict(), **net.criterion_.state_dict()}
    return {name: torch.as_tensor(value) for name, value in state.items()}


class EpochCounter(skorch.callbacks.Callback):
    """A callback without a state that could be saved."""

    epochs = 0
    seen = None

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        type(self).seen = self.epochs


class Script:
    """A scorer that returns what it was told to, and remembers what it saw."""

    def __init__(self, *scores):
        self.scores, self.seen = list(scores), []

    def __call__(self, estimator, X, y):
        self.seen.append((estimator.transform(X), X, y))
        return self.scores[len(self.seen) - 1]
