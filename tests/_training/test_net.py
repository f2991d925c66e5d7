import numpy as np
import pytest
import torch

from sk_dml._training import EmbeddingNet
from sk_dml.losses import NormalizedSoftmaxLoss


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


def test_skorch_workers_serve_batches(data):
    plain, workers = make_net(), make_net(iterator_train__num_workers=1)
    plain.fit(*data)
    workers.fit(*data)
    np.testing.assert_array_equal(plain.embed(data[0]), workers.embed(data[0]))
