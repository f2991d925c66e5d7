"""A training that is stopped anyhow goes on, and ends as if it had not been."""

import errno
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skorch
import torch
from safetensors import safe_open
from skorch.callbacks import Callback

import sk_dml
from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._training import EmbeddingNet
from sk_dml._training._checkpoint import NAME
from sk_dml.utils import all_embedders

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
y = np.arange(40) % 4
images = rng.normal(size=(40, 8, 8)).astype(np.float32)


class Killed(BaseException):
    """Stands for what nothing can catch."""


def embedder(cls=CircleEmbedder, **params):
    small = {"module__hidden": (8,), **params.pop("net_params", {})}
    settings = {"max_epochs": 4, "random_state": 0, "batch_size": 20, **params}
    return cls(net_params=small, **settings)


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


def weights(estimator):
    net = estimator.net_
    state = {**net.module_.state_dict(), **net.criterion_.state_dict()}
    return {name: torch.as_tensor(value) for name, value in state.items()}


def assert_same(one, other):
    one_state, other_state = weights(one), weights(other)
    assert list(one_state) == list(other_state)
    for name, value in one_state.items():
        assert torch.equal(value, other_state[name]), name
    assert one.loss_curve_ == other.loss_curve_
    assert one.n_iter_ == other.n_iter_


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
    ids=str,
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


def test_checkpoints_change_nothing_and_leave_one_file(tmp_path):
    plain = embedder().fit(X, y)
    state = torch.get_rng_state()
    saved = embedder(checkpoint_dir=tmp_path / "new" / "one").fit(X, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(saved, plain)
    assert os.listdir(tmp_path / "new" / "one") == [NAME]
    copy = pickle.loads(pickle.dumps(saved))
    np.testing.assert_array_equal(copy.transform(X), plain.transform(X))
    with safe_open(tmp_path / "new" / "one" / NAME, "np") as file:
        assert json.loads(file.metadata()["sk_dml"])["n_epochs"] == 4


def test_interruption_goes_on_too(tmp_path):
    expected = embedder(optimizer=Interruptible).fit(X, y)
    resumed = embedder(optimizer=Interruptible, checkpoint_dir=tmp_path)
    Interruptible.left = 3
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 4"):
        resumed.fit(X, y)
    assert resumed.n_iter_ == len(resumed.history_) == 1
    assert_same(resumed.fit(X, y), expected)


class Interruptible(torch.optim.SGD):
    left = -1

    def step(self, closure=None):
        Interruptible.left -= 1
        if Interruptible.left == 0:
            raise KeyboardInterrupt
        return super().step(closure)


# Objects and callbacks that have a state of their own


class Counter:
    def __init__(self, last=None):
        self.calls, self.last = 0, last

    @property
    def finished(self):
        return self.calls == self.last

    def state_dict(self):
        return {"calls": self.calls, "best": torch.tensor([self.calls])}

    def load_state_dict(self, state):
        assert state["best"].tolist() == [state["calls"]]
        self.calls = state["calls"]


def counting(monkeypatch, last=None):
    """Let every net count its epochs in an object of ``checkpointed``."""
    counters = []
    make_net, on_epoch_end = CircleEmbedder._make_net, EmbeddingNet.on_epoch_end

    def with_counter(self, *args, **kwargs):
        net = make_net(self, *args, **kwargs)
        counters.append(Counter(last))
        net.checkpointed["counter"] = counters[-1]
        return net

    def count(net, *args, **kwargs):
        on_epoch_end(net, *args, **kwargs)
        net.checkpointed["counter"].calls += 1

    monkeypatch.setattr(CircleEmbedder, "_make_net", with_counter)
    monkeypatch.setattr(EmbeddingNet, "on_epoch_end", count)
    return counters


def test_checkpointed_objects_go_on(tmp_path, monkeypatch):
    counters = counting(monkeypatch)
    killed_fit(monkeypatch, embedder(checkpoint_dir=tmp_path), X, y, step=5)
    assert counters[-1].calls == 2
    resumed = embedder(checkpoint_dir=tmp_path).fit(X, y)
    assert counters[-1].calls == 4
    assert not resumed.net_.checkpointed  # it is for the training alone
    assert pickle.loads(pickle.dumps(resumed)).net_.checkpointed == {}


def test_a_training_that_finished_early_is_not_resumed(tmp_path, monkeypatch):
    counting(monkeypatch, last=2)
    killed_fit(monkeypatch, embedder(checkpoint_dir=tmp_path), X, y, step=5)
    assert embedder(checkpoint_dir=tmp_path).fit(X, y).n_iter_ == 2


class EpochCounter(skorch.callbacks.Callback):
    epochs = 0
    seen = None

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        type(self).seen = self.epochs


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


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, "lr was 0.001 and is 0.1"),
        ({"max_epochs": 5}, "max_epochs was 4 and is 5"),
        ({"margin": 0.3, "gamma": 8}, "gamma was 80.0 and is 8; margin was 0.4 and is"),
        ({"random_state": 1}, "random_state was"),
        ({"random_state": None}, "random_state was .* and is None"),
        ({"optimizer": torch.optim.SGD}, "optimizer was 'adamw' and is 'torch.optim"),
        ({"net_params": {"module__dropout": 0.0}}, "net_params was"),
        ({"callbacks": [EpochCounter()]}, "callbacks was None"),
    ],
)
def test_other_parameters_are_refused(change, message, tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=f"holds another training.*{message}"):
        embedder(checkpoint_dir=tmp_path, **change).fit(X, y)


def test_other_methods_and_networks_are_refused(tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=r"estimator was .*Circle.* and is .*Normal"):
        embedder(NormalizedSoftmaxEmbedder, checkpoint_dir=tmp_path).fit(X, y)
    for i, seed in enumerate((1, 2)):
        torch.manual_seed(seed)
        given = CircleEmbedder(8, module=torch.nn.Linear(3, 8), random_state=0)
        given.set_params(max_epochs=1, checkpoint_dir=tmp_path / "instance")
        if i:
            with pytest.raises(ValueError, match=r"module was .*Linear, .* and is"):
                given.fit(X, y)
        else:
            given.fit(X, y)


def test_other_data_are_refused(tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    moved, labels = X.copy(), y.copy()
    moved[7, 1] += 1e-12
    labels[:2] = 1, 0
    for data, message in [
        ((X[:39], y[:39]), r"X was .*\(40, 3\).* and is .*\(39, 3\)"),
        ((moved, y), "X was"),
        ((X.astype(np.float32), y), "X was 'float64.* and is 'float32"),
        ((X, labels), "y was"),
        ((X, y + 1), "classes was"),
    ]:
        with pytest.raises(ValueError, match=f"another training.*: {message}"):
            embedder(checkpoint_dir=tmp_path).fit(*data)
    # The same data, held in another way, are the same data.
    embedder(checkpoint_dir=str(tmp_path), verbose=0).fit(np.asfortranarray(X), list(y))


def test_truncated_and_foreign_files_are_refused(tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    file = tmp_path / NAME
    content = file.read_bytes()
    header = struct.unpack("<Q", content[:8])[0]
    for size in (0, 5, 8, header // 2, 8 + header, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"truncated or no checkpoint.*Delete it"):
            embedder(checkpoint_dir=tmp_path).fit(X, y)
    file.write_bytes(pickle.dumps(embedder()))
    with pytest.raises(ValueError, match="truncated or no checkpoint"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    file.write_bytes(struct.pack("<Q", 2) + b"{}")  # safetensors, but not ours
    with pytest.raises(ValueError, match="none of sk_dml's metadata"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)


def test_directories_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"checkpoint_dir='.*file.*' cannot be used"):
            embedder(checkpoint_dir=place).fit(X, y)
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match="cannot be read"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="checkpoint_dir"):
        embedder(checkpoint_dir=3).fit(X, y)


def test_a_state_that_cannot_be_saved_stops_before_the_first_epoch(
    tmp_path, monkeypatch
):
    class Odd(EpochCounter):
        def state_dict(self):
            return {"what": [object()]}

        def load_state_dict(self, state):
            pass

    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    with pytest.raises(
        TypeError, match=r"cannot be used here: state/callback Odd/what"
    ):
        embedder(checkpoint_dir=tmp_path, callbacks=[Odd()]).fit(X, y)


# Failures while writing


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    expected = embedder().fit(X, y)
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) >= 5:  # two for each checkpoint: the file and the directory
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        resumed = embedder(checkpoint_dir=tmp_path)
        with pytest.raises(
            OSError,
            match=r"of epoch 2 cannot be written.*No space left.*of epoch 1 is kept",
        ) as raised:
            resumed.fit(X, y)
    assert raised.value.errno == errno.ENOSPC
    assert not hasattr(resumed, "net_")
    assert os.listdir(tmp_path) == [NAME]
    assert_same(resumed.fit(X, y), expected)


def test_a_limit_on_the_size_of_files(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(
            OSError, match=r"epoch 0 cannot be .*There is none from bef"
        ):
            embedder(checkpoint_dir=tmp_path).fit(X, y)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


KILLED = """
import os, random, signal, sys, time
import numpy as np
from sk_dml import CircleEmbedder
from sk_dml._training import _checkpoint

directory, moments = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), np.arange(40) % 4

def fit(directory=None):
    embedder = CircleEmbedder(
        max_epochs=40, random_state=0, batch_size=20,
        net_params={"module__hidden": (8,)}, checkpoint_dir=directory,
    )
    return embedder.fit(X, y)

expected = fit().transform(X)
start = time.perf_counter()
fit(directory + "-timed")
duration = time.perf_counter() - start
random.seed(0)
n_killed = 0

def child(prepare, seconds=None):
    global n_killed
    pid = os.fork()
    if not pid:
        prepare()
        fit(directory)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    n_killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])

def dying(name, call, before):
    def prepare():
        original, calls = getattr(os, name), []
        def die(*args):
            calls.append(args)
            if len(calls) == call and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(os, name, die)
    return prepare

# At each side of what writes a checkpoint, the first and a later one.
for name in ("fsync", "replace"):
    for call in (1, 4):
        for before in (True, False):
            child(dying(name, call, before))
assert n_killed == 8, n_killed
for _ in range(moments):
    child(int, random.uniform(0, 1.4 * duration / moments))
resumed = fit(directory)
assert (resumed.transform(X) == expected).all()
assert resumed.n_iter_ == 40
assert os.listdir(directory) == [_checkpoint.NAME]
print(n_killed - 8)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(tmp_path):
    root = str(Path(sk_dml.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run"), "8"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    # To this process, too, they are the same data and parameters.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingNet, "train_step", None)
        loaded = embedder(max_epochs=40, checkpoint_dir=tmp_path / "run").fit(X, y)
    # Sums of another number of threads differ in their last digits.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        undisturbed = embedder(max_epochs=40).fit(X, y)
    finally:
        torch.set_num_threads(n_threads)
    assert_same(loaded, undisturbed)


def test_a_training_that_a_callback_ended_has_ended(tmp_path):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    settings = {"max_epochs": 5, "checkpoint_dir": tmp_path, "callbacks": [Stop()]}
    stopped = embedder(**settings).fit(X, y)
    assert stopped.n_iter_ == 2
    with pytest.warns(UserWarning, match="begin anew"):
        again = embedder(**settings).fit(X, y)
    assert again.n_iter_ == 2
    assert_same(again, stopped)
