from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sk_dml.datasets import ImageSequence
from sk_dml.inspection import _items, _retrieval


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)


def test_layouts_of_images_become_one(images):
    last, kind = _items.check_items(images, 5)
    first, _ = _items.check_items(np.moveaxis(images, -1, 1), 5)
    assert kind == "image"
    np.testing.assert_array_equal(last, images)
    np.testing.assert_array_equal(first, images)
    gray = images[..., :1]
    for layout in (gray, np.moveaxis(gray, -1, 1), gray[..., 0], list(gray[..., 0])):
        shown, kind = _items.check_items(layout, 5)
        assert kind == "image"
        np.testing.assert_array_equal(shown, gray[..., 0])
    # Channels are last where they can be.
    for shape in ((5, 4, 4, 3), (5, 3, 4, 4)):
        assert _items.check_items(np.zeros(shape), 5)[0].shape == shape


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (["a.png", "b.JPG"], "path"),
        ([Path("a"), Path("b.x")], "path"),
        ([Path("a"), "b.JPG"], "path"),
        (["a.png", "b"], "text"),
        (np.array(["x", "y"]), "text"),
        ([1, 2], "text"),
    ],
)
def test_kinds_are_told_apart(items, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a.png", "b.JPG", "b.x"):
        Path(name).touch()
    assert _items.check_items(items, 2)[1] == kind
    assert _items.check_items(["a"], 1, "path")[1] == "path"
    assert _items.check_items(["a.png"], 1, "text")[1] == "text"


def test_values_are_scaled_only_where_they_must_be(images):
    unit = images / 255.0
    (same,) = _items.read_items(unit, "image", [2])
    np.testing.assert_array_equal(same, unit[2])
    huge = np.array([[[-1e308, 1e308]]])
    np.testing.assert_allclose(_items.read_items(huge, "image", [0]), [[[0, 1]]])
    constant = np.full((2, 3, 3), 5)
    np.testing.assert_array_equal(
        _items.read_items(constant, "image", [0]), [[[0] * 3] * 3]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_all_images_decide_how_one_is_scaled(dtype):
    dim = np.zeros((4, 2, 2), dtype)
    dim[:, 0, 0] = [0, 4, 8, 16]
    np.testing.assert_allclose(_items.read_items(dim, "image", [1])[0][0, 0], 0.25)
    limits = _items.value_limits(dim[:2], dim[2:])
    assert limits == (0, 16)
    values = np.array([np.nan, 2.0, np.inf, 5.0, -np.inf])
    assert _items.value_limits(values) == (2, 5)
    assert _items.value_limits(values[:1]) == (0, 1)
    np.testing.assert_allclose(
        _items.read_items(dim[:2], "image", [1], limits)[0][0, 0], 0.25
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_files_of_all_modes_are_read(tmp_path, mode):
    path = tmp_path / "a.tif"
    color = {"P": 1, "L": 128, "LA": (128, 255), "I;16": 40000}.get(mode, "white")
    image = Image.new(mode, (3, 2), 0)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 200, 200])
    image.paste(color, (1, 0, 3, 2))
    image.save(path)
    (read,) = _items.read_items([path], "path", [0])
    assert read.shape[:2] == (2, 3)
    assert 0 <= read.min() < read.max() <= 1
    if mode == "L":
        np.testing.assert_allclose(read, [[0, 128 / 255, 128 / 255]] * 2)
        image.resize((900, 1800)).save(path)
        assert _items.read_items([str(path)], "path", [0])[0].shape == (512, 256)


def test_files_are_turned_as_the_camera_says(tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    image.save(path, exif=exif)
    (read,) = _items.read_items([path], "path", [0])
    expected = np.rot90(np.arange(6).reshape(2, 3), -1) / 255
    np.testing.assert_allclose(read, expected)


def test_sides_keep_their_proportion():
    ax = Figure().subplots()
    ax.set(xlim=(0, 4), ylim=(4, 0))
    wide = _items.show_image(ax, np.zeros((2, 4)), (0, 2, 2, 0))
    assert wide.get_extent() == pytest.approx([0, 2, 1.5, 0.5])
    tall = _items.show_image(ax, np.zeros((4, 2)), (0, 2, 2, 0))
    assert tall.get_extent() == pytest.approx([0.5, 1.5, 2, 0])
    assert (wide.norm.vmin, wide.norm.vmax) == (0, 1)


def test_samples_show_themselves_unless_they_are_rows(images):
    assert _retrieval._as_items(images) is images
    assert _retrieval._as_items(["a", "b"]) == ["a", "b"]
    assert _retrieval._as_items([[1.0, 2.0]]) is None
    assert _retrieval._as_items(np.eye(2)) is None


def test_images_of_datasets_are_read_when_they_are_drawn(images):
    class Dataset:
        read = ()

        def __len__(self):
            return 5

        def __getitem__(self, i):
            self.read = (*self.read, i)
            return {"picture": Image.fromarray(images[i]), "label": 1}

    dataset = Dataset()
    sequence = ImageSequence(dataset, column="picture")
    assert _retrieval._as_items(sequence) is sequence
    items, kind = _items.check_items(sequence, 5)
    assert (items, kind) == (sequence, "path")
    assert dataset.read == ()
    read = _items.read_items(items, kind, [3, 1])
    np.testing.assert_array_equal(read, images[[3, 1]] / 255)
    assert dataset.read == (3, 1)
    with pytest.raises(ValueError, match="must be 4, one for each sample, got 5"):
        _items.check_items(sequence, 4)
    assert _items.check_items(sequence[[2]], 1, "text")[1] == "text"


def test_unreadable_items_are_named(images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.png").write_bytes(b"")
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for items in (paths, ImageSequence(paths)):
        assert len(_items.read_items(items, "path", [0])) == 1
        for i, name in ((1, "b"), (2, "c")):
            message = rf"item {i}, '.*{name}\.png', is not: "
            with pytest.raises(ValueError, match=message):
                _items.read_items(items, "path", [0, i])
    dataset = ImageSequence([{"image": np.full((2, 2), np.nan)}])
    with pytest.raises(ValueError, match=r"item 0 is not: .*nan"):
        _items.read_items(dataset, "path", [0])


def test_bad_input(images):
    with pytest.raises(
        ValueError, match=r"items must be 4, one for each sample, got 5\."
    ):
        _items.check_items(images, 4)
    with pytest.raises(ValueError, match=r"items must .*an array of shape \(2, 2\)"):
        _items.check_items(np.eye(2), 2)
    with pytest.raises(ValueError, match="of kind 'image'"):
        _items.check_items(["a", "b"], 2, "image")
    with pytest.raises(ValueError, match=r"images must .* a list of kind 'text'"):
        _items.check_items(["a", "b"], 2, name="images", allowed=("image", "path"))
    with pytest.raises(ValueError, match=r"item_kind must be one of .*got 'sound'"):
        _items.check_items(["a"], 1, "sound")
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels.*\(6, 7, 2\)"):
        _items.check_items(images[..., :2], 5)
    with pytest.raises(ValueError, match=r"1 of 2 are not, first 'b\.png'"):
        _items.check_items([__file__, "b.png"], 2, "path")
    with pytest.raises(ValueError, match="dtype <U1"):
        _items.check_items(np.full((2, 3, 3), "x"), 2)
