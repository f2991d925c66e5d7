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
from sklearn.utils import _safe_indexing

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)
from sk_dml._inputs import make_source
from sk_dml._inputs._files import DecodedImages
from sk_dml._networks._augment import RandomAffine, RandomResizedCrop
from sk_dml._training._validation import split_validation
from sk_dml.datasets import ImageSequence, load_image_folder
from tests._inputs.images import (
    SIDE,
    Column,
    HubDataset,
    Photographs,
    of_arrays,
    quick,
)

# Sequences


@pytest.fixture
def sequence():
    return ImageSequence([f"item {i}" for i in range(10)])


@pytest.mark.parametrize(
    "key", [np.array([3, 0, 3]), [3, 0], np.arange(10) > 6, slice(2, 5), slice(None)]
)
def test_a_sequence_is_indexed_like_an_array(key, sequence):
    expected = np.array([*sequence])[key]
    for part in (sequence[key], _safe_indexing(sequence, key)):
        assert isinstance(part, ImageSequence)
        assert part.shape == (len(part),) == expected.shape
        assert [*part] == expected.tolist()
    assert [*pickle.loads(pickle.dumps(sequence[key]))] == expected.tolist()


def test_subsets_of_subsets(sequence):
    subset = sequence[np.array([8, 6, 4, 2])][np.array([1, 3])]
    assert [*subset] == ["item 6", "item 2"]
    assert subset[np.int64(-1)] == "item 2"
    with pytest.raises(IndexError):
        subset[2]
    with pytest.raises(IndexError):
        sequence[np.array([10])]


def test_datasets_are_asked_by_plain_integers():
    class Strict(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            assert type(index) is int
            return index

    assert [*ImageSequence(Strict())[np.array([2, 0])]] == [2, 0]


def test_data_that_cannot_be_indexed_are_refused():
    with pytest.raises(TypeError, match="dataset is a generator; allowed is what has"):
        ImageSequence(i for i in range(3))


# Containers


def tensor_of(image):
    return torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)


CONTAINERS = {
    "array": lambda paths, y: paths,
    "object array": lambda paths, y: paths.astype(object),
    "list": lambda paths, y: paths.tolist(),
    "tuple": lambda paths, y: tuple(paths),
    "Path": lambda paths, y: [Path(path) for path in paths],
    "Series": lambda paths, y: pd.Series(paths.astype(object), index=range(9, 57)),
    "Series of string": lambda paths, y: pd.Series(paths, dtype="string"),
    "polars": lambda paths, y: pl.Series(paths.tolist()),
    "torch": lambda paths, y: Photographs(paths, y),
    "torch tensors": lambda paths, y: Photographs(paths, y, tensor_of),
    "torch arrays": lambda paths, y: Photographs(paths, y, np.asarray),
    "hub": lambda paths, y: HubDataset(paths, y),
    "wrapped": lambda paths, y: ImageSequence(HubDataset(paths, y)),
    "wrapped paths": lambda paths, y: ImageSequence(paths.tolist()),
    "pairs": lambda paths, y: [*Photographs(paths, y)],
    "Pillow": lambda paths, y: [image for image, _ in Photographs(paths, y)],
    "column of Pillow": lambda paths, y: Column([i for i, _ in Photographs(paths, y)]),
    "column of paths": lambda paths, y: Column(paths.tolist()),
    "Series of Pillow": lambda paths, y: pd.Series(
        [image for image, _ in Photographs(paths, y)]
    ),
    "dicts": lambda paths, y: [HubDataset(paths, y)[i] for i in range(len(y))],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_holds_the_same_images(container, files, decoded, fitted):
    X = CONTAINERS[container](*files)
    source = make_source(quick(), X, reset=True)
    images, readable = source.take(np.arange(48))
    np.testing.assert_array_equal(images, decoded[0])
    assert readable.all()
    embedding = fitted.transform(X)
    np.testing.assert_array_equal(embedding, decoded[1])


@pytest.mark.parametrize("container", ["torch", "hub"])
def test_embeddings_of_files_datasets_and_arrays_agree(container, files, decoded):
    embedder = quick().fit(CONTAINERS[container](*files), files[1])
    for X in (files[0], decoded[0]):
        np.testing.assert_array_equal(embedder.transform(X), decoded[1])


def test_attributes_of_embedders_of_files(fitted):
    assert fitted.image_size_ == 16
    assert fitted.n_features_in_ == 3 * SIDE**2
    assert not hasattr(fitted, "feature_names_in_")
    assert not hasattr(fitted, "bad_images_")


# The source


def test_statistics_come_from_a_sample(files, decoded):
    paths, _ = files
    source = make_source(quick(), paths, reset=True)
    whole = make_source(quick(), decoded[0], reset=True)
    for one, other in zip(source.statistics(), whole.statistics(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_statistics_of_large_images_come_from_fewer(files):
    taken = []

    class Spy(DecodedImages):
        def take(self, indices):
            taken.extend(indices)
            return super().take(indices)

    images = Spy.of_side(ImageSequence(np.resize(files[0], 100_000)), 1500)
    images[:500].statistics()
    assert len(taken) == 2**26 // (3 * 1500**2)
    assert (taken[0], taken[-1]) == (0, 499)


def test_held_out_images_are_not_read(files):
    paths, y = files
    embedder = quick(CircleEmbedder, validation_fraction=0.34)
    X = make_source(embedder, paths, reset=True)
    X.take = None
    kept, classes, targets, (held, labels) = split_validation(
        embedder, X, np.unique(y), y, 0
    )
    assert len(kept) + len(held) == len(y)
    assert len(held) == len(labels)
    for images, given in ((kept, classes[targets]), (held, labels)):
        assert isinstance(images, DecodedImages)
        order = [paths.tolist().index(path) for path in images.images]
        np.testing.assert_array_equal(y[order], given)


def test_fingerprints_differ_for_other_files(files):
    images = DecodedImages.of_side(ImageSequence(files[0]), 8)
    fingerprint = images.fingerprint()
    assert images[np.arange(48)].fingerprint() == fingerprint
    others = [
        images[np.arange(48)[::-1]],
        images[np.arange(47)],
        DecodedImages.of_side(ImageSequence(files[0]), 9),
    ]
    assert fingerprint not in [other.fingerprint() for other in others]


def test_sources_do_not_grow_with_the_number_of_images(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    paths = np.full(50_000, str(tmp_path / "a.png"))
    X = make_source(CircleEmbedder(image_size=227), paths, reset=True)
    assert X.shape == (50_000, 3, 256, 256)
    assert X[np.arange(50_000) % 2 == 0].take(np.arange(2))[0].shape[0] == 2


# scikit-learn


def test_searches_split_paths(files):
    paths, y = files
    pipeline = make_pipeline(quick(module="linear"), KNeighborsClassifier(1))
    grid = {"circleembedder__margin": [0.25, 0.4]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise")
    search.fit(paths.tolist(), y)
    again = clone(search).fit(pd.Series(paths), y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"]
    )
    assert search.predict(paths[:5]).shape == (5,)


@pytest.mark.parametrize(
    ("wrap", "n_jobs"),
    [(HubDataset, 1), pytest.param(Photographs, 2, marks=pytest.mark.slow)],
)
def test_cross_validation_of_datasets_and_paths_agree(wrap, n_jobs, files):
    paths, y = files
    how = {"cv": ClassDisjointKFold(2), "scoring": map_at_r, "error_score": "raise"}
    embedder = quick(module="linear")
    expected = cross_validate(embedder, paths, y, **how)["test_score"]
    X = ImageSequence(wrap(paths, y))
    scores = cross_validate(embedder, X, y, n_jobs=n_jobs, **how)["test_score"]
    np.testing.assert_array_equal(scores, expected)


def test_copies_embed_alike(files, decoded, fitted):
    paths, y = files
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(paths), decoded[1])
    assert again.set_params(image_size=32).image_size_ == 16
    np.testing.assert_array_equal(again.transform(paths), decoded[1])
    again = clone(fitted).fit(paths, y)
    np.testing.assert_array_equal(again.transform(paths), decoded[1])


def test_output_containers_keep_the_index(files):
    paths, y = files
    embedder = quick(n_components=3, module="linear").fit(paths, y)
    embedder.set_output(transform="pandas")
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
    embedder = quick(module="linear")
    embedder.fit(folder.paths, folder.target_names[folder.target])
    assert embedder.classes_.tolist() == [f"class {i}" for i in range(6)]
    assert embedder.transform(folder.paths).shape == (len(y), 64)


# Training


def test_files_are_learned(files):
    paths, y = files
    wide = {"net_params": {"module__widths": (32, 64, 128)}}
    untrained = quick(**wide, lr=1e-9, max_epochs=1).fit(paths, y)
    embedder = quick(**wide, max_epochs=15).fit(paths, y)
    score = map_at_r(embedder, paths, y)
    assert score > 0.95
    assert score > map_at_r(untrained, paths, y) + 0.05


@pytest.mark.parametrize(
    "net_params",
    [
        {"iterator_train__num_workers": 0, "iterator_valid__num_workers": 0},
        {"iterator_train__num_workers": 2, "iterator_valid__num_workers": 2},
        {"iterator_train__num_workers": 1, "iterator_train__prefetch_factor": 3},
        {"iterator_train__prefetch_factor": 1, "iterator_valid__batch_size": 5},
        pytest.param(
            {
                "iterator_train__num_workers": 1,
                "iterator_train__multiprocessing_context": "spawn",
                "iterator_train__persistent_workers": True,
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["in step", "workers", "prefetching worker", "threads", "spawned worker"],
)
def test_threads_and_workers_lead_to_the_same_result(net_params, files, decoded):
    embedder = quick(net_params=net_params).fit(*files)
    # Batches of another size round otherwise.
    atol = 1e-6 if "iterator_valid__batch_size" in net_params else 0
    np.testing.assert_allclose(
        embedder.transform(files[0]), decoded[1], atol=atol, rtol=0
    )


def test_workers_read_shuffled_batches(files):
    embedders = [
        quick(
            NormalizedSoftmaxEmbedder,
            samples_per_class=None,
            net_params=net_params,
        ).fit(*files)
        for net_params in (None, {"iterator_train__num_workers": 1})
    ]
    one, other = (embedder.transform(files[0]) for embedder in embedders)
    np.testing.assert_array_equal(one, other)


def test_nothing_global_is_touched(files):
    paths, y = files
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(module="linear").fit(paths, y).transform(paths)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads


def test_validation_on_files(files, decoded):
    paths, y = files
    embedder = quick(early_stopping=True, validation_fraction=0.34).fit(paths, y)
    assert 0 <= embedder.best_score_ <= 1
    arrays = of_arrays(early_stopping=True, validation_fraction=0.34)
    assert arrays.fit(decoded[0], y).best_score_ == embedder.best_score_
    given = quick(module="linear")
    given.fit(paths[::2], y[::2], validation_data=(paths[1::2], y[1::2]))
    assert [0 <= row["valid_score"] <= 1 for row in given.history_] == [True] * 2


def test_going_on_keeps_the_size(files):
    paths, y = files
    embedder = quick(warm_start=True, module="linear").fit(paths, y)
    assert embedder.set_params(image_size=None).fit(paths, y).image_size_ == 16
    embedder.set_params(image_size=32)
    with pytest.raises(ValueError, match=r"image_size=32, but .* 16 x 16"):
        embedder.fit(paths, y)
    parts = quick(module="linear")
    parts.partial_fit(paths[:24], y[:24]).partial_fit(paths[24:], y[24:])
    assert parts.n_iter_ == 2


def test_checkpoints_know_the_files(files, tmp_path):
    paths, y = files
    own = tmp_path / "own.png"
    own.write_bytes(Path(paths[0]).read_bytes())
    paths = np.array([str(own), *paths[1:]])
    embedder = quick(module="linear", checkpoint_dir=tmp_path / "run")
    expected = embedder.fit(paths, y).transform(paths)
    again = clone(embedder).fit(paths, y)
    np.testing.assert_array_equal(again.transform(paths), expected)
    with pytest.raises(ValueError, match=r"X was .*48 files read as .* and is"):
        clone(embedder).fit(paths[::-1], y[::-1])
    own.write_bytes(Path(paths[1]).read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"X was .*48 files read as .* and is"):
        clone(embedder).fit(paths, y)


def test_checkpoints_know_datasets(files, tmp_path):
    paths, y = files
    embedder = quick(module="linear", checkpoint_dir=tmp_path / "run")
    embedder.fit(Photographs(paths, y), y)
    again = clone(embedder).fit(Photographs(paths, y), y)
    np.testing.assert_array_equal(again.transform(paths), embedder.transform(paths))
    with pytest.raises(ValueError, match=r"X was .*48 items read as .* and is"):
        clone(embedder).fit(Photographs(paths[::-1], y), y)


@pytest.mark.parametrize(
    ("module", "size", "side"),
    [(None, None, 144), (None, 100, 113), ("linear", None, 144)],
)
def test_sizes(module, size, side, files):
    paths, y = files
    embedder = quick(module=module, image_size=size, max_epochs=1, batch_size=8)
    embedder.fit(paths[:8], y[:8] % 2)
    assert embedder.n_features_in_ == 3 * side**2
    assert embedder.image_size_ == (size or 128)


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
    embedder = quick(**settings, max_epochs=1).fit(paths, y)
    many = np.resize(paths, 1500)  # 93 MB of pixels, and 370 MB as floats
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
    paths = []
    for path in files[0][:8]:
        with Image.open(path) as image:
            paths.append(tmp_path / Path(path).name)
            image.convert(mode).save(paths[-1])
    embedder = quick(augment="auto", max_epochs=1, batch_size=8)
    embedder.fit(paths, files[1][:8] % 2)
    assert isinstance(embedder.net_.module_.augment, expected)
