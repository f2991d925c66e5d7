"""What samples look like: images, files of images, or text."""

import os

import numpy as np

KINDS = ("image", "path", "text")
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def check_items(items, n_samples, kind="auto", *, name="items", allowed=KINDS):
    """Find out what items are.

    Parameters
    ----------
    items : array-like of length n_samples
    n_samples : int
    kind : {"auto", "image", "path", "text"}, default="auto"
        "auto" takes arrays for images, path objects and strings that all end as image
        files do for paths, and everything else of one axis for text.
    name : str
        What to call the items in an error.
    allowed : tuple of str
        Kinds that the caller can show.

    Returns
    -------
    items : ndarray of shape (n_samples, h, w[, c]), or list
    kind : {"image", "path", "text"}
    """
    if kind not in ("auto", *KINDS):
        raise ValueError(f"item_kind must be one of {('auto', *KINDS)}, got {kind!r}.")
    if not hasattr(items, "ndim"):
        items = list(items)
        if items and np.ndim(items[0]) > 0:
            items = np.asarray(items)
    n_dims = getattr(items, "ndim", 1)
    if len(items) != n_samples:
        raise ValueError(
            f"{name} has {len(items)} entries for {n_samples} samples; give one each."
        )
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
    return list(items), kind


def take(items, indices):
    """Take some of the items.

    Parameters
    ----------
    items : ndarray or list
    indices : ndarray of shape (n,), int

    Returns
    -------
    ndarray or list
        Of the same kind.
    """
    if isinstance(items, np.ndarray):
        return items[indices]
    return [items[i] for i in indices]


def read_images(items, kind):
    """Make images that ``imshow`` takes.

    Parameters
    ----------
    items : ndarray of shape (n, h, w[, c]) or list of paths
    kind : {"image", "path"}

    Returns
    -------
    list of ndarray of shape (h, w) or (h, w, 3 or 4), float in [0, 1] or uint8
        Values of arrays outside of [0, 1] are scaled from their smallest to their
        largest, all images alike.
    """
    if kind == "path":
        from matplotlib.image import imread

        return [imread(os.fspath(path)) for path in items]
    if items.dtype == np.uint8:
        return list(items)
    items = items.astype(np.float64)
    values = items[np.isfinite(items)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if low < 0 or high > 1:
        # Halves first, so that the difference of huge values does not overflow.
        items = (items / 2 - low / 2) / max(high / 2 - low / 2, np.finfo(float).tiny)
    return list(items)


def show_image(ax, image, extent):
    """Draw an image into a box, its sides in proportion.

    Parameters
    ----------
    ax : matplotlib Axes
    image : ndarray of shape (h, w) or (h, w, 3 or 4)
    extent : tuple (left, right, bottom, top)
        The box, in data coordinates.

    Returns
    -------
    matplotlib AxesImage
    """
    left, right, bottom, top = extent
    height, width = image.shape[:2]
    scale = min((right - left) / width, abs(bottom - top) / height) / 2
    x, y = (left + right) / 2, (bottom + top) / 2
    down = np.sign(bottom - top)
    box = (
        x - width * scale,
        x + width * scale,
        y + down * height * scale,
        y - down * height * scale,
    )
    return ax.imshow(image, extent=box, **grey(image))


def grey(image):
    """Say how an image without colours maps to grey.

    Parameters
    ----------
    image : ndarray of shape (h, w) or (h, w, 3 or 4)

    Returns
    -------
    dict
        Keywords of ``imshow``.
    """
    from matplotlib.colors import Normalize

    white = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1
    return {"cmap": "gray", "norm": Normalize(0, white)}


def check_both(items, labels, gallery_items, gallery_labels, is_self, kind):
    """Find out what queries and gallery are; they must be of one kind.

    Parameters
    ----------
    items, gallery_items : array-like or None
        None for both takes the labels.
    labels, gallery_labels : ndarray
    is_self : bool
        Whether the queries are their own gallery.
    kind : {"auto", "image", "path", "text"}

    Returns
    -------
    items, gallery_items : ndarray or list
    kind : {"image", "path", "text"}
    """
    if is_self and gallery_items is not None:
        raise ValueError("gallery_items needs a gallery, got none.")
    if items is None and gallery_items is None:
        items, gallery_items, kind = labels, gallery_labels, "text"
    elif is_self:
        gallery_items = items
    elif items is None or gallery_items is None:
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


def from_samples(X):
    """Take samples for what they look like, unless they are rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)

    Returns
    -------
    array-like or None
    """
    n_dims = getattr(X, "ndim", None)
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


def _channels_last(images, name):
    if images.ndim == 4 and not images.shape[-1] <= 4 < images.shape[1]:
        images = np.moveaxis(images, 1, -1)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if (
        images.dtype.kind not in "biuf"
        or 0 in images.shape
        or (images.ndim == 4 and images.shape[-1] not in (3, 4))
    ):
        raise ValueError(
            f"{name} holds images of shape {images.shape[1:]} (channels last) and "
            f"dtype {images.dtype}; allowed are numbers, with 1, 3 or 4 channels."
        )
    return images
