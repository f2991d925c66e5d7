import io
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from sk_dml._inputs._decode import load_image, load_square

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def picture():
    """Noise, 5 high and 7 wide."""
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def loaded(item, **options):
    image = load_image(item, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def mode_of(path):
    with Image.open(path) as file:
        return file.mode


# Kinds of files


def test_colors_stay(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    for item in (tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(loaded(item), picture)
    content = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(loaded(content), picture)


@pytest.mark.parametrize("end", ["png", "tif", "bmp", "pgm"])
def test_gray_becomes_three_equal_channels(end, picture, tmp_path):
    gray = picture[..., 0]
    Image.fromarray(gray).save(tmp_path / f"a.{end}")
    expected = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(loaded(tmp_path / f"a.{end}"), expected)


def test_one_bit(tmp_path):
    ink = np.eye(6, dtype=bool)
    Image.fromarray(ink).convert("1").save(tmp_path / "a.png")
    assert mode_of(tmp_path / "a.png") == "1"
    np.testing.assert_array_equal(loaded(tmp_path / "a.png")[..., 1], 255 * ink)


@pytest.mark.parametrize("end", ["png", "tif"])
def test_16_bits_become_8(end, tmp_path):
    values = np.array([[0, 257, 300], [32768, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{end}")
    assert mode_of(tmp_path / f"a.{end}")[0] == "I"
    expected = np.rint(values / 257)
    np.testing.assert_array_equal(loaded(tmp_path / f"a.{end}")[..., 2], expected)


def test_palettes(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([2, 0, 1])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=1)
    assert mode_of(tmp_path / "b.png") == "P"
    assert loaded(tmp_path / "a.png").tolist() == [[[*BLUE], [*RED], [*GREEN]]]
    assert loaded(tmp_path / "b.png").tolist() == [[[*BLUE], [*RED], [255] * 3]]


def test_transparent_pixels_lie_on_white(tmp_path):
    for mode, color in (("RGBA", (200, 100, 0)), ("LA", (40,))):
        image = Image.new(mode, (3, 1))
        image.putdata([(*color, 255), (*color, 0), (*color, 128)])
        image.save(tmp_path / "a.png")
        full, none, half = loaded(tmp_path / "a.png")[0]
        expected = np.broadcast_to(color, 3)
        np.testing.assert_array_equal(full, expected)
        np.testing.assert_array_equal(none, 255)
        np.testing.assert_allclose(half, 255 - (255 - expected) * 128 / 255, atol=1)


@pytest.mark.parametrize(
    ("mode", "values", "transparent"),
    [("L", [7, 90], 7), ("RGB", [RED, BLUE], RED), ("I;16", [500, 65535], 500)],
)
def test_a_transparent_color_is_white(mode, values, transparent, tmp_path):
    image = Image.new(mode, (2, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    image.save(tmp_path / "a.png", transparency=transparent)
    first, second = loaded(tmp_path / "a.png")[0]
    assert first.tolist() == [255] * 3
    if mode != "I;16":
        np.testing.assert_array_equal(second, np.broadcast_to(values[1], 3))


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    image.save(tmp_path / "a.jpg", quality=95)
    assert mode_of(tmp_path / "a.jpg") == "CMYK"
    np.testing.assert_allclose(loaded(tmp_path / "a.jpg")[8, 8], RED, atol=12)


def test_animations_show_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as file:
        assert file.n_frames == 3
    assert loaded(tmp_path / "a.gif")[0, 0].tolist() == [*RED]


# As a viewer would have to turn them, for every value of the tag.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_photographs_are_turned_as_the_camera_says(orientation, picture, tmp_path):
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    expected = UPRIGHT[orientation](picture)
    np.testing.assert_array_equal(loaded(tmp_path / "a.png"), expected)
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(loaded(opened), expected)
        assert opened.size == image.size  # an image of another's is not turned


def test_broken_exif_says_nothing_about_the_pixels(picture, tmp_path):
    exif = b"Exif\x00\x00garbage, no header of a TIFF"
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    assert loaded(tmp_path / "a.jpg").shape == (5, 7, 3)


# Sizes


def test_squares_show_the_middle(tmp_path):
    stripes = np.zeros((10, 30, 3), dtype=np.uint8)
    stripes[:, :10], stripes[:, 10:20], stripes[:, 20:] = RED, GREEN, BLUE
    for turned in (stripes, stripes.swapaxes(0, 1)):
        Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "a.png")
        square = load_square(tmp_path / "a.png", 8)
        assert square.dtype == np.uint8
        assert square.shape == (3, 8, 8)
        assert (square[:, 1:-1, 1:-1].reshape(3, -1).T == GREEN).all()


def test_scaling_keeps_means_and_gradients():
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8), (100, 1))
    square = load_square(ramp, 10)
    expected = ramp[0, 50:150].reshape(10, 10).mean(axis=1)
    np.testing.assert_allclose(square[0], np.tile(expected, (10, 1)), atol=1.5)
    assert load_square(ramp[:5, :5], 20).shape == (3, 20, 20)  # enlarged


def test_large_photographs_are_decoded_at_a_fraction(tmp_path):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((1600, 1200), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=95)
    assert load_image(tmp_path / "a.jpg", 128).size == (200, 150)
    assert load_image(tmp_path / "a.jpg").size == (1600, 1200)
    found = load_square(tmp_path / "a.jpg", 64).astype(int)
    expected = load_square(image, 64).astype(int)
    assert np.abs(found - expected).mean() < 2


# Objects


def test_arrays_and_tensors(picture):
    gray = picture[..., 0]
    for item in (
        picture,
        torch.from_numpy(picture).permute(2, 0, 1),
        picture / 255,
        torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1),
        picture.transpose(2, 0, 1),
        torch.from_numpy(picture),
        (picture, 3),
        [picture, "label"],
        {"image": picture, "label": 3},
    ):
        np.testing.assert_array_equal(loaded(item), picture)
    for item in (gray, gray[..., None], torch.from_numpy(gray)[None]):
        np.testing.assert_array_equal(loaded(item)[..., 2], gray)
    np.testing.assert_array_equal(
        loaded(np.eye(3, dtype=bool))[..., 0], 255 * np.eye(3)
    )
    with_alpha = np.dstack([picture, np.zeros((5, 7), np.uint8)])
    assert (loaded(with_alpha) == 255).all()


def test_files_as_hugging_face_keeps_them(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for image in (
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(tmp_path / "a.png")},
    ):
        np.testing.assert_array_equal(loaded({"img": image}, column="img"), picture)


def test_images_of_others_are_left_alone(picture):
    image = Image.fromarray(picture).convert("RGBA")
    load_square(image, 3)
    assert (image.mode, image.size) == ("RGBA", (7, 5))


# What is no image


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"img": 1, "label": 2}, r"dict without 'image', but with \['img', 'label'\]"),
        (np.zeros(4, np.uint8), r"type ndarray, shape \(4,\).*allowed are paths"),
        (np.zeros((5, 4, 2), np.uint8), r"shape \(5, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.zeros((4, 4), np.int64), "dtype int64; allowed are"),
        (np.zeros((4, 4), np.uint16), "dtype uint16; allowed is uint8"),
        (np.full((4, 4), 255.0), r"floats go from 255.0 to 255.0; allowed is \[0, 1\]"),
        (np.full((4, 4), np.nan), r"floats go from nan"),
        (3, r"it is of type int, shape \(\)"),
        (None, "it is of type NoneType"),
    ],
)
def test_what_is_no_image_is_refused(item, message):
    with pytest.raises(ValueError, match=message):
        load_image(item)


def test_ranges_that_are_not_known_are_refused(tmp_path):
    values = np.array([[-1, 70000]], dtype=np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="from -1 to 70000, more than 16 bits"):
        load_image(tmp_path / "a.tif")
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match="floating-point numbers"):
        load_image(tmp_path / "b.tif")


def test_damaged_files_are_refused(picture, tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    for end in ("jpg", "png"):
        path = tmp_path / f"a.{end}"
        Image.fromarray(large).save(path)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(OSError, match="truncated"):
            load_image(path)
    for content in (b"", b"no image at all"):
        path.write_bytes(content)
        with pytest.raises(OSError, match="cannot identify"):
            load_image(path)
        with pytest.raises(OSError, match="cannot identify"):
            load_image(content or b" ")


def test_errors_show_a_plain_path(tmp_path):
    path = tmp_path / "none.png"
    path.write_bytes(b"no image")
    for item in (np.str_(path), path):
        with pytest.raises(OSError, match=f"cannot identify image file '{path}'"):
            load_image(item)


def test_decompression_bombs_are_refused(picture, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 34)
    with warnings.catch_warnings():  # of Pillow
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        message = re.escape("35 pixels, more than PIL.Image.MAX_IMAGE_PIXELS = 34")
        with pytest.raises(ValueError, match=message):
            load_image(file.getvalue())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(file.getvalue()).size == (7, 5)


def test_missing_pillow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "sk-dml\[vision\]"'):
        load_image("a.png")
