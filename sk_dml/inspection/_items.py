"""Items that show samples: images, files of images, or text."""

import os

import numpy as np

from sk_dml._inputs._decode import IMAGE_SUFFIXES, load_image
from sk_dml._inputs._files import ImageSequence
from sk_dml._inputs._source import is_path
from sk_dml.neighbors._validation import check_choice

KINDS = {
    "image": "images of shape (n, h, w), (n, h, w, c) or (n, c, h, w)",
    "path": "paths of image files",
    "text": "text",
}
MAX_PIXELS = 512  # on a side of an image read from a file


def kind_of(items):
    """Return the kind of items, one of ``KINDS``, or None for rows."""
    if isinstance(items, ImageSequence):
        return "path"
    n_dims = np.ndim(items if hasattr(items, "ndim") else items[:1])
    if n_dims != 1:
        return "image" if n_dims in (3, 4) else None
    are_paths = all(
        item.lower().endswith(IMAGE_SUFFIXES)
        if isinstance(item, str)
        else isinstance(item, os.PathLike)
        for item in items
    )
    return "path" if are_paths else "text"


def check_items(items, n_samples, kind="auto", *, name="items", allowed=tuple(KINDS)):
    """Return checked items and their kind.

    Images are returned as an array (n, h, w) or (n, h, w, c), an ImageSequence as it
    is, paths and text as a list.
    """
    check_choice(kind, ("auto", *KINDS), "item_kind")
    if len(items) != n_samples:
        raise ValueError(
            f"{name} must be {n_samples}, one for each sample, got {len(items)}."
        )
    actual = kind_of(items)
    kind = actual if kind == "auto" else kind
    is_array = actual in ("image", None)
    if kind not in allowed or is_array != (kind == "image"):
        got = f"an array of shape {np.shape(items)}" if is_array else "a list"
        raise ValueError(
            f"{name} must be {' or '.join(KINDS[i] for i in allowed)}, got {got} of "
            f"kind {kind!r}."
        )
    if kind == "image":
        return _channels_last(np.asarray(items), name), kind
    if isinstance(items, ImageSequence) and kind == "path":
        return items, kind
    missing = [i for i in items if kind == "path" and not os.path.isfile(i)]
    if missing:
        raise ValueError(
            f"{name} must be paths of files; {len(missing)} of {len(items)} are not, "
            f"first {str(missing[0])!r}."
        )
    return list(items), kind


def check_both(items, labels, gallery_items, gallery_labels, kind):
    """Return the items of queries and gallery, and their kind, which must be one.

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
    items, item_kind = check_items(items, len(labels), kind)
    if is_self:
        return items, items, item_kind
    name, allowed, n_gallery = "gallery_items", (item_kind,), len(gallery_labels)
    return items, *check_items(
        gallery_items, n_gallery, kind, name=name, allowed=allowed
    )


def value_limits(*arrays):
    """Return the smallest and the largest finite value of arrays; (0, 1) for none."""
    low, high = np.inf, -np.inf
    for array in arrays:
        values = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 1.0)


def read_items(items, kind, indices, limits=None):
    """Return some of the items: text, or arrays for ``imshow`` with values in [0, 1].

    Values beyond [0, 1] are scaled from the limits, by default those of all items, so
    that a picture does not depend on which items are drawn.
    """
    if kind == "text":
        return [items[i] for i in indices]
    if kind == "path":
        return [_read(items, i) for i in indices]
    limits = value_limits(items) if limits is None else limits
    return [_scale(items[i], *limits) for i in indices]


def show_image(ax, image, extent):
    """Draw an image into a box (left, right, bottom, top), keeping its proportions."""
    left, right, bottom, top = extent
    height, width = image.shape[:2]
    scale = max(width / (right - left), height / abs(bottom - top))
    x, y = (left + right) / 2, (bottom + top) / 2
    x_half, y_half = width / scale / 2, np.sign(bottom - top) * height / scale / 2
    box = (x - x_half, x + x_half, y + y_half, y - y_half)
    return ax.imshow(image, extent=box, **gray())


def gray():
    """Return the keywords that draw images of one channel in gray."""
    from matplotlib.colors import Normalize

    return {"cmap": "gray", "norm": Normalize(0, 1)}


def _read(items, i):
    from PIL import Image, ImageOps  # which matplotlib needs, too

    item = None
    try:
        item = items[i]
        if not is_path(item):
            return _shrink(load_image(item, column=items.column))
        with Image.open(os.fspath(item)) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode[0] in "IF":  # integers or floats beyond 255
                values = np.asarray(image)
                return _scale(values, *value_limits(values))
            is_plain = image.mode in ("L", "RGB", "RGBA")
            return _shrink(image if is_plain else image.convert("RGBA"))
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        path = f", {str(item)!r}," if is_path(item) else ""
        raise ValueError(
            f"items must be readable images; item {i}{path} is not: "
            f"{type(error).__name__}: {error}. Leave the sample out."
        ) from error


def _shrink(image):
    """Return a Pillow image as an array in [0, 1], at most MAX_PIXELS on a side."""
    image = image.copy()  # ``thumbnail`` works in place
    image.thumbnail((MAX_PIXELS, MAX_PIXELS))
    return np.asarray(image) / 255


def _scale(image, low, high):
    """Return an image with [low, high] mapped to [0, 1], if it goes beyond that."""
    image = image.astype(np.float64)
    if low < 0 or high > 1:
        # Halves first, so that the difference of huge values does not overflow.
        image = (image / 2 - low / 2) / max(high / 2 - low / 2, np.finfo(float).tiny)
    return image


def _channels_last(images, name):
    """Return images as (n, h, w) or (n, h, w, c), with 3 or 4 channels."""
    channels = (1, 3, 4)
    layout = images[..., None] if images.ndim == 3 else images
    if layout.shape[-1] not in channels and layout.shape[1] in channels:
        layout = np.moveaxis(layout, 1, -1)
    is_shown = layout.shape[-1] in channels and 0 not in layout.shape
    if images.dtype.kind not in "biuf" or not is_shown:
        raise ValueError(
            f"{name} must be numbers with 1, 3 or 4 channels, last or first, got shape "
            f"{images.shape[1:]} and dtype {images.dtype}."
        )
    return layout[..., 0] if layout.shape[-1] == 1 else layout
