from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imsave

from sk_dml.inspection import _items


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)


def test_layouts_of_images_become_one(images):
    last, kind = _items.check_items(images, 5)
    first, _ = _items.check_items(np.moveaxis(images, -1, 1), 5)
    assert kind == "image"
    np.testing.assert_array_equal(last, images)
    np.testing.assert_array_equal(first, images)
    grey = images[..., :1]
    for layout in (grey, np.moveaxis(grey, -1, 1), grey[..., 0], list(grey[..., 0])):
        found, kind = _items.check_items(layout, 5)
        assert kind == "image"
        np.testing.assert_array_equal(found, grey[..., 0])


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (["a.png", "b.JPG"], "path"),
        ([Path("a"), Path("b.x")], "path"),
        ([Path("a"), "b.jpeg"], "path"),
        (["a.png", "b"], "text"),
        (np.array(["x", "y"]), "text"),
        ([1, 2], "text"),
    ],
)
def test_kinds_are_told_apart(items, kind):
    assert _items.check_items(items, 2)[1] == kind


def test_a_given_kind_wins():
    assert _items.check_items(["a.png", "b.png"], 2, "text")[1] == "text"
    assert _items.check_items(["a", "b"], 2, "path")[1] == "path"


def test_values_are_scaled_only_where_they_must_be(images):
    (same, *_) = _items.read_images(images, "image")
    np.testing.assert_array_equal(same, images[0])
    unit = images / 255.0
    np.testing.assert_array_equal(_items.read_images(unit, "image")[0], unit[0])
    other = 40 * unit - 7
    scaled = np.array(_items.read_images(other, "image"))
    assert scaled.min() == 0
    assert scaled.max() == 1
    low, high = other.min(), other.max()
    np.testing.assert_allclose(scaled, (other - low) / (high - low))
    huge = np.array([[[-1e308, 1e308]]])
    np.testing.assert_allclose(_items.read_images(huge, "image"), [[[0, 1]]])
    constant = np.full((2, 3, 3), 5)
    np.testing.assert_array_equal(_items.read_images(constant, "image"), 0 * constant)


def test_files_are_read(tmp_path, images):
    paths = [tmp_path / "a.png", str(tmp_path / "b.png")]
    for path, image in zip(paths, images, strict=False):
        imsave(path, image)
    read = _items.read_images(_items.check_items(paths, 2)[0], "path")
    np.testing.assert_allclose(read[1][..., :3], images[1] / 255, atol=1e-6)


def test_sides_keep_their_proportion():
    ax = Figure().subplots()
    ax.set(xlim=(0, 4), ylim=(4, 0))
    wide = _items.show_image(ax, np.zeros((2, 4)), (0, 2, 2, 0))
    assert wide.get_extent() == pytest.approx([0, 2, 1.5, 0.5])
    tall = _items.show_image(ax, np.zeros((4, 2)), (0, 2, 2, 0))
    assert tall.get_extent() == pytest.approx([0.5, 1.5, 2, 0])
    assert wide.norm.vmax == 1
    dark = _items.show_image(ax, np.zeros((4, 2), np.uint8), (0, 2, 2, 0))
    assert dark.norm.vmax == 255


def test_samples_show_themselves_unless_they_are_rows(images):
    assert _items.from_samples(images) is images
    assert _items.from_samples(["a", "b"]) == ["a", "b"]
    assert _items.from_samples([[1.0, 2.0]]) is None
    assert _items.from_samples(np.eye(2)) is None


def test_bad_input(images):
    with pytest.raises(ValueError, match="items has 5 entries for 4 samples"):
        _items.check_items(images, 4)
    with pytest.raises(ValueError, match=r"items is an array of shape \(2, 2\)"):
        _items.check_items(np.eye(2), 2)
    with pytest.raises(ValueError, match="of kind 'image'"):
        _items.check_items(["a", "b"], 2, "image")
    with pytest.raises(ValueError, match="images is a list of kind 'text'"):
        _items.check_items(["a", "b"], 2, name="images", allowed=("image", "path"))
    with pytest.raises(ValueError, match=r"item_kind must be one of .*got 'sound'"):
        _items.check_items(["a"], 1, "sound")
    with pytest.raises(ValueError, match=r"\(6, 7, 2\).*1, 3 or 4 channels"):
        _items.check_items(images[..., :2], 5)
    with pytest.raises(ValueError, match="dtype <U1"):
        _items.check_items(np.full((2, 3, 3), "x"), 2)
