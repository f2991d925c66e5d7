"""Number of torch threads of a training."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skorch
import torch
from sklearn.datasets import load_digits
from torch import nn

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._inputs import make_source
from sk_dml._utils._torch import step_size
from tests._training.small import X, embedder, y

LARGE = {"batch_size": 128, "net_params": {"module__hidden": (2048, 2048)}}
LARGE_X = np.random.default_rng(0).normal(size=(128, 3))
LARGE_Y = np.arange(128) % 4


@pytest.fixture(autouse=True)
def two_threads():
    """Set two threads, as the processes of the tests have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Watch(skorch.callbacks.Callback):
    """Calls a function in every step of training."""

    def __init__(self, function):
        self.function = function

    def on_batch_end(self, net, training, **kwargs):
        self.function()


def in_new_thread(function=torch.get_num_threads):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


def watched(seen, **params):
    """Make an embedder that collects the number of threads of its steps."""
    watch = Watch(lambda: seen.add(torch.get_num_threads()))
    return embedder(callbacks=[watch], **params)


def test_small_steps_take_one_thread():
    seen = set()
    fitted = watched(seen).fit(X, y)
    assert seen == {1}
    assert torch.get_num_threads() == 2
    seen.clear()
    fitted.partial_fit(X, y)
    assert seen == {1}
    assert torch.get_num_threads() == 2


def test_large_steps_take_what_the_user_has_set():
    seen = set()
    watched(seen, max_epochs=1, **LARGE).fit(LARGE_X, LARGE_Y)
    assert seen == {2}


class Recurrent(nn.Module):
    """A network whose layer returns a tuple."""

    def __init__(self, n_components):
        super().__init__()
        self.layer = nn.LSTM(1, n_components, batch_first=True)

    def forward(self, rows):
        return self.layer(rows[..., None])[0][:, -1]


def test_recurrent_layers_are_counted():
    network = embedder(module=Recurrent, max_epochs=1).fit(X, y).net_.module_
    # For 3 steps of 64 units: the input, and the 64 units of the step before.
    assert network.n_multiplications == 3 * 64 * (1 + 64)


@pytest.mark.parametrize("params", [{}, LARGE])
def test_never_more_than_the_user_has_set(params):
    torch.set_num_threads(1)
    seen = set()
    watched(seen, max_epochs=1, **params).fit(LARGE_X, LARGE_Y)
    assert seen == {1}
    assert torch.get_num_threads() == 1


def test_images_that_threads_read_keep_them(image_files):
    seen = set()
    settings = {"module": "linear", "image_size": 8, "batch_size": 8}
    watched(seen, max_epochs=1, **settings).fit(*image_files)
    assert seen == {2}


@pytest.fixture
def image_files(tmp_path):
    """Write eight small images of two classes."""
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for i, path in enumerate(paths):
        image.new("RGB", (8, 8), (20 * i, 0, 0)).save(path)
    return paths, np.arange(8) % 2


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_restored_after_an_error(error):
    def fail():
        raise error

    with pytest.raises(error):
        embedder(callbacks=[Watch(fail)]).fit(X, y)
    assert torch.get_num_threads() == in_new_thread() == 2


def test_other_threads_keep_theirs():
    """Threads that begin during a fit, and the threads of other fits."""
    seen = set()
    others = []
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as beginner:
        watch = Watch(lambda: others.append(beginner.submit(torch.get_num_threads)))
        fits = [
            pool.submit(watched(seen).fit, X, y),
            pool.submit(embedder(callbacks=[watch]).fit, X, y),
        ]
        for fit in fits:
            fit.result()
        assert seen == {1}
        assert {other.result() for other in others} == {2}
        assert {pool.submit(torch.get_num_threads).result() for _ in range(8)} == {2}
        assert torch.get_num_threads() == in_new_thread() == 2


def test_same_bits_for_any_number_of_threads():
    digits = load_digits(return_X_y=True)
    embeddings = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        fitted = CircleEmbedder(max_epochs=2, random_state=0).fit(*digits)
        embeddings.append(fitted.transform(digits[0]))
    np.testing.assert_array_equal(*embeddings)


def test_transform():
    seen = set()
    small = embedder().fit(X, y)
    large = embedder(max_epochs=1, **LARGE).fit(LARGE_X, LARGE_Y)
    for fitted in (small, large):
        layer = fitted.net_.module_
        layer.register_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    small.transform(X)
    large.transform(X[:8])
    assert seen == {1}
    seen.clear()
    large.transform(LARGE_X)
    assert seen == {2}
    assert torch.get_num_threads() == 2


def test_step_size():
    fitted = embedder(NormalizedSoftmaxEmbedder).fit(X, y)
    source = make_source(fitted, X, reset=False)
    layers, proxies = 3 * 8 + 8 * 64, 4 * 64
    assert step_size(fitted.net_, source, training=False) == 40 * layers
    size = 3 * 20 * (layers + proxies)
    assert step_size(fitted.net_, source, training=True) == size
    fitted.set_params(micro_batch_size=10, net_params={"module__hidden": 8})
    fitted.set_params(freeze_batch_norm=True).fit(X, y)
    assert step_size(fitted.net_, source, training=True) == size / 2


class Strided(nn.Module):
    def __init__(self, n_components):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, n_components)

    def forward(self, images):
        return self.head(self.convolution(images).mean((2, 3)))


def test_step_size_of_convolutions():
    images = np.random.default_rng(0).normal(size=(40, 8, 8))
    fitted = embedder(module=Strided, memory_size=10).fit(images, y)
    source = make_source(fitted, images, reset=False)
    network, memory = 4 * 9 * 16 + 4 * 64, 10 * 64 + 10
    assert step_size(fitted.net_, source, training=False) == 40 * network
    assert step_size(fitted.net_, source, training=True) == 3 * 20 * (network + memory)
