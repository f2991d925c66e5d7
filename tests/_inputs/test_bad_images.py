import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sk_dml import precision_at_1
from sk_dml.datasets import ImageSequence
from sk_dml.metrics import precision_at_1_score
from tests._inputs.images import (
    HubDataset,
    Photographs,
    quick,
)


def test_a_bad_image_stops_and_is_named(broken_files):
    paths, y, (truncated, empty, missing) = broken_files
    good = np.delete(np.arange(48), [truncated, empty, missing])
    with pytest.raises(
        FileNotFoundError, match=r"1 of 48 are no files; .*missing\.png"
    ):
        quick().fit(paths, y)
    messages = (
        r"truncated\.png' of X cannot be read as an image: OSError: .*truncated",
        r"empty\.png' of X cannot be read as an image: UnidentifiedImageError",
    )
    for workers in (None, 0, 1):
        net_params = {f"iterator_{i}__num_workers": workers for i in ("train", "valid")}
        embedder = quick(
            module="linear", net_params=net_params if workers is not None else None
        )
        for bad, message in (([4, 17], "|".join(messages)), ([17], messages[1])):
            some = np.r_[good, bad]
            with pytest.raises(ValueError, match=message):
                embedder.fit(paths[some], y[some])
        embedder.fit(paths[good], y[good])
        with pytest.raises(ValueError, match=messages[0]):
            embedder.transform(paths[[1, truncated]])
        with pytest.raises(FileNotFoundError, match="1 of 2 are no files"):
            embedder.transform(paths[[1, missing]])


@pytest.mark.parametrize("workers", [None, 1])
def test_skipped_images_are_counted_and_listed(workers, broken_files):
    paths, y, indices = broken_files
    net_params = {"iterator_valid__num_workers": workers} if workers else None
    embedder = quick(on_bad_image="skip", net_params=net_params)
    expected = r"3 of 48 images cannot be read and are left out: .*truncated\.png.*See"
    with pytest.warns(UserWarning, match=expected) as record:
        embedder.fit(paths, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    names, reasons = zip(*embedder.bad_images_, strict=True)
    assert list(names) == paths[indices].tolist()
    assert [reason.partition(":")[0] for reason in reasons] == [
        "OSError",
        "UnidentifiedImageError",
        "FileNotFoundError",
    ]
    assert not any("np.str_" in reason for reason in reasons)
    kept = np.delete(paths, indices)
    alone = quick().fit(kept, np.delete(y, indices))
    np.testing.assert_array_equal(embedder.transform(kept), alone.transform(kept))
    message = r"3 of 48 images cannot be read; their rows are NaN: .*empty\.png"
    with pytest.warns(UserWarning, match=message) as record:
        embedding = embedder.transform(paths)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert np.flatnonzero(np.isnan(embedding).all(axis=1)).tolist() == indices
    assert np.isnan(embedding).any(axis=1).sum() == 3
    np.testing.assert_allclose(
        np.delete(embedding, indices, axis=0), alone.transform(kept), atol=1e-6
    )


def test_skipping_where_all_is_well_changes_nothing(files, decoded):
    paths, y = files
    embedder = quick(on_bad_image="skip").fit(paths, y)
    assert embedder.bad_images_ == []
    np.testing.assert_array_equal(embedder.transform(paths), decoded[1])


def test_skipped_images_of_validation_data_and_datasets(broken_files):
    paths, y, indices = broken_files
    embedder = quick(on_bad_image="skip")
    with pytest.warns(UserWarning, match="of 24 images .*left out") as record:
        embedder.fit(paths[1::2], y[1::2], validation_data=(paths[::2], y[::2]))
    assert [str(r.message).partition(" images")[0] for r in record] == [
        "1 of 24",
        "2 of 24",
    ]
    assert len(embedder.bad_images_) == 3
    with pytest.warns(UserWarning, match="3 of 48 images"):
        embedder.fit(Photographs(paths, y), y)
    assert [index for index, _ in embedder.bad_images_] == indices
    with pytest.raises(ValueError, match=r"The item 4 of X cannot be read as an image"):
        quick().fit(ImageSequence(HubDataset(paths, y))[[4] * 48], y)
    with pytest.raises(ValueError, match=r"The item (0|13|26) of X cannot be read"):
        quick().fit(HubDataset(paths[[*range(4, 48), *range(4)]], y), y)


def test_a_class_may_go_with_its_images(files, tmp_path):
    paths, y = files
    paths = paths.astype(object)
    paths[y == 2] = [str(tmp_path / f"{i}.png") for i in range(8)]
    names = np.array(["ant", "bee", "cat", "dog", "eel", "fox"])[y]
    with pytest.warns(UserWarning, match="left out") as record:
        embedder = quick(on_bad_image="skip").fit(paths, names)
    told = [str(r.message) for r in record]
    assert told[0].startswith("8 of 48 images")
    message = "1 of 6 classes are left out, as none of their images can be read: 'cat'."
    assert told[1:] == [message]
    assert embedder.classes_.tolist() == ["ant", "bee", "dog", "eel", "fox"]
    others = y != 2
    with pytest.warns(UserWarning, match="left out") as record:
        embedder.fit(paths[others], y[others], validation_data=(paths[1:], y[1:]))
    assert [str(r.message) for r in record][1].endswith("can be read: 2.")
    with pytest.raises(ValueError, match=r"8 of 8 images cannot be read: '.*0\.png'"):
        embedder.fit(paths[y == 2], np.arange(8) % 2)


def test_many_bad_images_are_not_all_shown(files, tmp_path):
    paths, y = files
    paths = np.r_[paths, [str(tmp_path / f"bad {i}") for i in range(12)]]
    y = np.r_[y, y[:12]]
    with pytest.warns(UserWarning, match="12 of 60") as record:
        embedder = quick(on_bad_image="skip").fit(paths, y)
    assert str(record[0].message).count("FileNotFoundError") == 10
    assert len(embedder.bad_images_) == 12


def test_a_bad_image_that_comes_again_is_told_once(files, tmp_path):
    paths, y = files
    bad = str(tmp_path / "gone.png")
    paths = np.r_[paths, [bad] * 12, [str(tmp_path / "too.png")]]
    y = np.r_[y, np.arange(13) % 6]
    embedder = quick(on_bad_image="skip")
    with pytest.warns(UserWarning, match=r"1[23] of .*gone.*too") as record:
        embedder.fit(paths, y, validation_data=(paths[1:], y[1:]))
    with pytest.warns(UserWarning, match=r"13 of 61 images .*gone.*too") as later:
        embedder.transform(paths)
    for warning in [*record, *later]:
        message = str(warning.message)
        assert message.count("FileNotFoundError") == message.count(str(tmp_path)) == 2
    assert [Path(name).name for name, _ in embedder.bad_images_] == [
        "gone.png",
        "too.png",
    ]


def test_bad_images_do_not_raise_scores(broken_files):
    paths, y, indices = broken_files
    y = y.copy()
    y[indices] = 0  # as rows of zeros they would find each other
    kept = np.delete(np.arange(48), indices)
    expected = precision_at_1(quick().fit(paths[kept], y[kept]), paths[kept], y[kept])
    embedder = quick(on_bad_image="skip")
    with pytest.warns(UserWarning, match="left out"):
        embedder.fit(paths, y)
    for labels in (y, y.tolist(), pd.Series(y)):
        with pytest.warns(UserWarning, match=r"rows are NaN|of the score") as record:
            score = precision_at_1(embedder, paths, labels)
        assert score == pytest.approx(expected)
        assert str(record[-1].message) == (
            "3 of 48 samples have no embedding, but NaN, and are left out of the score."
        )
    with pytest.warns(UserWarning, match="their rows are NaN"):
        embedding = embedder.transform(paths)
    with pytest.raises(ValueError, match="contains NaN in 3 of 48 rows"):
        precision_at_1_score(embedding, y)
    with (
        pytest.warns(UserWarning, match="their rows are NaN"),
        pytest.raises(ValueError, match=r"3 of 3 samples .* there is nothing to score"),
    ):
        precision_at_1(embedder, paths[indices], y[indices])


def test_an_image_that_breaks_later_stops_the_training(files, tmp_path):
    paths, y = files
    own = tmp_path / "own.png"
    own.write_bytes(Path(paths[0]).read_bytes())
    paths = np.array([str(own), *paths[1:]])

    class Break(torch.optim.SGD):
        def step(self, closure=None):
            own.write_bytes(b"")
            return super().step(closure)

    embedder = quick(on_bad_image="skip", optimizer=Break, max_epochs=3)
    with pytest.raises(ValueError, match=r"own\.png' of X cannot be read"):
        embedder.fit(paths, y)


# Wrong data


def test_wrong_data(files, decoded, monkeypatch):
    paths, y = files
    for X in (paths[:, None], pd.DataFrame({"path": paths}), [[p] for p in paths]):
        with pytest.raises(ValueError, match=r"or paths, .*\(48, 1\).*X\[:, 0\]"):
            quick().fit(X, y)
    with pytest.raises(ValueError, match=r"table of strings .* takes tables of num"):
        quick().fit(np.full((48, 2), "red"), y)
    mixed = paths.astype(object)
    mixed[[3, 5]] = None, 3.5
    with pytest.raises(ValueError, match=r"paths and 2 entries .* at index 3, is None"):
        quick().fit(mixed, y)
    with pytest.raises(FileNotFoundError, match="48 of 48 are no files"):
        quick().fit([f"document {i}" for i in range(48)], y)
    with pytest.raises(ValueError, match=r"(?s)Expected 2D array, got 1D.*Reshape"):
        quick(image_size=None).fit(np.arange(48.0), y)
    with pytest.raises(ValueError, match=r"inconsistent .*: \[48, 40\]"):
        quick().fit(paths, y[:40])
    with pytest.raises(ValueError, match=r"without 'image', but with \['img'\].*Image"):
        quick().fit([{"img": path} for path in paths], y)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(paths)

    images = [*decoded[0]]
    folder = {"paths": paths, "target": y}
    for X, error, message in (
        (Stream(), TypeError, "Stream, an iterable Dataset"),
        (paths[0], TypeError, "one path, .*load_image_folder"),
        (Path(paths[0]), TypeError, "one path, .*load_image_folder"),
        (iter(paths), TypeError, "read only once; give a list"),
        (folder, TypeError, r"dict with the keys \['paths', 'target'\]"),
        ([b"RIFF"] * 48, TypeError, r"holds bytes.*ImageSequence\(X\)"),
        ([images[0][:, :9], *images[1:]], ValueError, r"of 2 shapes.*ImageSequence"),
        (pd.Series(images), ValueError, r"Series of arrays.*np\.stack\(X\)"),
        (ImageSequence([]), ValueError, "X holds no images; allowed is one or more"),
    ):
        with pytest.raises(error, match=message):
            quick().fit(X, y)
    for X in (decoded[0], decoded[0].reshape(48, -1)):
        with pytest.raises(ValueError, match=r"image_size=16 is for files.*None"):
            quick().fit(X, y)
        arrays = quick(image_size=None, module="linear").fit(X, y)
        with pytest.raises(
            ValueError, match=r"files or a dataset .*fitted with arrays"
        ):
            arrays.transform(paths)
    for size in (7, 2049, 100_000):
        message = rf"'image_size' parameter .*\[8, 2048\] or None\. Got {size}"
        with pytest.raises(ValueError, match=message):
            quick(image_size=size).fit(paths, y)
    with pytest.raises(ValueError, match=r"'on_bad_image' parameter .*Got 'ignore'"):
        quick(on_bad_image="ignore").fit(paths, y)


def test_rows_for_an_embedder_of_images_change_nothing(fitted, files, decoded):
    with pytest.raises(ValueError, match=re.escape("fitted with images of shape")):
        fitted.transform(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"image_size=16\. Images in memory are"):
        fitted.transform(np.zeros((3, 16, 16), np.uint8))
    np.testing.assert_array_equal(fitted.transform(files[0]), decoded[1])
