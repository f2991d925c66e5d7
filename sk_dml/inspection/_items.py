"""What samples look like: images, files of images, or text."""

import os

import numpy as np

from sk_dml._inputs._decode import is_path, load_image
from sk_dml._inputs._files import ImageSequence

KINDS = ("image", "path", "text")
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_PIXELS = 512  # on a side of what is read from a file


def check_items(items, n_samples, kind="auto", *, name="items", allowed=KINDS):
    """Find out what items are; return them, as an array of images or a list.

    Images come back as (n, h, w) or (n, h, w, c). Of the kind "auto" arrays are images,
    path objects and strings that all end as image files do are paths, and everything
    else of one axis is text. An ImageSequence is shown as paths are, and stays what it
    is.
    """
    if kind not in ("auto", *KINDS):
        raise ValueError(f"item_kind must be one of {('auto', *KINDS)}, got {kind!r}.")
    is_sequence = isinstance(items, ImageSequence)
    if not is_sequence and not hasattr(items, "ndim"):
        items = list(items)
        if items and np.ndim(items[0]) > 0:
            items = np.asarray(items)
    n_dims = getattr(items, "ndim", 1)
    if len(items) != n_samples:
        raise ValueError(
            f"{name} has {len(items)} entries for {n_samples} samples; give one each."
        )
    if is_sequence and kind in ("auto", "path") and "path" in allowed:
        return items, "path"
    if kind == "auto":
        kind = "image" if n_dims in (3, 4) else _kind_of(items) if n_dims == 1 else None
    if kind not in allowed or (n_dims not in (3, 4) if kind == "image" else n_dims > 1):
        shape = f"an array of shape {np.shape(items)}" if n_dims > 1 else "a list"
        raise ValueError(
            f"{name} is {shape}" + (f" of kind {kind!r}" if kind else "") + "; "
            "allowed are images of shape (n, h, w), (n, h, w, c) or (n, c, h, w)"
            + (", paths of image files" if "path" in allowed else "")
            + (", or text" if "text" in allowed else "")
            + "."
        )
    if kind == "image":
        return _channels_last(np.asarray(items), name), kind
    if kind == "path":
        missing = [path for path in items if not os.path.isfile(path)]
        if missing:
            raise ValueError(
                f"{name} holds paths of which {len(missing)} of {len(items)} are no "
                f"files; the first is {str(missing[0])!r}."
            )
    return list(items), kind


def check_both(items, labels, gallery_items, gallery_labels, kind):
    """Find out what queries and gallery are; they must be of one kind.

    Without ``gallery_labels`` the queries are their own gallery. Without items the
    labels are shown.
    """
    is_self = gallery_labels is None
    if is_self and gallery_items is not None:
        raise ValueError("gallery_items needs a gallery, got none.")
    if items is None and gallery_items is None:
        items, gallery_items, kind = labels, gallery_labels, "text"
    elif not is_self and (items is None or gallery_items is None):
        given = "gallery_items" if items is None else "items"
        raise ValueError(f"items and gallery_items go together, got only {given}.")
    items, found = check_items(items, len(labels), kind)
    if is_self:
        return items, items, found
    gallery_items, found_too = check_items(
        gallery_items, len(gallery_labels), kind, name="gallery_items"
    )
    if found != found_too:
        raise ValueError(
            f"items are of kind {found!r} and gallery_items of kind {found_too!r}; "
            "they must be of the same."
        )
    return items, gallery_items, found


def value_limits(*arrays):
    """Find the smallest and the largest finite value of arrays; (0, 1) for none."""
    low, high = np.inf, -np.inf
    for array in arrays:
        values = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def read_images(items, kind, indices, limits=None):
    """Make some of the items what ``imshow`` takes, with values in [0, 1].

    Values beyond [0, 1] are scaled from the smallest to the largest of all items, or
    from and to the limits, so that what is drawn does not depend on what else is.
    Those that cannot be read raise ValueError, which names them.
    """
    if kind == "path":
        return [_read(items, i) for i in indices]
    limits = value_limits(items) if limits is None else limits
    return [_scale(items[i], *limits) for i in indices]


def show_image(ax, image, extent):
    """Draw an image into a box (left, right, bottom, top), its sides in proportion."""
    left, right, bottom, top = extent
    height, width = image.shape[:2]
    scale = max(width / (right - left), height / abs(bottom - top))
    x, y = (left + right) / 2, (bottom + top) / 2
    x_half, y_half = width / scale / 2, np.sign(bottom - top) * height / scale / 2
    box = (x - x_half, x + x_half, y + y_half, y - y_half)
    return ax.imshow(image, extent=box, **grey())


def grey():
    """Give the keywords with which images without colours are drawn."""
    from matplotlib.colors import Normalize

    return {"cmap": "gray", "norm": Normalize(0, 1)}


def from_samples(X):
    """Take samples for what they look like, unless they are rows."""
    n_dims = getattr(X, "ndim", None)
    if isinstance(X, ImageSequence):
        return X
    if n_dims is None:
        n_dims = 1 + np.ndim(X[0]) if len(X) else 1
    return None if n_dims == 2 else X


def _kind_of(items):
    if all(isinstance(item, (str, os.PathLike)) for item in items) and all(
        not isinstance(item, str) or item.lower().endswith(IMAGE_SUFFIXES)
        for item in items
    ):
        return "path"
    return "text"


def _read(items, i):
    item = None
    try:
        item = items[i]
        if isinstance(items, ImageSequence):
            return _shrink(load_image(item, column=items.column))
        return _read_file(item)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        path = f", {str(item)!r}," if is_path(item) else ""
        raise ValueError(
            f"Item {i} of those to show{path} cannot be read as an image: "
            f"{type(error).__name__}: {error}. Mend it, or leave the sample out."
        ) from error


def _read_file(path):
    from PIL import Image, ImageOps  # which matplotlib needs, too

    with Image.open(os.fspath(path)) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode[0] in "IF":  # whole or floating-point numbers beyond 255
            values = np.asarray(image)
            return _scale(values, *value_limits(values))
        if image.mode not in ("L", "RGB", "RGBA"):
            image = image.convert("RGBA")
        return _shrink(image)


def _shrink(image):
    image = image.copy()  # as it is another's
    image.thumbnail((MAX_PIXELS, MAX_PIXELS))
    return np.asarray(image) / 255


def _scale(image, low, high):
    image = image.astype(np.float64)
    if low < 0 or high > 1:
        # Halves first, so that the difference of huge values does not overflow.
        image = (image / 2 - low / 2) / max(high / 2 - low / 2, np.finfo(float).tiny)
    return image


def _channels_last(images, name):
    channels = (1, 3, 4)
    if images.ndim == 4:
        if images.shape[-1] not in channels and images.shape[1] in channels:
            images = np.moveaxis(images, 1, -1)
        if images.shape[-1] == 1:
            images = images[..., 0]
    if (
        images.dtype.kind not in "biuf"
        or 0 in images.shape
        or (images.ndim == 4 and images.shape[-1] not in channels)
    ):
        raise ValueError(
            f"{name} holds images of shape {images.shape[1:]} and dtype "
            f"{images.dtype}; allowed are numbers, with 1, 3 or 4 channels, last or "
            "first."
        )
    return images
