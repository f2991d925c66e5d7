import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)
from sk_dml._inputs._decode import load_square
from sk_dml._networks._augment import RandomAffine, RandomResizedCrop
from sk_dml.datasets import ImageSequence, load_image_folder
from tests._inputs.images import (
    SIDE,
    Column,
    HubDataset,
    Photographs,
    of_arrays,
    quick,
)

# Kinds


@pytest.mark.parametrize(
    "kind", ["str", "object", "list", "tuple", "Path", "series", "string", "polars"]
)
def test_paths_in_every_container(kind, files, decoded):
    paths, y = files
    X = {
        "str": paths,
        "object": paths.astype(object),
        "list": paths.tolist(),
        "tuple": tuple(paths),
        "Path": [Path(path) for path in paths],
        "series": pd.Series(paths.astype(object), index=range(9, 9 + len(paths))),
        "string": pd.Series(paths, dtype="string"),
        "polars": pl.Series(paths.tolist()),
    }[kind]
    embedder = quick().fit(X, y)
    np.testing.assert_array_equal(embedder.transform(X), decoded[1])
    assert embedder.image_size_ == 16
    assert embedder.n_features_in_ == 3 * SIDE**2
    assert not hasattr(embedder, "feature_names_in_")
    assert not hasattr(embedder, "bad_images_")


def tensor_of(image):
    return torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda paths, y: Photographs(paths, y),
        lambda paths, y: Photographs(paths, y, tensor_of),
        lambda paths, y: Photographs(paths, y, np.asarray),
        lambda paths, y: HubDataset(paths, y),
        lambda paths, y: ImageSequence(HubDataset(paths, y)),
        lambda paths, y: ImageSequence(paths.tolist()),
        lambda paths, y: [*Photographs(paths, y)],
        lambda paths, y: [image for image, _ in Photographs(paths, y)],
        lambda paths, y: Column([image for image, _ in Photographs(paths, y)]),
        lambda paths, y: Column(paths.tolist()),
        lambda paths, y: pd.Series([image for image, _ in Photographs(paths, y)]),
        lambda paths, y: [HubDataset(paths, y)[i] for i in range(len(y))],
    ],
    ids=[
        "torch",
        "torch tensors",
        "torch arrays",
        "hub",
        "wrapped",
        "wrapped paths",
        "pairs",
        "Pillow",
        "column of Pillow",
        "column of paths",
        "Series of Pillow",
        "dicts",
    ],
)
def test_datasets(make, files, decoded):
    X = make(*files)
    embedder = quick().fit(X, files[1])
    np.testing.assert_array_equal(embedder.transform(X), decoded[1])
    # Files, datasets and arrays of the same images are the same.
    np.testing.assert_array_equal(embedder.transform(files[0]), decoded[1])
    np.testing.assert_array_equal(embedder.transform(decoded[0]), decoded[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("layout", ["n h w", "n c h w", "n h w c"])
def test_memmaps(layout, dtype, files, decoded, tmp_path):
    y = files[1]
    X = decoded[0].astype(dtype)
    X = {"n h w": X[:, 0], "n c h w": X, "n h w c": np.moveaxis(X, 1, -1)}[layout]
    stored = np.memmap(tmp_path / "X", dtype=dtype, mode="w+", shape=X.shape)
    stored[:] = X
    expected = quick(image_size=None).fit(X, y)
    embedder = quick(image_size=None).fit(stored, y)
    np.testing.assert_array_equal(embedder.transform(stored), expected.transform(X))
    np.testing.assert_array_equal(embedder.transform(X), expected.transform(X))
    assert embedder.image_size_ is None
    assert embedder.n_features_in_ == X[0].size


def test_memmaps_are_held_to_what_arrays_are(files, decoded, tmp_path):
    y = files[1]
    stored = np.memmap(tmp_path / "X", np.float32, "w+", shape=(len(y), 8, 8))
    stored[:] = 1
    stored[-1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        quick(image_size=None).fit(stored, y)
    stored[-1, 0, 0] = 0
    embedder = quick(image_size=None).fit(decoded[0], y)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), but .*\(3, 18, 18\)"):
        embedder.transform(stored)
    with pytest.raises(ValueError, match="image_size=16 is for files"):
        quick().fit(stored, y)


# scikit-learn


def test_grid_search_over_paths_in_processes(files):
    paths, y = files
    pipeline = make_pipeline(quick(), KNeighborsClassifier(1))
    grid = {"circleembedder__margin": [0.25, 0.4]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(paths.tolist(), y)
    again = clone(search).set_params(n_jobs=1).fit(pd.Series(paths), y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"]
    )
    assert search.predict(paths[:5]).shape == (5,)


@pytest.mark.parametrize("wrap", [Photographs, HubDataset])
def test_cross_validation_of_datasets_and_paths_agree(wrap, files):
    paths, y = files
    how = {"cv": ClassDisjointKFold(2), "scoring": map_at_r, "error_score": "raise"}
    expected = cross_validate(quick(), paths, y, **how)["test_score"]
    for n_jobs in (1, 2):
        X = ImageSequence(wrap(paths, y))
        found = cross_validate(quick(), X, y, n_jobs=n_jobs, **how)["test_score"]
        np.testing.assert_array_equal(found, expected)


def test_copies_embed_alike(files, decoded):
    paths, y = files
    embedder = quick().fit(paths, y)
    for again in (pickle.loads(pickle.dumps(embedder)), clone(embedder).fit(paths, y)):
        np.testing.assert_array_equal(again.transform(paths), decoded[1])
    assert embedder.set_params(image_size=32).image_size_ == 16
    np.testing.assert_array_equal(embedder.transform(paths), decoded[1])


def test_output_containers_keep_the_index(files):
    paths, y = files
    embedder = quick(n_components=3).fit(paths, y).set_output(transform="pandas")
    series = pd.Series(paths, index=[f"row {i}" for i in range(len(paths))])
    assert embedder.transform(series).index.tolist() == series.index.tolist()
    assert embedder.transform(paths.tolist()).shape == (len(paths), 3)


def test_folders_go_straight_into_fit(files, tmp_path):
    paths, y = files
    for i, (path, label) in enumerate(zip(paths, y, strict=True)):
        folder = tmp_path / f"class {label}"
        folder.mkdir(exist_ok=True)
        (folder / f"{i:02d}.png").write_bytes(Path(path).read_bytes())
    folder = load_image_folder(tmp_path)
    embedder = quick().fit(folder.paths, folder.target_names[folder.target])
    assert embedder.classes_.tolist() == [f"class {i}" for i in range(6)]
    assert embedder.transform(folder.paths).shape == (len(y), 64)


# Training


def test_files_are_learned(files):
    paths, y = files
    untrained = quick(lr=1e-9, max_epochs=1).fit(paths, y)
    embedder = quick(max_epochs=15).fit(paths, y)
    score = map_at_r(embedder, paths, y)
    assert score > 0.95
    assert score > map_at_r(untrained, paths, y) + 0.05


@pytest.mark.parametrize("cls", [CircleEmbedder, NormalizedSoftmaxEmbedder])
def test_whoever_reads_the_result_is_the_same(cls, files):
    paths, y = files
    per_class = {"samples_per_class": None} if cls is not CircleEmbedder else {}
    expected = quick(cls, **per_class).fit(paths, y).transform(paths)
    for net_params in (
        {"iterator_train__num_workers": 0, "iterator_valid__num_workers": 0},
        {"iterator_train__num_workers": 2, "iterator_valid__num_workers": 2},
        {"iterator_train__num_workers": 1, "iterator_train__prefetch_factor": 3},
        {"iterator_train__prefetch_factor": 1, "iterator_valid__batch_size": 5},
    ):
        embedder = quick(cls, net_params=net_params, **per_class).fit(paths, y)
        np.testing.assert_allclose(
            embedder.transform(paths),
            expected,
            atol=1e-6 if "iterator_valid__batch_size" in net_params else 0,
            rtol=0,
        )


def test_workers_may_be_spawned(files, decoded):
    paths, y = files
    net_params = {
        "iterator_train__num_workers": 1,
        "iterator_train__multiprocessing_context": "spawn",
        "iterator_train__persistent_workers": True,
    }
    embedder = quick(net_params=net_params).fit(paths, y)
    np.testing.assert_array_equal(embedder.transform(paths), decoded[1])


def test_nothing_global_is_touched(files):
    paths, y = files
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().fit(paths, y).transform(paths)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_validation_on_files(files):
    paths, y = files
    embedder = quick(early_stopping=True, validation_fraction=0.34).fit(paths, y)
    assert 0 <= embedder.best_score_ <= 1
    given = quick().fit(paths[::2], y[::2], validation_data=(paths[1::2], y[1::2]))
    assert [0 <= row["valid_score"] <= 1 for row in given.history_] == [True] * 2
    arrays = of_arrays(early_stopping=True, validation_fraction=0.34)
    X = np.stack([load_square(path, SIDE) for path in paths])
    assert arrays.fit(X, y).best_score_ == embedder.best_score_


def test_going_on_keeps_the_size(files):
    paths, y = files
    embedder = quick(warm_start=True).fit(paths, y)
    assert embedder.set_params(image_size=None).fit(paths, y).image_size_ == 16
    embedder.set_params(image_size=32)
    with pytest.raises(ValueError, match=r"image_size=32, but .* 16 x 16"):
        embedder.fit(paths, y)
    parts = quick().partial_fit(paths[:24], y[:24]).partial_fit(paths[24:], y[24:])
    assert parts.n_iter_ == 2


def test_checkpoints_know_the_files(files, tmp_path):
    paths, y = files
    own = tmp_path / "own.png"
    own.write_bytes(Path(paths[0]).read_bytes())
    paths = np.array([str(own), *paths[1:]])
    embedder = quick(checkpoint_dir=tmp_path / "run")
    expected = embedder.fit(paths, y).transform(paths)
    again = clone(embedder).fit(paths, y)
    np.testing.assert_array_equal(again.transform(paths), expected)
    with pytest.raises(ValueError, match=r"X was .*48 files read as .* and is"):
        clone(embedder).fit(paths[::-1], y[::-1])
    own.write_bytes(Path(paths[1]).read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"X was .*48 files read as .* and is"):
        clone(embedder).fit(paths, y)


def test_checkpoints_know_datasets(files, decoded, tmp_path):
    paths, y = files
    embedder = quick(checkpoint_dir=tmp_path / "run").fit(Photographs(paths, y), y)
    again = clone(embedder).fit(Photographs(paths, y), y)
    np.testing.assert_array_equal(again.transform(paths), decoded[1])
    with pytest.raises(ValueError, match=r"X was .*48 items read as .* and is"):
        clone(embedder).fit(Photographs(paths[::-1], y), y)


@pytest.mark.parametrize(
    ("module", "size", "side"),
    [(None, None, 144), (None, 100, 113), ("linear", None, 144)],
)
def test_sizes(module, size, side, files):
    paths, y = files
    embedder = quick(module=module, image_size=size, max_epochs=1).fit(paths, y)
    assert embedder._input_shape == (3, side, side)
    assert embedder.image_size_ == size or (
        size is None and embedder.image_size_ == 128
    )


class Tiny(torch.nn.Sequential):
    def __init__(self, n_channels, n_components):
        pool = torch.nn.AdaptiveAvgPool2d(2)
        linear = torch.nn.Linear(4 * n_channels, n_components)
        super().__init__(pool, torch.nn.Flatten(), linear)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("workers", [None, 0])
def test_memory_is_independent_of_how_many_there_are(workers, files):
    paths, y = files
    net_params = None if workers is None else {"iterator_valid__num_workers": workers}
    settings = {"module": Tiny, "image_size": 128, "net_params": net_params}
    embedder = quick(**settings).fit(paths, y)
    many = np.resize(paths, 2000)  # 124 MB of pixels, and 500 MB as floats
    embedder.transform(many[:200])
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    embedder.transform(many)
    assert peak_memory() - before < 50


def peak_memory():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


@pytest.mark.parametrize(
    ("mode", "expected"), [("RGB", RandomResizedCrop), ("L", RandomAffine)]
)
def test_files_are_changed_by_kind(mode, expected, files, tmp_path):
    grey = []
    for path in files[0][:8]:
        with Image.open(path) as image:
            grey.append(tmp_path / Path(path).name)
            image.convert(mode).save(grey[-1])
    embedder = quick(augment="auto", max_epochs=1, batch_size=8)
    embedder.fit(grey, files[1][:8] % 2)
    assert isinstance(embedder.net_.module_.augment, expected)
