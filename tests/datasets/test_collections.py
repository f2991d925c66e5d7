"""Fetchers on small folders with the real layouts."""

import hashlib
import importlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from sk_dml import class_disjoint_split, datasets


def pack(folder, suffix):
    """Return an archive of the files below a folder."""
    buffer = io.BytesIO()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    names = [p.relative_to(folder).as_posix() for p in files]
    if suffix == ".zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, name in zip(files, names, strict=True):
                archive.write(path, name)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path, name in zip(files, names, strict=True):
                archive.add(path, name)
    return buffer.getvalue()


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def cub200(root):
    """Three birds; labels are not in the order of the images."""
    classes = ["001.Auk", "002.Bunting", "003.Cowbird"]
    images = [f"{name}/{name[4:]}_{i}.jpg" for name in classes for i in (1, 2)]
    top = "CUB_200_2011"
    labels = [f"{i + 1} {i // 2 + 1}\n" for i in range(6)]
    write(
        root,
        {
            f"{top}/images.txt": "".join(f"{i} {f}\n" for i, f in enumerate(images, 1)),
            f"{top}/image_class_labels.txt": "".join(labels[::-1]),
            f"{top}/classes.txt": "".join(
                f"{i} {name}\n" for i, name in enumerate(classes, 1)
            ),
            "attributes.txt": "1 has_bill_shape::curved\n",
            **{f"{top}/images/{name}": name for name in images},
        },
    )
    return {
        "archives": {"ARCHIVE": ["CUB_200_2011.tgz"]},
        "constants": {"N_SAMPLES": 6, "N_CLASSES": 3, "N_TRAIN_CLASSES": 2},
        "names": classes,
        "content": images,
        "target": [0, 0, 1, 1, 2, 2],
        "is_train": [1, 1, 1, 1, 0, 0],
    }


def cars196(root):
    """Three cars, not in the order of their classes."""
    kind = [
        ("relative_im_path", object),
        ("bbox_x1", object),
        ("class", object),
        ("test", object),
    ]
    target = [2, 0, 1, 0, 2]
    files = [f"{i:06d}.jpg" for i in range(1, 6)]
    rows = np.array(
        [
            (f"car_ims/{f}", 30.0, float(k + 1), i % 2)
            for i, (f, k) in enumerate(zip(files, target, strict=True))
        ],
        dtype=kind,
    )
    names = np.array(["Acura RL", "BMW M3/x", "Audi TT"], dtype=object)
    write(root, {f"car_ims/{f}": f"car_ims/{f}" for f in files})
    buffer = io.BytesIO()
    savemat(buffer, {"annotations": rows[None], "class_names": names[None]})
    return {
        "archives": {"ARCHIVE": ["car_ims.tgz"]},
        "files": {"ANNOTATIONS": ("cars_annos.mat", buffer.getvalue())},
        "constants": {"N_SAMPLES": 5, "N_CLASSES": 3, "N_TRAIN_CLASSES": 2},
        "names": list(names),
        "content": [f"car_ims/{f}" for f in files],
        "target": target,
        "is_train": [0, 1, 1, 1, 0],
    }


def sop(root):
    """Two products for training, one for test."""
    top = "Stanford_Online_Products"
    heading = "image_id class_id super_class_id path\n"
    images = [
        "bicycle_final/11_0.JPG",
        "bicycle_final/11_1.JPG",
        "coffee_maker_final/22_0.JPG",
        "coffee_maker_final/22_3.JPG",
        "mug_final/33_0.JPG",
    ]
    rows = [
        f"{i + 1} {i // 2 + 1} {i // 2 + 1} {name}\n" for i, name in enumerate(images)
    ]
    write(
        root,
        {
            f"{top}/Ebay_train.txt": heading + "".join(rows[:4]),
            f"{top}/Ebay_test.txt": heading + rows[4],
            **{f"{top}/{name}": name for name in images},
        },
    )
    return {
        "archives": {"ARCHIVE": ["Stanford_Online_Products.zip"]},
        "constants": {"N_SAMPLES": 5, "N_CLASSES": 3},
        "names": ["1", "2", "3"],
        "content": images,
        "target": [0, 0, 1, 1, 2],
        "is_train": [1, 1, 1, 1, 0],
        "groups": ["bicycle"] * 2 + ["coffee_maker"] * 2 + ["mug"],
    }


def omniglot(root):
    """Two alphabets for training, one for test, with equal names of characters."""
    images = {
        "images_background": [
            "Greek/character01/0001_01.png",
            "Greek/character01/0001_02.png",
            "Greek/character02/0002_01.png",
            "Latin/character01/0003_01.png",
        ],
        "images_evaluation": [
            "Oriya/character01/0004_01.png",
            "Oriya/character01/0004_02.png",
        ],
    }
    for member, names in images.items():
        write(root / member, {f"{member}/{name}": f"{member}/{name}" for name in names})
    return {
        "archives": {
            "BACKGROUND": ["images_background.zip", "images_background"],
            "EVALUATION": ["images_evaluation.zip", "images_evaluation"],
        },
        "constants": {"N_BACKGROUND": (4, 3), "N_EVALUATION": (2, 1)},
        "names": [
            "Greek/character01",
            "Greek/character02",
            "Latin/character01",
            "Oriya/character01",
        ],
        "content": [f"{member}/{name}" for member in images for name in images[member]],
        "target": [0, 0, 1, 2, 3, 3],
        "is_train": [1, 1, 1, 1, 0, 0],
        "groups": ["Greek"] * 3 + ["Latin"] + ["Oriya"] * 2,
    }


class Collection:
    def __init__(self, make, server, tmp_path, monkeypatch):
        self.name = make.__name__
        self.module = importlib.import_module(f"sk_dml.datasets._{self.name}")
        self.home = tmp_path / "home"
        self.folder = self.home / "sk_dml" / self.name
        self.source = tmp_path / "source"
        self.expected = make(self.source)
        files = dict(self.expected.get("files", {}))
        for constant, (name, *below) in self.expected["archives"].items():
            packed = pack(self.source.joinpath(*below), name[-4:])
            files[constant] = (name, packed)
        for constant, (name, content) in files.items():
            remote = getattr(self.module, constant)
            assert remote.filename == name
            server.files[name] = content
            md5 = hashlib.md5(content).hexdigest()
            changed = remote._replace(urls=(server.url + name,), checksum=f"md5:{md5}")
            monkeypatch.setattr(self.module, constant, changed)
        for constant, value in self.expected["constants"].items():
            monkeypatch.setattr(self.module, constant, value)

    def fetch(self, **options):
        fetcher = getattr(datasets, f"fetch_{self.name}")
        return fetcher(**{"data_home": self.home, "delay": 0.0} | options)


@pytest.fixture(params=[cub200, cars196, sop, omniglot], ids=lambda make: make.__name__)
def collection(request, server, tmp_path, monkeypatch):
    return Collection(request.param, server, tmp_path, monkeypatch)


def test_content(collection):
    bunch, expected = collection.fetch(), collection.expected
    assert bunch.paths.ndim == 1
    assert bunch.paths.dtype.kind == "U"
    # Every file contains its original name.
    content = [Path(path).read_text() for path in bunch.paths]
    assert content == expected["content"]
    assert bunch.target.tolist() == expected["target"]
    assert bunch.target.dtype == np.int64
    assert bunch.target_names.tolist() == expected["names"]
    assert bunch.is_train.tolist() == list(map(bool, expected["is_train"]))
    if "groups" in expected:
        assert bunch.groups.tolist() == expected["groups"]
    assert set(bunch) == {
        *("paths", "target", "target_names", "is_train", "DESCR"),
        *(["groups"] if "groups" in expected else []),
    }
    assert "Split:" in bunch.DESCR


def test_subsets_and_splits(collection):
    whole = collection.fetch()
    train, test = (collection.fetch(subset=name) for name in ("train", "test"))
    assert train.is_train.all()
    assert not test.is_train.any()
    assert not set(train.target) & set(test.target)
    for key in ("paths", "target"):
        np.testing.assert_array_equal(train[key], whole[key][whole.is_train])
        np.testing.assert_array_equal(test[key], whole[key][~whole.is_train])
    assert train.target_names.tolist() == whole.target_names.tolist()
    X, y = collection.fetch(subset="test", return_X_y=True)
    np.testing.assert_array_equal(X, test.paths)
    np.testing.assert_array_equal(y, test.target)
    X, y = collection.fetch(return_X_y=True)
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    assert sorted([*X_train, *X_test]) == sorted(X)
    assert not set(y_train) & set(y_test)


def test_downloads_once(collection, server):
    collection.fetch()
    n_requests = len(server.requests)
    assert n_requests == len(collection.expected["archives"]) + len(
        collection.expected.get("files", {})
    )
    collection.fetch(download_if_missing=False)
    assert len(server.requests) == n_requests
    remaining = {p.suffix for p in collection.folder.iterdir() if p.is_file()}
    assert remaining <= {".mat"}  # archives are removed


def test_survives_a_break(collection, server):
    server.faults = ["break"]
    with pytest.warns(UserWarning, match="broke off"):
        bunch = collection.fetch()
    assert bunch.target.tolist() == collection.expected["target"]


@pytest.mark.parametrize("fault", ["wrong", "truncate", 404])
def test_bad_download(collection, server, fault):
    server.faults = [fault]
    with pytest.raises(OSError, match="cannot be downloaded"):
        collection.fetch()
    assert not list(collection.folder.iterdir())


def test_no_retry(collection, server):
    server.faults = ["break"]
    with pytest.raises(OSError, match="broke off"):
        collection.fetch(n_retries=0)


def test_download_can_be_forbidden(collection, server):
    with pytest.raises(OSError, match="download_if_missing is False"):
        collection.fetch(download_if_missing=False)
    assert not server.requests


def test_folder_from_elsewhere(collection, server):
    """Users may put the files into the data home themselves."""
    for name, content in collection.expected.get("files", {}).values():
        write(collection.folder, {name: content})
    for _, *below in collection.expected["archives"].values():
        top = collection.source.joinpath(*below)
        for path in top.rglob("*"):
            if path.is_file():
                name = path.relative_to(top).as_posix()
                write(collection.folder, {name: path.read_bytes()})
    bunch = collection.fetch(download_if_missing=False)
    assert bunch.target.tolist() == collection.expected["target"]
    assert not server.requests


def test_archive_from_elsewhere(collection, server):
    for name, content in server.files.items():
        write(collection.folder, {name: content})
    bunch = collection.fetch(download_if_missing=False)
    assert bunch.target.tolist() == collection.expected["target"]


def test_missing_image(collection):
    image = Path(collection.fetch().paths[2])
    image.unlink()
    with pytest.raises(OSError, match=r"is incomplete.*Remove .* to fetch it again"):
        collection.fetch()


def test_too_few_classes(collection, monkeypatch):
    collection.fetch()
    for name, value in collection.expected["constants"].items():
        more = (value[0], value[1] + 1) if isinstance(value, tuple) else value + 1
        monkeypatch.setattr(collection.module, name, more)
    with pytest.raises(OSError, match=r"expected \d images of \d classes, got"):
        collection.fetch()


@pytest.mark.parametrize(
    "wrong",
    [
        {"subset": "validation"},
        {"n_retries": -1},
        {"delay": -1.0},
        {"data_home": 1},
        {"return_X_y": "yes"},
    ],
)
def test_parameters_are_checked(collection, server, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* must be"):
        collection.fetch(**wrong)
    assert not server.requests


@pytest.mark.parametrize(
    ("make", "file", "content"),
    [
        (cub200, "CUB_200_2011/images.txt", "1 a.jpg b\n"),
        (cub200, "CUB_200_2011/image_class_labels.txt", "1 one\n"),
        (cub200, "CUB_200_2011/image_class_labels.txt", ""),
        (cub200, "CUB_200_2011/classes.txt", "1 001.Auk\n"),
        (cub200, "CUB_200_2011/classes.txt", b"1 \xff\n"),
        (sop, "Stanford_Online_Products/Ebay_train.txt", "heading\n1 x 1 a.JPG\n"),
        (sop, "Stanford_Online_Products/Ebay_test.txt", "heading\n1 1 a.JPG\n"),
    ],
)
def test_damaged_annotations(server, tmp_path, monkeypatch, make, file, content):
    collection = Collection(make, server, tmp_path, monkeypatch)
    collection.fetch()
    write(collection.folder, {file: content})
    with pytest.raises(OSError, match=r"\.txt is damaged"):
        collection.fetch()


def test_annotations_hold_no_pickle(server, tmp_path, monkeypatch):
    collection = Collection(cars196, server, tmp_path, monkeypatch)
    collection.fetch()
    for content in (b"\x80\x04N.", b""):
        write(collection.folder, {"cars_annos.mat": content})
        with (
            pytest.warns(UserWarning, match="not used"),
            pytest.raises(OSError, match="missing or damaged"),
        ):
            collection.fetch(download_if_missing=False)


def test_default_home_is_that_of_scikit_learn(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "elsewhere"))
    collection = Collection(omniglot, server, tmp_path, monkeypatch)
    bunch = collection.fetch(data_home=None)
    assert bunch.paths[0].startswith(
        str(tmp_path / "elsewhere" / "sk_dml" / "omniglot")
    )


def test_published_numbers():
    """Tables in docstrings, descriptions and checks agree."""
    for name, module in (
        ("cub200", "_cub200"),
        ("cars196", "_cars196"),
        ("sop", "_sop"),
    ):
        module = importlib.import_module(f"sk_dml.datasets.{module}")
        text = getattr(datasets, f"fetch_{name}").__doc__
        assert f" {module.N_SAMPLES:,}\n" in text
        assert f"{module.N_SAMPLES:,}" in module.DESCR
        assert f" {module.N_CLASSES:,}\n" in text
    module = importlib.import_module("sk_dml.datasets._omniglot")
    samples, classes = np.add(module.N_BACKGROUND, module.N_EVALUATION)
    assert samples == 20 * classes  # drawings of every character
    assert f" {samples:,}\n" in datasets.fetch_omniglot.__doc__
    assert f" {classes:,}\n" in datasets.fetch_omniglot.__doc__
