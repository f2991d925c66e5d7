import numpy as np
import pytest
import torch
from sklearn import config_context

from sk_dml import CircleEmbedder
from sk_dml._inputs import _arrays
from sk_dml._inputs._arrays import (
    check_inputs,
    looks_grey,
    training_sample,
    training_statistics,
)
from sk_dml._inputs._loading import ArrayDataset


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 8, 9), (5, 1, 8, 9)),
        ((5, 3, 8, 9), (5, 3, 8, 9)),
        ((5, 8, 9, 3), (5, 3, 8, 9)),
        ((5, 8, 9, 1), (5, 1, 8, 9)),
        ((5, 16, 8, 9), (5, 16, 8, 9)),
        ((5, 3, 3, 3), (5, 3, 3, 3)),
        ((5, 9, 6, 6), (5, 9, 6, 6)),
        ((5, 6, 7, 8), (5, 6, 7, 8)),
        ((5, 5, 9, 7), (5, 5, 9, 7)),
        ((5, 7, 7, 7), (5, 7, 7, 7)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, bool])
def test_images_become_channels_first(shape, expected, dtype):
    X = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    found = check_inputs(CircleEmbedder(), X, reset=True)
    assert found.shape == expected
    assert found.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    moved = np.moveaxis(X, -1, 1) if len(shape) == 4 and expected != shape else X
    np.testing.assert_array_equal(found.ravel(), moved.ravel())


@pytest.mark.parametrize("shape", [(5, 16, 16, 5), (5, 12, 16, 6), (5, 16, 12, 8)])
def test_many_channels_last_are_not_taken_for_others(shape, tmp_path):
    X = np.zeros(shape, np.uint8)
    stored = np.memmap(tmp_path / "X", X.dtype, "w+", shape=shape)
    message = (
        rf"\(5, .*{shape[-1]}\)\. Its second axis is taken for the channels.*"
        rf"{shape[1]} channels of {shape[2]} x {shape[3]}.*np\.moveaxis\(X, -1, 1\)"
    )
    for images in (X, stored):
        with pytest.raises(ValueError, match=message):
            check_inputs(CircleEmbedder(), images, reset=True)
        moved = np.moveaxis(images, -1, 1)
        found = check_inputs(CircleEmbedder(), moved, reset=True)
        assert found.shape == moved.shape


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3), (8, 9)])
@pytest.mark.parametrize("kind", [list, tuple, torch.from_numpy, "tensors"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_lists_and_tensors_are_what_arrays_are(kind, shape, dtype):
    X = np.random.default_rng(0).integers(0, 256, size=(6, *shape)).astype(dtype)
    given = [*torch.from_numpy(X)] if kind == "tensors" else kind(X)
    expected = check_inputs(CircleEmbedder(), X, reset=True)
    found = check_inputs(CircleEmbedder(), given, reset=True)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_lists_of_images_are_images():
    images = [np.zeros((4, 4)), np.ones((4, 4))]
    for X in (images, [image.tolist() for image in images]):
        found = check_inputs(CircleEmbedder(), X, reset=True)
        assert found.shape == (2, 1, 4, 4)


def test_lists_of_images_of_several_shapes_say_what_to_do():
    X = [np.zeros((9, 8 + i % 2, 3), np.uint8) for i in range(6)]
    with pytest.raises(ValueError, match=r"2 shapes.*\(9, 8, 3\), \(9, 9, 3\).*Seq"):
        CircleEmbedder().fit(X, [0, 1] * 3)


def test_statistics_of_rows():
    X = np.random.default_rng(0).normal(3, 2, size=(50, 4))
    X[:, 1] += 1e9
    X[:, 2] = 7
    mean, scale = training_statistics(X)
    assert mean.dtype == scale.dtype == torch.float64
    np.testing.assert_allclose(mean, X.mean(axis=0))
    np.testing.assert_allclose(scale, [*X.std(axis=0)[:2], 1, X.std(axis=0)[3]])


def test_statistics_of_many_rows_are_taken_in_blocks(monkeypatch):
    X = np.random.default_rng(0).normal(3, 2, size=(500, 4))
    X[:, 1] += 1e3
    whole = training_statistics(X)
    taken = []

    class Spy(_arrays.StandardScaler):
        def partial_fit(self, X):
            taken.append(len(X))
            return super().partial_fit(X)

    monkeypatch.setattr(_arrays, "StandardScaler", Spy)
    monkeypatch.setattr(_arrays, "SMALLEST_BLOCK", 40)
    for found, expected in zip(training_statistics(X), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert sum(taken) == 500
    assert max(taken) < 20


def test_statistics_of_images_are_by_channel():
    X = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 6)).astype(np.uint8)
    X[:, 1] = 9
    with config_context(working_memory=0.01):  # blocks of a few images
        mean, scale = training_statistics(X)
    assert mean.shape == scale.shape == (3, 1, 1)
    expected = X.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(mean.ravel(), expected.mean(axis=1), rtol=1e-6)
    assert scale.ravel()[1] == 1
    np.testing.assert_allclose(scale.ravel()[0], expected[0].std(), rtol=1e-6)


def test_overflowing_statistics_are_refused():
    X = np.ones((5, 2))
    X[0, 1] = 1e200
    with pytest.raises(ValueError, match=r"X holds values up to 1e\+200, too large"):
        training_statistics(X)


def test_a_batch_is_one_fetch():
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    rows, labels = ArrayDataset(X, y)[np.array([4, 1, 1])]
    assert rows.tolist() == [[8, 9], [2, 3], [2, 3]]
    assert labels.tolist() == [4, 1, 1]
    assert len(ArrayDataset(X)) == 6


def test_grey_images_have_equal_channels():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, size=(40, 1, 8, 8), dtype=np.uint8)
    assert looks_grey(grey)
    three = grey.repeat(3, axis=1)
    assert looks_grey(three)
    three[-1, 0, 0, 0] ^= 1
    assert not looks_grey(three)
    assert not looks_grey(grey.repeat(2, axis=1))
    assert not looks_grey(np.zeros((5, 3)))


def test_samples_of_training_come_in_blocks_with_their_classes():
    X = np.arange(100.0)[:, None]
    blocks = list(training_sample(X, np.arange(100), n_wanted=50, size=20))
    assert [len(rows) for rows, _ in blocks] == [20, 20, 10]
    rows, labels = (torch.cat(part) for part in zip(*blocks, strict=True))
    assert torch.equal(rows[:, 0].long(), labels)
    assert len(labels.unique()) == 50
    assert labels.max() - labels.min() > 90
