from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sk_dml._inputs._decode import load_square
from tests._inputs.images import SIDE, of_arrays, quick

N_FILES, N_CLASSES = 48, 6


def draw(label, rng):
    """A noisy picture of 20 x 24 whose color and stripes tell its class."""
    image = rng.normal(110, 25, (20, 24, 3))
    image[:, :, label % 3] += 60
    image[label // 3 :: 4] -= 70
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Paths of small photographs, an array of str, and their classes."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    y = np.arange(N_FILES) % N_CLASSES
    paths = [folder / f"{i}.png" for i in range(N_FILES)]
    for path, label in zip(paths, y, strict=True):
        Image.fromarray(draw(label, rng)).save(path)
    return np.array([str(path) for path in paths]), y


@pytest.fixture
def broken_files(files, tmp_path):
    """Paths of which three are bad: one truncated, one empty, one missing."""
    paths, y = files
    paths = paths.astype(object)
    content = Path(paths[4]).read_bytes()
    bad = [tmp_path / name for name in ("truncated.png", "empty.png", "missing.png")]
    bad[0].write_bytes(content[: len(content) // 2])
    bad[1].write_bytes(b"")
    indices = [4, 17, 30]
    paths[indices] = [str(path) for path in bad]
    return paths, y, indices


@pytest.fixture(scope="session")
def fitted(files):
    """An embedder of the files; not to be fitted again."""
    return quick().fit(*files)


@pytest.fixture
def stored(tmp_path):
    """A function that writes an array to disk and returns it as a memmap."""

    def store(X):
        array = np.memmap(tmp_path / "X", dtype=X.dtype, mode="w+", shape=X.shape)
        array[:] = X
        return array

    return store


@pytest.fixture(scope="session")
def decoded(files):
    """The files as an array, and their embedding by an embedder of arrays."""
    paths, y = files
    X = np.stack([load_square(path, SIDE) for path in paths])
    return X, of_arrays().fit(X, y).transform(X)
