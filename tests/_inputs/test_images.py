import warnings

import numpy as np
import pytest
import torch
from sklearn import config_context

from sk_dml import CircleEmbedder
from sk_dml._inputs import make_source
from sk_dml._inputs._images import ArrayImages, StoredImages
from sk_dml._inputs._source import evenly_spaced
from tests._inputs.images import quick


def source_of(X):
    return make_source(CircleEmbedder(), X, reset=True)


# Arrays


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
def test_images_become_channels_first(shape, expected):
    for dtype in (np.uint8, np.float32, np.float64, np.int64, bool):
        X = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
        images = source_of(X).array
        assert images.shape == expected
        assert images.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
        moved = np.moveaxis(X, -1, 1) if len(shape) == 4 and expected != shape else X
        np.testing.assert_array_equal(images.ravel(), moved.ravel())


@pytest.mark.parametrize("shape", [(5, 16, 16, 5), (5, 12, 16, 6), (5, 16, 12, 8)])
def test_many_channels_last_are_refused(shape, stored):
    X = np.zeros(shape, np.uint8)
    message = (
        rf"\(5, .*{shape[-1]}\)\. Its second axis is taken for the channels.*"
        rf"{shape[1]} channels of {shape[2]} x {shape[3]}.*np\.moveaxis\(X, -1, 1\)"
    )
    for images in (X, stored(X)):
        with pytest.raises(ValueError, match=message):
            source_of(images)
        moved = np.moveaxis(images, -1, 1)
        assert source_of(moved).shape == moved.shape


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3), (8, 9)])
@pytest.mark.parametrize("kind", [list, tuple, torch.from_numpy, "tensors"])
def test_lists_and_tensors_are_what_arrays_are(kind, shape):
    for dtype in (np.uint8, np.float32, np.int64):
        X = np.random.default_rng(0).integers(0, 256, size=(6, *shape)).astype(dtype)
        given = [*torch.from_numpy(X)] if kind == "tensors" else kind(X)
        expected, images = source_of(X).array, source_of(given).array
        assert images.dtype == expected.dtype
        np.testing.assert_array_equal(images, expected)


def test_nested_lists_are_images():
    images = [np.zeros((4, 4)), np.ones((4, 4))]
    for X in (images, [image.tolist() for image in images]):
        assert source_of(X).shape == (2, 1, 4, 4)


def test_arrays_without_pixels_are_refused():
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(4, 0, 8\)\)"):
        source_of(np.zeros((4, 0, 8)))


def test_statistics_are_by_channel():
    X = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 6)).astype(np.uint8)
    X[:, 1] = 9
    with config_context(working_memory=0.01):  # blocks of a few images
        mean, scale = ArrayImages.from_array(X).statistics()
    assert mean.shape == scale.shape == (3, 1, 1)
    expected = X.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(mean.ravel(), expected.mean(axis=1), rtol=1e-6)
    assert scale.ravel()[1] == 1
    np.testing.assert_allclose(scale.ravel()[0], expected[0].std(), rtol=1e-6)


def test_gray_images_have_equal_channels():
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, size=(40, 1, 8, 8), dtype=np.uint8)
    three = gray.repeat(3, axis=1)
    assert ArrayImages.from_array(gray).default_augment == "affine"
    assert ArrayImages.from_array(three).default_augment == "affine"
    three[-1, 0, 0, 0] ^= 1
    assert ArrayImages.from_array(three).default_augment == "crop"
    assert ArrayImages.from_array(gray.repeat(2, axis=1)).default_augment == "crop"


# Memmaps


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, bool])
@pytest.mark.parametrize("shape", [(30, 6, 5), (30, 3, 6, 5), (30, 6, 5, 3)])
def test_stored_images_are_what_arrays_would_be(shape, dtype, stored):
    X = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    expected, source = source_of(X), source_of(stored(X))
    assert isinstance(source, StoredImages)
    assert (source.shape, source.dtype) == (expected.shape, expected.dtype)
    indices = np.array([7, 0, 29])
    images, readable = source.take(indices)
    np.testing.assert_array_equal(images, expected.array[indices])
    assert images.dtype == expected.dtype
    assert readable.all()
    mask = np.arange(30) % 3 == 1
    assert len(source[mask]) == 10
    np.testing.assert_array_equal(
        source[mask][indices[::-1] % 3].take(np.arange(3))[0],
        expected.array[mask][indices[::-1] % 3],
    )
    assert source.fingerprint() == expected.fingerprint()
    for one, other in zip(source.statistics(), expected.statistics(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("layout", "dtype"), [("n h w", "i2"), ("n h w c", "u1")])
def test_embeddings_of_memmaps_are_those_of_arrays(
    layout, dtype, files, decoded, stored
):
    y = files[1]
    X = decoded[0].astype(dtype)
    X = {"n h w": X[:, 0], "n h w c": np.moveaxis(X, 1, -1)}[layout]
    expected = quick(image_size=None).fit(X, y).transform(X)
    memmap = stored(X)
    embedder = quick(image_size=None).fit(memmap, y)
    np.testing.assert_array_equal(embedder.transform(memmap), expected)
    np.testing.assert_array_equal(embedder.transform(X), expected)
    assert embedder.image_size_ is None
    assert embedder.n_features_in_ == X[0].size


def test_memmaps_are_held_to_what_arrays_are(files, decoded, stored):
    y = files[1]
    X = np.ones((len(y), 8, 8), np.float32)
    memmap = stored(X)
    memmap[-1, 0, 0] = np.nan
    linear = quick(image_size=None, module="linear")
    with pytest.raises(ValueError, match="Input X contains NaN"):
        linear.fit(memmap, y)
    memmap[-1, 0, 0] = 0
    linear.fit(decoded[0], y)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but .*\(3, 18, 18\)"):
        linear.transform(memmap)
    with pytest.raises(ValueError, match="image_size=16 is for files"):
        quick().fit(memmap, y)


def test_statistics_of_memmaps_come_from_a_sample(stored):
    X = np.random.default_rng(0).normal(3, 2, (2500, 4, 4)).astype(np.float32)
    sample = source_of(X[evenly_spaced(2500, 1000)])
    for one, other in zip(
        source_of(stored(X)).statistics(), sample.statistics(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


# The scale of the values

SMALL = {"module": "linear", "max_epochs": 1, "batch_size": 16, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (32, 8, 8)).astype(np.uint8), np.arange(32) % 4


def fitted_to(X, y):
    return CircleEmbedder(4, **SMALL).fit(X, y)


@pytest.mark.parametrize("as_memmap", [False, True])
def test_other_scales_are_refused(data, as_memmap, stored):
    X, y = data
    keep = stored if as_memmap else np.asarray
    on_uint8, on_shares = fitted_to(keep(X), y), fitted_to(keep(X / np.float32(255)), y)
    message = r"floats from 0 to 1, but CircleE.* of uint8 from 0 to 255\..*np\.uint8"
    parted = CircleEmbedder(4, **SMALL).partial_fit(keep(X), y)
    for embedder in (on_uint8, parted):
        with pytest.raises(ValueError, match=message):
            embedder.transform(keep(X / 255))
    with pytest.raises(ValueError, match=message):
        parted.partial_fit(keep(X / 255), y)
    with pytest.raises(ValueError, match=f"validation_data does not fit: .*{message}"):
        CircleEmbedder(4, **SMALL).fit(X, y, validation_data=(keep(X / 255), y))
    message = r"uint8 from 0 to 255, .*of floats from 0 to 1\..*X / 255"
    with pytest.raises(ValueError, match=message):
        on_shares.transform(keep(X))
    normalized = (X / 255 - 0.45) / 0.22
    for embedder, given in ((on_uint8, normalized), (fitted_to(normalized, y), X)):
        with pytest.raises(ValueError, match=r"but CircleEmbedder was fitted with im"):
            embedder.transform(keep(given))


def test_floats_of_another_scale_raise_a_warning(data):
    X, y = data
    on_shares, on_numbers = fitted_to(X / 255, y), fitted_to(X.astype(float), y)
    with pytest.warns(UserWarning, match=r"floats from 0 to 255.* 0 to 1\..*X / 255"):
        on_shares.transform(X.astype(float))
    with pytest.warns(UserWarning, match=r"floats from 0 to 1.* to 255\..*255 \* X"):
        on_numbers.transform(X / 255)


def test_files_are_uint8(fitted):
    with pytest.raises(ValueError, match=r"floats from .* uint8 from 0 to 255"):
        fitted.transform(np.full((2, 3, 18, 18), 0.7))


def test_images_that_may_be_of_the_same_scale_pass(data):
    X, y = data
    dark, binary = X // 128, (X > 99).astype(np.uint8)
    numbers = X.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for trained, given in (
            (X, [X, numbers, X.astype(int), dark, 0 * X, 0 * numbers, numbers / 9]),
            (numbers, [X, dark, numbers, 0 * X]),
            (X / 255, [X / 255, X / 255 / 9, 1.2 * X / 255 - 0.1, 0 * X, binary]),
            (binary, [binary, binary.astype(float), binary.astype(bool), X / 255]),
        ):
            embedder = fitted_to(trained, y)
            for images in given:
                embedder.transform(images)


def test_a_new_fit_has_a_new_scale(data):
    X, y = data
    embedder = fitted_to(X, y).fit(X / 255, y)
    embedder.transform(X / 255)
    with pytest.raises(ValueError, match="but CircleEmbedder was fitted with images"):
        embedder.transform(X)
