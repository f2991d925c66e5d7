"""Precision, micro batches and compiling: how a step is computed."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from torch import nn

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder, SoftTripleEmbedder
from sk_dml._inputs import _loading
from sk_dml._inputs._loading import BatchDataset
from sk_dml._inputs._source import Source
from sk_dml._training import _precision

DEVICES = ["cpu"]
if torch.cuda.is_available():
    DEVICES.append("cuda")
on_every_device = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def make_network(dropout=0.0, norm=None):
    layers = [nn.Linear(4, 32), norm or nn.Identity(), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(32, 8))


def quick(cls=CircleEmbedder, **params):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        params.setdefault("module", make_network())
    settings = {"max_epochs": 3, "batch_size": 64, "random_state": 0, "device": "cpu"}
    return cls(8, **(settings | params))


# Micro batches


@on_every_device
@pytest.mark.parametrize(
    "cls", [CircleEmbedder, NormalizedSoftmaxEmbedder, SoftTripleEmbedder]
)
def test_micro_batches_equal_whole_batches(cls, device, iris):
    whole = quick(cls, device=device).fit_transform(*iris)
    for size in (2, 7, 63):
        pieces = quick(cls, device=device, micro_batch_size=size).fit_transform(*iris)
        np.testing.assert_allclose(pieces, whole, atol=1e-5)


def gradients(size, iris, **params):
    """Gradients of the first step."""
    found = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            loss = closure()
            if not found:
                found.extend(
                    p.grad.clone() for g in self.param_groups for p in g["params"]
                )
            return loss

    quick(optimizer=Spy, micro_batch_size=size, **params).fit(*iris)
    return found


def test_gradients_equal_those_of_the_whole_batch(iris):
    for piece, whole in zip(gradients(5, iris), gradients(None, iris), strict=True):
        assert whole.abs().max() > 1e-3
        torch.testing.assert_close(piece, whole, rtol=1e-5, atol=1e-5)


def test_the_same_units_are_dropped_twice(iris):
    seen = []

    class Spy(nn.Module):
        def forward(self, inputs):
            seen.append(inputs)
            return inputs

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 8), nn.Dropout(0.5), Spy(), nn.Linear(8, 8))

    quick(module=Net, micro_batch_size=32, lr=1e-30, max_epochs=1).fit(*iris)
    _trial, first, second, once_more, again = seen[:5]
    assert torch.equal(first, once_more)
    assert torch.equal(second, again)
    assert not torch.equal(first == 0, second == 0)


def test_pieces_stay_small(iris):
    sizes = []

    class Spy(nn.Linear):
        def forward(self, inputs):
            sizes.append(len(inputs))
            return super().forward(inputs)

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(Spy(4, 8))

    quick(module=Net, micro_batch_size=20, max_epochs=1).fit(*iris)
    assert max(sizes) <= 20
    assert sum(sizes) > 2 * 150


def test_batch_norm_warns_and_counts_once(iris):
    module = make_network(norm=nn.BatchNorm1d(32))
    with pytest.warns(UserWarning, match="micro_batch_size=32 changes.* 1 batch norms"):
        embedder = quick(module=module, micro_batch_size=32).fit(*iris)
    norm = embedder.net_.module_.backbone[1]
    n_batches = 3 * embedder.net_.history[-1, "train_batch_count"]
    assert norm.num_batches_tracked == 2 * n_batches  # two pieces a batch, each once
    assert norm.track_running_stats


def test_frozen_batch_norm_is_exact(iris):
    module = make_network(norm=nn.BatchNorm1d(32))
    params = {"module": module, "net_params": {"freeze_batch_norm": True}}
    whole = quick(**params).fit_transform(*iris)
    pieces = quick(**params, micro_batch_size=16).fit_transform(*iris)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_micro_batches_above_the_batch(iris):
    with pytest.raises(ValueError, match=r"micro_batch_size=65 is .* of 64"):
        quick(micro_batch_size=65).fit(*iris)
    whole = quick().fit_transform(*iris)
    np.testing.assert_array_equal(
        quick(micro_batch_size=64).fit_transform(*iris), whole
    )


# Precision


@on_every_device
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("cls", [CircleEmbedder, NormalizedSoftmaxEmbedder])
def test_half_precision(cls, precision, device, iris):
    kinds = []

    class Spy(nn.Linear):
        def forward(self, inputs):
            outputs = super().forward(inputs)
            kinds.append((self.training, outputs.dtype))
            return outputs

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(Spy(4, 8))

    params = {"device": device, "module": Net}
    embedder = quick(cls, precision=precision, **params).fit(*iris)
    half = embedder.transform(iris[0])
    in_training = {kind for is_training, kind in kinds if is_training}
    assert in_training == {getattr(torch, precision)}
    assert {kind for is_training, kind in kinds if not is_training} == {torch.float32}
    learned = [
        *embedder.net_.module_.parameters(),
        *embedder.net_.criterion_.parameters(),
    ]
    assert {parameter.dtype for parameter in learned} == {torch.float32}
    assert half.dtype == np.float32
    full = quick(cls, **params).fit_transform(*iris)
    assert (half != full).any()
    np.testing.assert_allclose(half, full, atol=0.1)


@on_every_device
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_images_with_everything(precision, device):
    X, y = load_digits(return_X_y=True)
    X, y = X[:120].reshape(-1, 8, 8), y[:120]
    params = {"gradient_clip_value": 1.0, "freeze_batch_norm": True}
    params["module__widths"] = (4, 8)
    embedder = quick(
        module="conv",
        precision=precision,
        device=device,
        micro_batch_size=16,
        net_params=params,
        max_epochs=6,
    ).fit(X, y)
    assert embedder.loss_curve_[-1] < embedder.loss_curve_[0]
    pickle.loads(pickle.dumps(embedder)).transform(X)


def test_scaled_gradients_are_unscaled_before_clipping(iris):
    params = {"optimizer": "sgd", "lr": 1.0, "lr_schedule": None, "max_epochs": 1}
    params["weight_decay"] = 0.0
    clip = {"net_params": {"gradient_clip_value": 0.01}}
    start = quick(lr=1e-30, max_epochs=1).fit(*iris).net_.module_.state_dict()
    end = quick(**params, **clip, precision="float16").fit(*iris).net_
    n_steps = end.history[-1, "train_batch_count"]
    moves = [
        (value - start[name]).square().sum()
        for name, value in end.module_.state_dict().items()
    ]
    assert 0.001 < sum(moves).sqrt() <= 0.0101 * n_steps


def test_precision_that_the_device_lacks(iris, monkeypatch):
    monkeypatch.setattr(_precision, "_is_supported", lambda p, d: p == "bfloat16")
    with pytest.raises(
        ValueError, match=r"'float16' cannot .*'cpu'.*\['float32', 'bfloat16'\]"
    ):
        quick(precision="float16").fit(*iris)
    with pytest.raises(ValueError, match="'precision' parameter"):
        quick(precision="float8").fit(*iris)


# Devices, threads and compiling


@on_every_device
def test_moderate_data_move_to_a_device_once(device, monkeypatch):
    X, y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
    source = Source.from_array(X)
    host = BatchDataset(source, y, torch.device("cpu"))
    assert host.on_device is None
    if device == "cpu":
        moved = BatchDataset(source, y, torch.device("meta"))
        assert [t.device.type for t in moved.on_device] == ["meta", "meta"]
        moved.on_device = torch.from_numpy(X), torch.from_numpy(y)
    else:
        moved = BatchDataset(source, y, torch.device(device))
    places = np.array([4, 0, 4])
    for one, two in zip(moved[places], host[places], strict=True):
        assert torch.equal(one.cpu(), two)
    monkeypatch.setattr(_loading, "MODERATE_SIZE", 47)
    assert BatchDataset(source, y, torch.device("meta")).on_device is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("workers", [0, 1])
def test_large_data_come_to_the_device_by_pinned_batches(workers, iris, monkeypatch):
    X, y = iris
    expected = quick(device="cuda").fit_transform(X, y)
    monkeypatch.setattr(_loading, "MODERATE_SIZE", 0)
    params = {"iterator_train__num_workers": workers}
    found = quick(device="cuda", net_params=params).fit_transform(X, y)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_threads_stay_as_they_are(iris):
    n_threads = torch.get_num_threads()
    quick().fit(*iris).transform(iris[0])
    assert torch.get_num_threads() == n_threads


def test_compiled(iris):
    X, y = iris
    params = {"compile": True, "compile__backend": "eager"}
    embedder = quick(net_params=params).fit(X, y)
    assert list(embedder.net_.module_.state_dict()) == list(
        quick().fit(X, y).net_.module_.state_dict()
    )
    embedding = embedder.transform(X)
    np.testing.assert_allclose(embedding, quick().fit_transform(X, y), atol=1e-5)
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(X), embedding)
