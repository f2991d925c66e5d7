import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from sk_dml.losses import NormalizedSoftmaxLoss
from skorch.callbacks import Callback

from sk_dml._training._net import EmbeddingNet, StopTraining


def make_net(**params):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    settings = {
        "criterion": NormalizedSoftmaxLoss(2, 4),
        "optimizer": torch.optim.AdamW,
        "batch_size": 4,
        "max_epochs": 3,
        "train_split": None,
        "lr": 0.01,
        "verbose": 0,
        **params,
    }
    return EmbeddingNet(module, **settings)


@pytest.fixture(autouse=True)
def keep_global_generator():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)).astype(np.float32), np.arange(10) % 2


def test_parameter_groups(data):
    net = make_net(weight_decay=0.3, proxy_lr=0.5).initialize()
    weights, spared, proxies = net.optimizer_.param_groups
    assert [p.shape for p in weights["params"]] == [(4, 3)]
    assert (weights["weight_decay"], weights["lr"]) == (0.3, 0.01)
    assert [p.shape for p in spared["params"]] == [(4,)] * 3
    assert (spared["weight_decay"], spared["lr"]) == (0, 0.01)
    assert proxies["params"] == [net.criterion_.proxies]
    assert (proxies["weight_decay"], proxies["lr"]) == (0, 0.5)


def test_one_cycle_of_learning_rates(data):
    rates = []

    class Spy(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    make_net(optimizer=Spy, lr_schedule="onecycle", proxy_lr=0.1, max_epochs=10).fit(
        *data
    )
    network, proxies = np.array(rates).T
    assert len(network) == 30
    assert network.max() == pytest.approx(0.01, rel=0.05)
    assert 5 <= network.argmax() <= 12
    assert network[-1] < 1e-6
    np.testing.assert_allclose(proxies, 10 * network)


def test_history_has_the_mean_over_the_samples(data):
    X, y = data
    net = make_net(batch_size=7, max_epochs=1)
    net.fit(X, y)
    batches = net.history[-1]["batches"]
    sizes = [batch["train_batch_size"] for batch in batches]
    assert sizes == [5, 5]
    mean = np.average([batch["train_loss"] for batch in batches], weights=sizes)
    assert net.history[-1]["train_loss"] == pytest.approx(mean)


def test_batches_of_past_epochs_are_forgotten(data):
    net = make_net()
    net.fit(*data)
    assert ["batches" in row for row in net.history] == [False, False, True]


def test_embeds_in_batches_without_gradient_or_dropout(data):
    X, _ = data
    net = make_net(iterator_valid__batch_size=3).initialize()
    state = torch.get_rng_state()
    embedding = net.embed(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
    with torch.no_grad():
        whole = torch.nn.functional.normalize(net.module_(torch.from_numpy(X)))
    np.testing.assert_allclose(embedding, whole.numpy(), rtol=1e-5)


def test_mps_gets_no_float64(data):
    X, y = data
    net = make_net(device="mps", iterator_train__num_workers=1)  # nothing moves there
    dataset = net.get_dataset(X.astype(np.float64), y)
    assert dataset.source.dtype == np.float32
    dataset = make_net().get_dataset(X.astype(np.float64), y)
    assert dataset.source.dtype == np.float64


def test_skorch_workers_serve_batches(data):
    plain, workers = make_net(), make_net(iterator_train__num_workers=1)
    plain.fit(*data)
    workers.fit(*data)
    np.testing.assert_array_equal(plain.embed(data[0]), workers.embed(data[0]))


# Watchers


class Watcher(Callback):
    def __init__(self, name, heard, error=None):
        self.name, self.heard, self.error = name, heard, error

    def on_epoch_end(self, net, **kwargs):
        self.heard.append((self.name, net.history[-1]["train_loss"]))
        if self.error:
            raise self.error


def test_watchers_come_last_and_go(data):
    heard = []
    net = make_net(callbacks=[Watcher("callback", heard)], max_epochs=1)
    with net.watched_by(Watcher("first", heard), Watcher("second", heard)):
        net.fit(*data)
        assert pickle.loads(pickle.dumps(net)).watchers_ == ()
    assert [name for name, _ in heard] == ["callback", "first", "second"]
    assert len({loss for _, loss in heard}) == 1
    net.fit(*data)
    assert [name for name, _ in heard[3:]] == ["callback"]


def test_watchers_go_after_an_error(data):
    net = make_net()
    with pytest.raises(RuntimeError), net.watched_by(Watcher("", [], RuntimeError())):
        net.fit(*data)
    assert net.watchers_ == ()


def test_watchers_and_callbacks_may_stop_the_training(data):
    stopper = Watcher("", [], StopTraining())
    net, by_callback = make_net(), make_net(callbacks=[stopper])
    with net.watched_by(stopper):
        net.fit(*data)
    by_callback.fit(*data)
    assert len(net.history) == len(by_callback.history) == 1
    assert net.stopped_
    assert by_callback.stopped_
    net.fit(*data)
    assert len(net.history) == 3
    assert not net.stopped_


def test_all_hear_of_the_last_epoch(data):
    heard = []
    net = make_net(callbacks=[Watcher("a", heard, StopTraining()), Watcher("b", heard)])
    with net.watched_by(Watcher("c", heard)):
        net.fit(*data)
    assert [name for name, _ in heard] == ["a", "b", "c"]


class Pickler(Callback):
    kept: ClassVar[list] = []

    def on_epoch_end(self, net, **kwargs):
        self.kept.append((pickle.dumps(net), net.embed(net.monitors[0].X)))


class Monitor:
    """Holds data, and what cannot be pickled."""

    def __init__(self, X):
        self.X, self.scorer = X, lambda *_: 0.5

    def on_epoch_end(self, net):
        pass


def test_pickles_of_a_training_leave_its_data_out(data):
    X, _ = data
    make_net(callbacks=[Pickler], monitors=[Monitor(X)], max_epochs=1).fit(*data)
    ((pickled, embedding),) = Pickler.kept
    restored = pickle.loads(pickled)
    assert restored.monitors == ()
    np.testing.assert_array_equal(restored.embed(X), embedding)


@pytest.mark.parametrize("compiled", [False, True])
def test_snapshot_stays_as_it_is(compiled, data):
    net = make_net(lr=0.1, max_epochs=1).fit(*data)
    before = net.embed(data[0])
    if compiled:  # only wrapped; it would be compiled when called
        net.module_ = torch.compile(net.module_)
    snapshot = net.snapshot()
    net.module_ = getattr(net.module_, "_orig_mod", net.module_)
    net.partial_fit(*data)
    assert np.abs(net.embed(data[0]) - before).max() > 1e-3
    np.testing.assert_array_equal(snapshot.embed(data[0]), before)
    assert (len(snapshot.history), len(net.history)) == (1, 2)
    restored = pickle.loads(pickle.dumps(snapshot))
    np.testing.assert_array_equal(restored.embed(data[0]), before)
