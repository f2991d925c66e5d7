import numpy as np
import optuna
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from sk_dml import TripletEmbedder
from sk_dml.datasets import ImageSequence
from sk_dml.reality_check import _compare
from tests.reality_check.small import data, outcome, small

X, y = data()


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


@pytest.mark.parametrize(
    ("pruner", "reason"),
    [
        (None, "its only trial failed with fold 0: ValueError"),
        (optuna.pruners.ThresholdPruner(lower=2.0), "2 of 2 trials were pruned"),
    ],
)
def test_reasons_of_methods_without_a_setting(pruner, reason):
    width = 99 if pruner is None else 2
    result = small(
        estimators={"PCA": PCA(width)},
        search_spaces={} if pruner is None else {"PCA": {"whiten": [False, True]}},
        n_trials=2,
        pruner=pruner,
    ).run(X, y)
    assert result.methods[0]["reason"].startswith(reason)


def test_another_process_may_find_better_in_between(tmp_path, monkeypatch):
    """What is repeated goes by the name of what was chosen."""
    params = {
        "estimators": {"PCA": PCA()},
        "search_spaces": {"PCA": {"n_components": [1, 2, 3, 4, 5]}},
        "storage": f"sqlite:///{tmp_path}/check.db",
    }
    choose = _compare._choose

    def choose_and_go_on(search, methods):
        chosen = choose(search, methods)
        monkeypatch.setattr(_compare, "_choose", choose)
        small(**params, n_repeats=1).run(X, y)
        return chosen

    monkeypatch.setattr(_compare, "_choose", choose_and_go_on)
    small(**params, n_trials=1).run(X, y)
    again = small(**params).run(X, y)
    expected = small(**params | {"storage": None}).run(X, y)
    assert again.repeats == expected.repeats
