import warnings

import numpy as np
import pytest

from sk_dml import CircleEmbedder

SMALL = {"module": "linear", "max_epochs": 1, "batch_size": 16, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (32, 8, 8)).astype(np.uint8), np.arange(32) % 4


def fitted(X, y):
    return CircleEmbedder(4, **SMALL).fit(X, y)


def stored(X, folder):
    array = np.memmap(folder / "X", X.dtype, "w+", shape=X.shape)
    array[:] = X
    return array


@pytest.mark.parametrize("as_memmap", [False, True])
def test_other_scales_are_refused(data, as_memmap, tmp_path):
    X, y = data
    keep = (lambda X: stored(X, tmp_path)) if as_memmap else np.asarray
    on_uint8, on_shares = fitted(keep(X), y), fitted(keep(X / np.float32(255)), y)
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
    normalised = (X / 255 - 0.45) / 0.22
    for embedder, given in (
        (on_uint8, normalised),
        (fitted(normalised, y), X),
    ):
        with pytest.raises(ValueError, match=r"but CircleEmbedder was fitted with im"):
            embedder.transform(keep(given))


def test_floats_of_another_scale_are_warned_of(data):
    X, y = data
    on_shares, on_numbers = fitted(X / 255, y), fitted(X.astype(float), y)
    with pytest.warns(UserWarning, match=r"floats from 0 to 255.* 0 to 1\..*X / 255"):
        on_shares.transform(X.astype(float))
    with pytest.warns(UserWarning, match=r"floats from 0 to 1.* to 255\..*255 \* X"):
        on_numbers.transform(X / 255)


def test_files_are_uint8(files):
    paths, y = files
    embedder = CircleEmbedder(4, image_size=16, **SMALL).fit(paths, y)
    with pytest.raises(ValueError, match=r"floats from .* uint8 from 0 to 255"):
        embedder.transform(np.full((2, 3, 18, 18), 0.7))


def test_what_may_be_of_the_same_scale_passes(data):
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
            embedder = fitted(trained, y)
            for images in given:
                embedder.transform(images)


def test_a_new_fit_has_a_new_scale(data):
    X, y = data
    embedder = fitted(X, y).fit(X / 255, y)
    embedder.transform(X / 255)
    with pytest.raises(ValueError, match="but CircleEmbedder was fitted with images"):
        embedder.transform(X)
