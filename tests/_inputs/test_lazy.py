import numpy as np
import pytest
from PIL import Image

from sk_dml import CircleEmbedder
from sk_dml._inputs._arrays import check_inputs, training_statistics
from sk_dml._inputs._decode import load_square
from sk_dml._inputs._files import DecodedImages, StoredImages, evenly_spaced
from sk_dml._training._validation import split_validation
from sk_dml.datasets import ImageSequence


@pytest.fixture
def stored(tmp_path):
    def store(X):
        array = np.memmap(tmp_path / "X", dtype=X.dtype, mode="w+", shape=X.shape)
        array[:] = X
        return array

    return store


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, bool])
@pytest.mark.parametrize("shape", [(30, 6, 5), (30, 3, 6, 5), (30, 6, 5, 3)])
def test_stored_images_are_what_arrays_would_be(shape, dtype, stored):
    X = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    expected = check_inputs(CircleEmbedder(), X, reset=True)
    found = check_inputs(CircleEmbedder(), stored(X), reset=True)
    assert isinstance(found, StoredImages)
    assert found.shape == expected.shape
    assert (found.dtype, found.nbytes) == (expected.dtype, expected.nbytes)
    places = np.array([7, 0, 29])
    images, readable = found.read(places)
    np.testing.assert_array_equal(images, expected[places])
    assert images.dtype == expected.dtype
    assert readable.all()
    mask = np.arange(30) % 3 == 1
    assert len(found[mask]) == 10
    np.testing.assert_array_equal(
        found[mask][places[::-1] % 3].read(np.arange(3))[0],
        expected[mask][places[::-1] % 3],
    )


def test_statistics_come_from_a_sample(stored, files, monkeypatch):
    X = np.random.default_rng(0).normal(3, 2, (2500, 4, 4)).astype(np.float32)
    lazy = check_inputs(CircleEmbedder(), stored(X), reset=True)
    sample = X[evenly_spaced(2500, 1000)][:, None]
    for found, expected in zip(
        training_statistics(lazy), training_statistics(sample), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    paths, _ = files
    images = check_inputs(CircleEmbedder(image_size=16), paths, reset=True)
    whole = np.stack([load_square(path, 18) for path in paths])
    for found, expected in zip(
        training_statistics(images), training_statistics(whole), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_statistics_of_large_images_come_from_fewer(files, monkeypatch):
    paths, _ = files
    taken = []

    class Spy(DecodedImages):
        def read(self, places):
            taken.extend(places)
            return super().read(places)

    images = Spy(ImageSequence(np.resize(paths, 100_000)), 600, "raise")
    training_statistics(images[:500])
    assert len(taken) == 2**26 // (3 * 600**2)
    assert (taken[0], taken[-1]) == (0, 499)


@pytest.mark.parametrize(("n", "wanted"), [(10, 3), (10, 10), (3, 10), (100_000, 1000)])
def test_evenly_spaced(n, wanted):
    found = evenly_spaced(n, wanted)
    assert len(found) == min(n, wanted)
    assert (found[0], found[-1]) == (0, n - 1)
    assert np.ptp(np.diff(found)) <= 1


def test_held_out_images_are_not_read(files):
    paths, y = files
    embedder = CircleEmbedder(image_size=16, validation_fraction=0.34, batch_size=16)
    X = check_inputs(embedder, paths, reset=True)
    X.read = None
    kept, classes, targets, (held, labels) = split_validation(
        embedder, X, np.unique(y), y, 0
    )
    assert len(kept) + len(held) == len(y)
    assert len(held) == len(labels)
    for images, given in ((kept, classes[targets]), (held, labels)):
        assert isinstance(images, DecodedImages)
        order = [paths.tolist().index(path) for path in images.images]
        np.testing.assert_array_equal(y[order], given)


def test_descriptions_tell_what_differs(files, stored):
    paths, _ = files
    X = np.zeros((5, 4, 4), np.uint8)
    lazy = StoredImages(stored(X), channels_last=False)
    before = lazy.describe()
    assert lazy[np.arange(5)].describe() == before
    lazy.array[4, 3, 3] = 1
    assert lazy.describe() != before
    images = DecodedImages(ImageSequence(paths), 8, "raise")
    described = images.describe()
    assert images[np.arange(48)].describe() == described
    others = [
        images[np.arange(48)[::-1]],
        images[np.arange(47)],
        DecodedImages(ImageSequence(paths), 9, "raise"),
    ]
    assert described not in [other.describe() for other in others]


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    paths = np.full(200_000, str(tmp_path / "a.png"))
    X = check_inputs(CircleEmbedder(image_size=227), paths, reset=True)
    assert X.shape == (200_000, 3, 256, 256)
    assert X.nbytes == 200_000 * 3 * 256 * 256
    assert X[np.arange(200_000) % 2 == 0].read(np.arange(2))[0].shape[0] == 2
