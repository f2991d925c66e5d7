"""Images of every kind, from a file or an object to 8-bit colors of one size."""

import io
import os
from collections.abc import Mapping

import numpy as np

from sk_dml._inputs._source import is_path

# A JPEG may be decoded at a fraction of its size, as long as it stays this many times
# larger than what is made of it.
REDUCING_GAP = 2
LARGEST_16_BIT = 2**16 - 1
IMAGE_SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm"),
    *(".png", ".ppm", ".tif", ".tiff", ".webp"),
)

# Values of images are on another scale if they are all so many times smaller or larger,
# and the smaller ones at most what standardized values or shares are.
OTHER_SCALE, LARGEST_SHARE = 16, 3


def import_pillow():
    """Return Pillow's module ``Image``; ImportError says what to install."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading images from files or datasets needs Pillow: "
            'pip install "sk-dml[vision]"'
        ) from error
    return Image


def is_other_scale(one, other):
    """Return whether ranges (low, high) of images differ as 0 to 1 and 0 to 255 do.

    False where all values of either are 0.
    """
    small, large = sorted(max(abs(low), abs(high)) for low, high in (one, other))
    return 0 < small <= LARGEST_SHARE and large >= OTHER_SCALE * small


def load_square(item, side, *, column="image"):
    """Return an image as an array of shape (3, side, side), uint8: its middle, scaled.

    The shorter side becomes ``side`` pixels long.
    """
    image = load_image(item, REDUCING_GAP * side, column=column)
    half = min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    square = image.resize(
        (side, side),
        import_pillow().Resampling.BILINEAR,
        box=(x - half, y - half, x + half, y + half),
        reducing_gap=REDUCING_GAP,
    )
    return np.asarray(square).transpose(2, 0, 1)


def load_image(item, smallest_side=None, *, column="image"):
    """Load an image as a Pillow image of mode "RGB", upright.

    It is turned as its EXIF orientation says. Gray values become three equal channels,
    those of 16 bits are divided by 257; transparent pixels are laid on white. Of an
    animation the first frame counts. Raises ValueError or OSError if there is no image.

    Parameters
    ----------
    item : object
        A path, the bytes of a file, a Pillow image, or an array or tensor of shape
        (height, width) or with 1, 3 or 4 channels: uint8, bool, or floats in [0, 1].
        A tensor has its channels first, an array last, unless only the other way
        makes sense. Of a tuple or list the first entry is the image, of a dict that
        named ``column``.
    smallest_side : int or None, default=None
        Files that can be decoded at a fraction of their size, as JPEG, may be, as long
        as both sides stay at least so long.
    column : str, default="image"
        Which entry of a dict is the image.
    """
    pillow = import_pillow()
    item = _image_of(item, column)
    if isinstance(item, bytes):
        item = io.BytesIO(item)
    elif is_path(item):
        item = str(os.fspath(item))  # no string of NumPy: errors show it
    elif isinstance(item, pillow.Image):
        return _to_colors(_upright(item))
    else:
        return _to_colors(_from_array(item))
    with pillow.open(item) as image:
        n_pixels, largest = image.width * image.height, pillow.MAX_IMAGE_PIXELS
        if largest is not None and n_pixels > largest:
            raise ValueError(
                f"it has {n_pixels} pixels, more than PIL.Image.MAX_IMAGE_PIXELS = "
                f"{largest}; raise that if you trust the file"
            )
        if smallest_side is not None:
            image.draft(None, (smallest_side, smallest_side))
        image.load()
        return _to_colors(_upright(image, in_place=True))


def _image_of(item, column):
    """Return the image in what a dataset returns for a sample."""
    if isinstance(item, Mapping):
        if column not in item:
            raise ValueError(
                f"it is a dict without {column!r}, but with {[*item]}; say which is "
                "the image by ImageSequence(dataset, column=...)"
            )
        item = item[column]
    elif isinstance(item, (tuple, list)) and len(item):
        item = item[0]
    if isinstance(item, Mapping):  # how Hugging Face keeps files that are not decoded
        item = item.get("bytes") or item.get("path")
    return item


def _to_colors(image):
    pillow = import_pillow()
    if image.mode[0] == "I":
        image = _from_16_bit(image)
    if image.mode == "F":
        raise ValueError(
            "its values are floating-point numbers (mode F), whose range is not known; "
            "save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image, in_place=False):
    """Return an image turned as EXIF says; others than our own are not changed."""
    from PIL import ImageOps

    try:
        turned = ImageOps.exif_transpose(image, in_place=in_place)
    except Exception:  # EXIF data that cannot be read say nothing about the pixels
        return image
    return image if in_place else turned


def _from_16_bit(image):
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > LARGEST_16_BIT:
        raise ValueError(
            f"its values go from {values.min()} to {values.max()}, more than 16 bits; "
            "save it with 8 or 16 bits"
        )
    gray = np.rint(values / (LARGEST_16_BIT / 255)).astype(np.uint8)
    if "transparency" in image.info:  # the value that stands for it
        gray[values == image.info["transparency"]] = 255
    return import_pillow().fromarray(gray)


def _from_array(item):
    """Return an array or a tensor as a Pillow image."""
    is_tensor = hasattr(item, "detach")
    values = np.asarray(item.detach().cpu() if is_tensor else item)
    shape, dtype = values.shape, values.dtype
    many = (1, 3, 4)
    if values.ndim == 3:
        first, last = shape[0] in many, shape[-1] in many
        if first and (is_tensor or not last):
            values = np.moveaxis(values, 0, -1)
        values = values[..., 0] if values.shape[-1] == 1 else values
    allowed = values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in many)
    if not allowed or 0 in shape or dtype.kind not in "buf":
        raise ValueError(
            f"it is of type {type(item).__name__}, shape {shape} and dtype {dtype}; "
            "allowed are paths, Pillow images, and arrays of shape (height, width) or "
            "with 1, 3 or 4 channels, uint8 or floats in [0, 1]"
        )
    if dtype.kind == "f" and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"its floats go from {values.min()} to {values.max()}; allowed is [0, 1]"
        )
    if dtype.kind != "u":
        values = np.rint(values.astype(np.float64) * 255)
    elif dtype != np.uint8:
        raise ValueError(f"it is an array of dtype {dtype}; allowed is uint8")
    return import_pillow().fromarray(np.ascontiguousarray(values, dtype=np.uint8))
