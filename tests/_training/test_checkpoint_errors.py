"""Checkpoints that are refused, and those that cannot be written."""

import errno
import json
import os
import pickle
import struct
from functools import partial

import numpy as np
import pytest
import torch

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._training import _checkpoint
from sk_dml._training._checkpoint import FORMAT, NAME
from sk_dml._training._checkpoint import NAME as LOCK
from sk_dml._training._net import EmbeddingNet
from tests._training import small
from tests._training.small import EpochCounter, X, assert_same, killed_fit, y

embedder = partial(small.embedder, max_epochs=4)


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.1}, "lr was 0.001 and is 0.1"),
        ({"max_epochs": 5}, "max_epochs was 4 and is 5"),
        ({"margin": 0.3, "gamma": 8}, "gamma was 80.0 and is 8; margin was 0.4 and is"),
        ({"random_state": 1}, "random_state was 0 and is 1"),
        ({"random_state": None}, "random_state was 0 and is None"),
        ({"optimizer": torch.optim.SGD}, "optimizer was 'adamw' and is 'torch.optim"),
        ({"net_params": {"module__dropout": 0.0}}, "net_params was"),
        ({"callbacks": [EpochCounter()]}, "callbacks was None"),
    ],
)
def test_other_parameters_are_refused(change, message, tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=f"holds another training.*{message}"):
        embedder(checkpoint_dir=tmp_path, **change).fit(X, y)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "lr_schedule='onecycle'"),
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
    message = "max_epochs was 4 and is 3.* Of its epochs 4 are done already"
    with pytest.raises(ValueError, match=message):
        embedder(**params, max_epochs=3).fit(X, y)


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (0, 1, "random_state was 0 and is 1"),
        (None, 3, "random_state was None and is 3"),
        (
            np.random.RandomState(0),
            np.random.RandomState(1),
            "random_state was 'a RandomState that drew .* and is 'a RandomState that",
        ),
    ],
)
def test_random_states_are_named(there, here, message, tmp_path):
    embedder(checkpoint_dir=tmp_path, random_state=there).fit(X, y)
    with pytest.raises(ValueError, match=message):
        embedder(checkpoint_dir=tmp_path, random_state=here).fit(X, y)


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
        with pytest.raises(ValueError, match=r"damaged or no checkpoint.*Delete it"):
            embedder(checkpoint_dir=tmp_path).fit(X, y)
    file.write_bytes(pickle.dumps(embedder()))
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    metadata = {"__metadata__": {"sk_dml": json.dumps({"format": FORMAT, "seeds": []})}}
    text = json.dumps(metadata).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ValueError, match=r"no checkpoint.*do not match"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    file.write_bytes(struct.pack("<Q", 2) + b"{}")  # safetensors, but not ours
    with pytest.raises(ValueError, match="none of sk_dml's metadata"):
        embedder(checkpoint_dir=tmp_path).fit(X, y)


def test_files_of_another_format_are_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "FORMAT", FORMAT + 1)
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    message = f"has the format {FORMAT + 1}, and this version of sk_dml reads {FORMAT}"
    with pytest.raises(ValueError, match=message):
        embedder(checkpoint_dir=tmp_path).fit(X, y)


def test_files_of_other_versions_go_on_with_a_warning(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_versions", lambda: {"torch": "1.0"})
        killed_fit(patch, embedder(checkpoint_dir=tmp_path), X, y, step=3)
    resumed = embedder(checkpoint_dir=tmp_path)
    with pytest.warns(
        UserWarning, match=r"was written with .*'1\.0'.* may not end with"
    ):
        resumed.fit(X, y)
    assert_same(resumed, embedder().fit(X, y))


def test_flipped_bits_are_found(tmp_path):
    embedder(checkpoint_dir=tmp_path).fit(X, y)
    file = tmp_path / NAME
    content = file.read_bytes()
    n_header = 8 + struct.unpack("<Q", content[:8])[0]
    text = content.index(b"sk_dml", 8)
    rng = np.random.default_rng(0)
    places = {
        *rng.integers(text, n_header, 20),
        *rng.integers(n_header, len(content), 20),
        n_header,
        len(content) - 1,
        content.index(b"train_loss") + 20,  # within the number
    }
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"damaged or no checkpoint.*Delete it"):
            embedder(checkpoint_dir=tmp_path).fit(X, y)
    file.write_bytes(content)
    embedder(checkpoint_dir=tmp_path).fit(X, y)


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_obey_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        embedder(checkpoint_dir=tmp_path).fit(X, y)
    finally:
        os.umask(before)
    for name in (NAME, LOCK):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask


def test_directories_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"checkpoint_dir='.*file.*' cannot be used"):
            embedder(checkpoint_dir=place).fit(X, y)
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match=r"^checkpoint_dir: .* cannot be read"):
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
    assert {*os.listdir(tmp_path)} == {NAME, LOCK}
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
    assert os.listdir(tmp_path) == [LOCK]
