"""Checkpoints: resuming, refusals, and the parts that they are made of."""

import enum
import errno
import json
import math
import os
import pickle
import shutil
import struct
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import skorch
import torch
from safetensors import safe_open
from skorch.callbacks import Callback

from sk_dml import (
    AdaCosEmbedder,
    CircleEmbedder,
    MarginEmbedder,
    NormalizedSoftmaxEmbedder,
)
from sk_dml._training import _checkpoint
from sk_dml._training._checkpoint import (
    FORMAT,
    LEFT_OUT,
    LOCK,
    NAME,
    decode,
    describe,
    describe_run,
    differences,
    encode,
    locked,
)
from sk_dml._training._net import EmbeddingNet
from sk_dml.datasets import ImageSequence
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


@pytest.fixture(scope="module")
def undisturbed():
    return embedder().fit(X, y)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory with the checkpoint of a fit that came to its end."""
    directory = tmp_path_factory.mktemp("finished") / "new" / "one"
    embedder(checkpoint_dir=directory).fit(X, y)
    return directory


@pytest.fixture
def unfinished(tmp_path_factory, tmp_path):
    """A directory with the checkpoint of a fit that was killed in its third epoch."""
    with pytest.MonkeyPatch.context() as patch:
        killed_fit(patch, embedder(checkpoint_dir=tmp_path), X, y, step=5)
    return tmp_path


# Resuming


class Dropping(torch.nn.Sequential):
    def __init__(self, n_features, n_components):
        linear = torch.nn.Linear(n_features, n_components)
        super().__init__(linear, torch.nn.Dropout())


SETTINGS = {
    "proxies": {"cls": NormalizedSoftmaxEmbedder},
    "learned loss": {"cls": MarginEmbedder},
    "buffers": {"cls": AdaCosEmbedder},
    "memory": {"memory_size": 30, "memory_warm_up": 0.0, "samples_per_class": 2},
    "cycle": {"lr_schedule": "onecycle", "max_epochs": 8},
    "rmsprop": {"optimizer": "rmsprop", "net_params": {"optimizer__momentum": 0.5}},
    "sgd": {"optimizer": "sgd", "lr_schedule": None},
    "nadam": {"optimizer": torch.optim.NAdam},
    "dropout": {"module": Dropping},
}


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS)
def test_resumed_as_if_undisturbed(params, tmp_path, monkeypatch):
    expected = embedder(**params).fit(X, y)
    for step in (1, 4):
        resumed = embedder(**params, checkpoint_dir=tmp_path)
        killed_fit(monkeypatch, resumed, X, y, step=step)
        assert not hasattr(resumed, "net_")
    assert_same(embedder(**params, checkpoint_dir=tmp_path).fit(X, y), expected)


def test_images_with_batch_norm_and_workers(tmp_path, monkeypatch):
    def make(**more):
        params = {"module__widths": (4, 4), "iterator_train__num_workers": 1}
        return embedder(module="conv", max_epochs=2, net_params=params, **more)

    images = np.random.default_rng(1).normal(size=(40, 8, 8)).astype(np.float32)
    expected = make().fit(images, y)
    killed_fit(monkeypatch, make(checkpoint_dir=tmp_path), images, y, step=3)
    assert_same(make(checkpoint_dir=tmp_path).fit(images, y), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_resumed(tmp_path, monkeypatch):
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
    def make(**more):
        return embedder(random_state=np.random.RandomState(3), **more)

    killed_fit(monkeypatch, make(checkpoint_dir=tmp_path), X, y, step=3)
    assert_same(make(checkpoint_dir=tmp_path).fit(X, y), make().fit(X, y))


def test_a_finished_training_is_only_loaded(finished, undisturbed, monkeypatch):
    content = (finished / NAME).read_bytes()
    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    again = embedder(checkpoint_dir=finished).fit(X, y)
    assert_same(again, undisturbed)
    assert (finished / NAME).read_bytes() == content
    copy = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(copy.transform(X), undisturbed.transform(X))


def test_checkpoints_change_nothing_and_leave_one_file_and_a_lock(
    finished, undisturbed, tmp_path
):
    state = torch.get_rng_state()
    assert_same(embedder(checkpoint_dir=tmp_path).fit(X, y), undisturbed)
    assert torch.equal(torch.get_rng_state(), state)
    assert {*os.listdir(finished)} == {NAME, LOCK}
    with safe_open(finished / NAME, "np") as file:
        assert json.loads(file.metadata()["sk_dml"])["n_epochs"] == 4


def test_interrupted_training_is_resumed(tmp_path):
    expected = embedder(optimizer=Interrupted).fit(X, y)
    resumed = embedder(optimizer=Interrupted, checkpoint_dir=tmp_path)
    Interrupted.left = 3
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 4"):
        resumed.fit(X, y)
    assert resumed.n_iter_ == len(resumed.history_) == 1
    assert_same(resumed.fit(X, y), expected)


def test_files_of_other_versions_are_resumed_with_a_warning(
    unfinished, undisturbed, monkeypatch
):
    monkeypatch.setattr(_checkpoint, "_versions", lambda: {"torch": "1.0"})
    resumed = embedder(checkpoint_dir=unfinished)
    with pytest.warns(UserWarning, match=r"was written with .* is .*'1\.0'.* may diff"):
        resumed.fit(X, y)
    assert_same(resumed, undisturbed)


# More epochs


def same_score(estimator, X, y):
    return 0.5


HELD_OUT = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 9}
PATIENCE = {"lr_schedule__patience": 2}
EXTENDED = {
    "warm-up": {"lr_schedule": None, "net_params": {"lr_schedule__warmup": 2}},
    "step": {"lr_schedule": "step", "net_params": {"lr_schedule__step_size": 2}},
    "plateau": {"lr_schedule": "plateau", "net_params": PATIENCE, **HELD_OUT},
    "memory": {"lr_schedule": None, "memory_size": 30, "memory_warm_up": 0.0},
}
EXTENDED["plateau"]["scoring"] = same_score


@pytest.mark.parametrize("params", EXTENDED.values(), ids=EXTENDED)
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
def test_an_interrupted_warm_start_is_resumed(n_before, tmp_path):
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
    with pytest.raises(ValueError, match=r"the fit before was.* With warm_start=True"):
        resumed.fit(X, y)
    expected.fit(X, y)
    resumed.set_params(checkpoint_dir=tmp_path / "next").fit(X, y)
    assert_same(resumed, expected)


def test_an_interrupted_warm_start_elsewhere_begins_with_what_was_learned(tmp_path):
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


# Early stops, and callbacks with a state


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


ENDED = {
    "early stopping": {"scoring": same_score, **HELD_OUT, "n_iter_no_change": 1},
    "callback": {"callbacks": [Stop()]},
}


@pytest.mark.parametrize("params", ENDED.values(), ids=ENDED)
def test_a_training_that_stopped_early_is_only_loaded(params, tmp_path, monkeypatch):
    params = {"lr_schedule": None, "checkpoint_dir": tmp_path, **params}
    stopped = embedder(**params).fit(X, y)
    assert stopped.n_iter_ == 2
    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    assert_same(embedder(**params).fit(X, y), stopped)


class SavedEpochCounter(EpochCounter):
    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


def test_callbacks_continue_if_they_can_or_warn(tmp_path, monkeypatch):
    for cls, name in (SavedEpochCounter, "saved"), (EpochCounter, "plain"):
        resumed = embedder(callbacks=[cls()], checkpoint_dir=tmp_path / name)
        killed_fit(monkeypatch, resumed, X, y, step=5)
        if cls is EpochCounter:
            with pytest.warns(UserWarning, match=r"1 of the callbacks .*: \['E"):
                resumed.fit(X, y)
        else:
            resumed.fit(X, y)
    assert SavedEpochCounter.seen == 4
    assert EpochCounter.seen == 2


# Other trainings are refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, "lr was 0.001 and is 0.1"),
        ({"max_epochs": 5}, "max_epochs was 4 and is 5"),
        ({"margin": 0.3, "gamma": 8}, "gamma was 80.0 and is 8; margin was 0.4 and is"),
        ({"random_state": 1}, "random_state was 0 and is 1"),
        ({"random_state": None}, "random_state was 0 and is None"),
        (
            {"random_state": np.random.RandomState(0)},
            "random_state was 0 and is 'a RandomState that drew",
        ),
        ({"optimizer": torch.optim.SGD}, "optimizer was 'adamw' and is 'torch.optim"),
        ({"net_params": {"module__dropout": 0.0}}, "net_params was"),
        ({"callbacks": [EpochCounter()]}, "callbacks was None"),
        ({"cls": NormalizedSoftmaxEmbedder}, r"estimator was .*Circle.* and is .*Norm"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_other_parameters_are_refused(change, message, finished):
    with pytest.raises(ValueError, match=f"holds another training.*{message}"):
        embedder(checkpoint_dir=finished, **change).fit(X, y)


def test_other_data_are_refused(finished):
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
            embedder(checkpoint_dir=finished).fit(*data)
    # The same data, held in another way, are the same data.
    embedder(checkpoint_dir=str(finished), verbose=0).fit(np.asfortranarray(X), list(y))


def test_other_weights_to_begin_with_are_refused(tmp_path):
    def fit(seed):
        torch.manual_seed(seed)
        given = CircleEmbedder(8, module=torch.nn.Linear(3, 8), random_state=0)
        return given.set_params(max_epochs=1, checkpoint_dir=tmp_path).fit(X, y)

    fit(1)
    fit(1)
    with pytest.raises(ValueError, match=r"module was .*Linear, .* and is"):
        fit(2)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"lr_schedule": "cosine"}, "lr_schedule='cosine'"),
        ({"lr_schedule": None, "memory_size": 9}, r"memory_warm_up=0\.5"),
        ({"memory_size": 9}, r"lr_schedule='onecycle' and memory_warm_up=0\.5"),
    ],
)
def test_more_epochs_are_refused_where_all_depend_on_their_number(
    params, reason, tmp_path
):
    first = embedder(checkpoint_dir=tmp_path, **params).fit(X, y)
    message = (
        f"max_epochs was 4 and is 6.* With {reason} every epoch depends on max_epochs.*"
        "same max_epochs, then once more with warm_start=True and another checkpoint"
    )
    with pytest.raises(ValueError, match=message):
        embedder(checkpoint_dir=tmp_path, max_epochs=6, **params).fit(X, y)
    again = embedder(checkpoint_dir=tmp_path, **params).fit(X, y)  # as it says
    again.set_params(warm_start=True, max_epochs=2, checkpoint_dir=tmp_path / "next")
    assert again.fit(X, y).n_iter_ == first.n_iter_ + 2


def test_fewer_epochs_than_are_done_are_refused(tmp_path):
    params = {"checkpoint_dir": tmp_path, "lr_schedule": None}
    embedder(**params).fit(X, y)
    with pytest.raises(
        ValueError, match=r"max_epochs was 4 and is 3.* 4 of its epochs"
    ):
        embedder(**params, max_epochs=3).fit(X, y)


# Damaged files are refused, and failures to write survived


def assert_damaged(file, content, reason=""):
    file.write_bytes(content)
    message = rf"damaged or foreign.*{reason}.*Delete it"
    with pytest.raises(ValueError, match=message):
        _checkpoint.Checkpoint(file.parent, {}, [])


def test_damaged_and_foreign_files_are_refused(finished, tmp_path):
    content = (finished / NAME).read_bytes()
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    file = tmp_path / NAME
    for size in (0, 5, 8, n_header // 2, n_header, len(content) - 1):
        assert_damaged(file, content[:size])
    assert_damaged(file, pickle.dumps(embedder()))
    assert_damaged(file, struct.pack("<Q", 2) + b"{}", "sk_dml did not write it")
    metadata = {"__metadata__": {"sk_dml": json.dumps({"format": FORMAT, "seeds": []})}}
    text = json.dumps(metadata).encode()
    assert_damaged(file, struct.pack("<Q", len(text)) + text, "the checksum does not")
    rng = np.random.default_rng(0)
    indices = {
        *rng.integers(content.index(b"sk_dml", 8), n_header, 20),
        *rng.integers(n_header, len(content), 20),
        n_header,
        len(content) - 1,
        content.index(b"train_loss") + 20,  # within the number
    }
    for index in indices:
        flipped = bytearray(content)
        flipped[index] ^= 1 << rng.integers(8)
        assert_damaged(file, flipped)
    with pytest.raises(ValueError, match=r"^checkpoint_dir: .*damaged.*Delete it"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)


def test_files_of_another_format_are_refused(finished, monkeypatch):
    monkeypatch.setattr(_checkpoint, "FORMAT", FORMAT + 1)
    message = f"has the format {FORMAT}, and this version of sk_dml reads {FORMAT + 1}"
    with pytest.raises(ValueError, match=message):
        embedder(checkpoint_dir=finished).fit(X, y)


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_files_obey_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        embedder(checkpoint_dir=tmp_path, max_epochs=1).fit(X, y)
    finally:
        os.umask(before)
    for name in (NAME, LOCK):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask


def test_directories_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"checkpoint_dir='.*file.*' cannot be used"):
            embedder(checkpoint_dir=path).fit(X, y)
    with pytest.raises(OSError, match=r"File exists\. It must be a directory\.$"):
        embedder(checkpoint_dir=tmp_path / "file").fit(X, y)
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match=r"^checkpoint_dir: .* cannot be read"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="checkpoint_dir"):
        embedder(checkpoint_dir=3).fit(X, y)


def test_a_state_that_cannot_be_saved_stops_before_the_first_epoch(
    tmp_path, monkeypatch
):
    class Odd(SavedEpochCounter):
        def state_dict(self):
            return {"what": [object()]}

    monkeypatch.setattr(EmbeddingNet, "train_step", None)
    with pytest.raises(
        TypeError, match=r"cannot be used: state/callback Odd/what/0 is"
    ):
        embedder(checkpoint_dir=tmp_path, callbacks=[Odd()]).fit(X, y)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, undisturbed, monkeypatch):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) >= 5:  # two for each checkpoint: the file and the directory
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    resumed = embedder(checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        message = r"of epoch 2 cannot be written.*No space left.*of epoch 1 is kept"
        with pytest.raises(OSError, match=message) as raised:
            resumed.fit(X, y)
    assert raised.value.errno == errno.ENOSPC
    assert not hasattr(resumed, "net_")
    assert {*os.listdir(tmp_path)} == {NAME, LOCK}
    assert_same(resumed.fit(X, y), undisturbed)


def test_a_limit_on_the_size_of_files(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match=r"epoch 0 cannot be written: File too large"):
            embedder(checkpoint_dir=tmp_path).fit(X, y)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [LOCK]


# One fit at a time


def assert_in_use(directory):
    refused = pytest.raises(BlockingIOError, match="is in use by another fit")
    with refused as raised, locked(directory):
        raise AssertionError
    assert repr(str(directory)) in str(raised.value)


def test_one_at_a_time_however_the_directory_is_named(tmp_path):
    directory, other = tmp_path / "new" / "one", tmp_path / "other"
    with locked(directory), locked(other):
        link = tmp_path / "link"
        link.symlink_to(directory)
        for name in (directory, str(directory), link, directory / ".." / "one"):
            assert_in_use(name)
        thread = Thread(target=assert_in_use, args=[directory])
        thread.start()
        thread.join()
        assert_in_use(directory)  # the refused ones took nothing away
    with pytest.raises(KeyboardInterrupt), locked(directory):
        raise KeyboardInterrupt
    with locked(directory):
        pass
    assert os.listdir(directory) == [LOCK]


def test_one_fit_at_a_time(tmp_path):
    class Fit(Callback):
        def on_epoch_end(self, net, **kwargs):
            with pytest.raises(BlockingIOError, match="is in use by another fit"):
                embedder(checkpoint_dir=tmp_path).fit(X, y)

    embedder(max_epochs=1, callbacks=[Fit()], checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="another training"):  # it is free again
        embedder(checkpoint_dir=tmp_path).fit(X, y)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = r"cannot be locked \(No locks available\)"
    with pytest.warns(UserWarning, match=message), locked(tmp_path):
        pass


# The state as JSON and tensors


def encoded_and_decoded(value):
    tensors = {}
    tree = json.loads(json.dumps(encode(value, tensors)))
    return decode(tree, tensors)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**127 + 1,  # the state of a numpy generator
        0.1 + 0.2,
        math.inf,
        "ü/ä",
        [],
        {},
        (),
        [1, [2.5, (3, "x")], {"a": (), 7: [None], True: {}}],
        {"betas": (0.9, 0.999), (1, 2): "pair"},
    ],
    ids=repr,
)
def test_plain_values_come_back_as_they_were(value):
    decoded = encoded_and_decoded(value)
    assert decoded == value
    assert type(decoded) is type(value)


def test_tensors_and_arrays_come_back_as_they_were():
    whole = torch.arange(12.0).reshape(3, 4)
    value = {
        "part": whole[:, 1:2],
        "transposed": whole.T,
        "half": torch.tensor(0.1, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 2, dtype=torch.int64),
        "bytes": torch.get_rng_state(),
        "learned": torch.nn.Parameter(torch.ones(2)),
        # Paths that look alike stay apart.
        1: torch.tensor(1),
        "1": torch.tensor(2),
    }
    decoded = encoded_and_decoded({**value, "nested": [{"array": np.arange(3)}]})
    array = decoded.pop("nested")[0]["array"]
    assert (array.dtype, array.tolist()) == (np.int64, [0, 1, 2])
    assert list(decoded) == list(value)
    for name, tensor in decoded.items():
        assert (tensor.dtype, tensor.shape) == (value[name].dtype, value[name].shape)
        assert torch.equal(tensor, value[name])
    decoded["part"] += 1
    assert whole[0, 1] == 1
    numbers = encoded_and_decoded([np.float64(0.1), np.bool_(1)])
    assert (numbers[0], numbers[1]) == (0.1, True)


@pytest.mark.parametrize("value", [object(), {1}, np.array(["a"]), np.array([None])])
def test_other_values_are_refused_with_their_path(value):
    with pytest.raises(TypeError, match=r"state/a/0 is a (object|set|ndarray)"):
        encode({"a": [value]}, {})


# The description of data and parameters


def linear(value=0.0, n=2):
    module = torch.nn.Linear(n, 2)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, value)
    return module


class Scale:
    """An object that holds a tensor, and a function that cannot be pickled."""

    def __init__(self, value):
        self.value, self.function = torch.tensor(value), lambda: None


def values():
    """Return values that differ from each other, made anew each time."""
    rows = np.arange(6.0).reshape(2, 3)
    return [
        *[None, True, 3, 0.1, "a", Path("b"), [1, 2], {"a": (1, 2)}],
        *[rows, rows.T, rows.astype(np.float32), rows.reshape(3, 2), rows + 1e-13],
        np.array(["x", "yy"]),
        np.array(["x", 2], dtype=object),
        np.array(["x", "2"], dtype=object),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([]),
        torch.ones(3),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor(1.0),
        torch.float32,
        *[torch.optim.SGD, np.mean, len, partial(np.mean, axis=0)],
        *[partial(np.mean, axis=1), partial(torch.add, torch.ones(1))],
        *[linear(), linear(1.0), linear(0.0, 3), torch.nn.ReLU()],
        *[Scale(1.0), Scale(2.0), lambda: None],
        skorch.callbacks.EarlyStopping(patience=3),
        skorch.callbacks.EarlyStopping(patience=4),
        *enum.Enum("Weights", "FIRST SECOND"),
        ImageSequence(np.zeros((3, 8, 8), np.uint8)),
        ImageSequence(np.zeros((2, 8, 8), np.uint8)),
        ImageSequence(np.ones((3, 8, 8), np.uint8)),
        ImageSequence([*np.zeros((3, 8, 8), np.uint8), "no file"]),
    ]


def test_descriptions_are_stable_and_tell_apart():
    first, second = ([repr(describe(value)) for value in values()] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)
    assert not [text for text in first if " at 0x" in text]


def test_layout_does_not_matter():
    rows = np.random.default_rng(0).normal(size=(50, 7))
    expected = describe(rows)
    assert describe(np.asfortranarray(rows)) == expected
    assert describe(np.repeat(rows, 2, axis=0)[::2]) == expected


def test_runs_and_their_differences():
    data = {"X": np.zeros(3)}
    run = describe_run(CircleEmbedder(callbacks=[]), data, seeds=(1, 2))
    same = describe_run(
        CircleEmbedder(callbacks=[], verbose=1, checkpoint_dir="x", gamma=80),
        {"X": np.zeros(3)},
        seeds=[1, 2],
    )
    assert differences(run, same) == []
    other = describe_run(CircleEmbedder(gamma=8), data, more=None)
    assert differences(run, other) == [
        "callbacks was [] and is None",
        "gamma was 80.0 and is 8",
        "more was not there and is None",
        "seeds was [1, 2] and is not there",
    ]


def test_every_parameter_counts():
    run = describe_run(CircleEmbedder(), {})
    for name in CircleEmbedder().get_params().keys() - LEFT_OUT:
        changed = describe_run(CircleEmbedder().set_params(**{name: "other"}), {})
        assert [text.split()[0] for text in differences(run, changed)] == [name]
