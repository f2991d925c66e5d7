"""Comparisons take images of files and of datasets."""

import numpy as np
import pytest
from PIL import Image

from sk_dml import TripletEmbedder
from sk_dml.datasets import ImageSequence
from tests.benchmark.small import outcome, small


@pytest.fixture
def photographs(tmp_path):
    """Paths of 40 small pictures of eight classes, of several sizes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 5)
    tiles = rng.integers(0, 255, (8, 3, 3, 3)).astype(np.uint8)
    paths = [str(tmp_path / f"{i}.png") for i in range(40)]
    for i, (path, label) in enumerate(zip(paths, labels, strict=True)):
        size = 16 + i % 5, 20
        Image.fromarray(tiles[label]).resize(size, Image.Resampling.NEAREST).save(path)
    return np.array(paths), labels


def check_images(**params):
    embedder = TripletEmbedder(4, max_epochs=1, image_size=16, batch_size=8, **params)
    settings = {"n_trials": 1, "n_repeats": 1, "metrics": ["map_at_r"]}
    return small(estimators={"Triplet": embedder}, baselines=None, **settings)


def test_datasets_are_files_that_are_read_when_needed(photographs, monkeypatch):
    paths, labels = photographs

    def refuse(self, *_, **__):
        raise AssertionError("all images are read at once")

    monkeypatch.setattr(ImageSequence, "__array__", refuse, raising=False)
    expected = check_images().run(paths, labels)
    # Images of several sizes make no array.
    pairs = [(np.asarray(Image.open(path)), None) for path in paths]
    found = check_images().run(ImageSequence(pairs), labels)
    assert [row["n"] for row in found.rows()] == [1] * 4
    assert outcome(found) == outcome(expected)


def test_images_that_cannot_be_read_are_left_out(photographs, tmp_path):
    paths, labels = photographs
    expected = check_images().run(paths[:-1], labels[:-1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = np.array([*paths[:-1], str(broken)])
    said = "rows are NaN|1 of 20 samples have no embedding"
    with pytest.warns(UserWarning, match=said):
        found = check_images(on_bad_image="skip").run(paths, labels)
    assert [row["n"] for row in found.rows()] == [1] * 4
    assert outcome(found) == outcome(expected)
