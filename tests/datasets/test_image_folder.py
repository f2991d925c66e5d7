import os
import warnings

import numpy as np
import pytest

from sk_dml import class_disjoint_split
from sk_dml.datasets import load_image_folder


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_subfolders_are_classes(tmp_path):
    make(tmp_path, "b/2.jpg", "b/10.jpg", "a/1.PNG", "c d/0/x.Tiff", "c d/1.webp")
    found = load_image_folder(tmp_path)
    assert found.target_names.tolist() == ["a", "b", "c d"]
    assert found.target.tolist() == [0, 1, 1, 2, 2]
    assert found.target.dtype == np.int64
    assert found.paths.dtype.kind == "U"
    relative = [os.path.relpath(path, tmp_path) for path in found.paths]
    assert relative == ["a/1.PNG", "b/10.jpg", "b/2.jpg", "c d/0/x.Tiff", "c d/1.webp"]
    assert found["DESCR"] == f"5 images of 3 classes in {tmp_path}."
    X, y = load_image_folder(str(tmp_path), return_X_y=True)
    np.testing.assert_array_equal(X, found.paths)
    np.testing.assert_array_equal(y, found.target)


def test_paths_are_split_like_any_array(tmp_path):
    make(tmp_path, *(f"{k}/{i}.jpg" for k in "abcd" for i in range(3)))
    X, y = load_image_folder(tmp_path, return_X_y=True)
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    assert sorted([*X_train, *X_test]) == X.tolist()
    assert not set(y_train) & set(y_test)


def test_hidden_files_are_ignored(tmp_path):
    make(tmp_path, "a/1.jpg", "a/.2.jpg", "a/.thumbs/3.jpg", ".git/4.jpg", ".DS_Store")
    found = load_image_folder(tmp_path)
    assert [os.path.basename(path) for path in found.paths] == ["1.jpg"]
    assert found.target_names.tolist() == ["a"]


def test_skipped_files_are_counted(tmp_path):
    make(tmp_path, "a/1.jpg", "a/2.txt", "a/3.heic", "a/4", "b/5.TXT", "c/6.txt")
    make(tmp_path, "README", "index.csv")
    (tmp_path / "d").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    with pytest.warns(UserWarning, match="Left out of") as record:
        found = load_image_folder(tmp_path)
    assert found.target_names.tolist() == ["a"]
    assert len(found.paths) == 1
    message = str(record[0].message)
    assert "2 files beside the folders of classes" in message
    assert "5 files with other extensions (.heic, .txt, none)" in message
    assert "1 links to folders" in message
    assert "3 classes without images (b, c, d)" in message
    assert record[0].filename == __file__


def test_class_may_be_a_link(tmp_path):
    make(tmp_path / "store", "1.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "store", target_is_directory=True)
    found = load_image_folder(tmp_path / "root")
    assert found.target_names.tolist() == ["a"]
    assert len(found.paths) == 1


def test_extensions(tmp_path):
    make(tmp_path, "a/1.jpg", "a/2.jxl", "b/3.tar.jxl")
    with pytest.warns(UserWarning, match=r"1 files with other extensions \(\.jpg\)"):
        found = load_image_folder(tmp_path, extensions=[".JXL"])
    assert found.target.tolist() == [0, 1]
    for wrong in (".jpg", ["jpg"], [1]):
        with pytest.raises(ValueError, match=r"extensions.* must be"):
            load_image_folder(tmp_path, extensions=wrong)


def test_nothing_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_image_folder(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        load_image_folder(make(tmp_path, "file") / "file")
    with pytest.raises(ValueError, match=r"root must have a subfolder .*1 files bes"):
        load_image_folder(tmp_path)
    make(tmp_path, "a/1.txt")
    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(ValueError, match=r"1 classes without images \(a\)"),
    ):
        load_image_folder(tmp_path)


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("b"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError):
        load_image_folder(tmp_path)
