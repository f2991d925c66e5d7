import enum
from pathlib import Path

import numpy as np
import pytest
import skorch
import torch

from sk_dml import CircleEmbedder
from sk_dml._training import _checkpoint
from sk_dml._training._checkpoint import describe, describe_run, differences
from sk_dml.datasets import ImageSequence


def linear(value=0.0, n=2):
    module = torch.nn.Linear(n, 2)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, value)
    return module


def values():
    """Values that differ from each other, made anew each time."""
    rows = np.arange(6.0).reshape(2, 3)
    return [
        None,
        True,
        3,
        0.1,
        "a",
        Path("b"),
        [1, 2],
        {"a": (1, 2)},
        rows,
        rows.T,
        rows.astype(np.float32),
        rows.reshape(3, 2),
        rows + 1e-13,
        np.array(["x", "yy"]),
        np.array(["x", 2], dtype=object),
        np.array(["x", "2"], dtype=object),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([]),
        torch.ones(3),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor(1.0),
        torch.float32,
        torch.optim.SGD,
        np.mean,
        linear(),
        linear(1.0),
        linear(0.0, 3),
        torch.nn.ReLU(),
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


def test_layout_and_blocks_do_not_matter(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 7))
    expected = describe(rows)
    assert describe(np.asfortranarray(rows)) == expected
    assert describe(np.repeat(rows, 2, axis=0)[::2]) == expected
    monkeypatch.setattr(_checkpoint, "BLOCK", 100)
    assert describe(rows) == expected


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


@pytest.mark.parametrize(
    "name", sorted(CircleEmbedder().get_params().keys() - _checkpoint.LEFT_OUT)
)
def test_every_parameter_counts(name):
    run = describe_run(CircleEmbedder(), {})
    changed = describe_run(CircleEmbedder().set_params(**{name: "other"}), {})
    assert [text.split()[0] for text in differences(run, changed)] == [name]
