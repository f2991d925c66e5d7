"""X as images that are read batch by batch: what is taken for them, and bad ones."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import gen_batches
from torch.utils.data import Dataset, IterableDataset

from sk_dml._training._lazy import DecodedImages, StoredImages
from sk_dml.utils import warn
from sk_dml.utils._image_sequence import ImageSequence
from sk_dml.utils._images import import_pillow, is_path

# Files are decoded larger than the network sees them, so that crops can be taken.
DECODED_TO_SEEN = 256 / 227
SEEN_BY_BUILT_IN, SEEN_BY_NAMED = 128, 227  # pixels on a side

# An axis of four that is longer holds no channels where it is the last.
MOST_CHANNELS = 4

N_SHOWN = 10  # images that a warning names
N_CHECKED = 64  # images that a thread reads at once, in search of unreadable ones


def lazy_images(estimator, X, *, reset):
    """Take X for images to be read batch by batch, if it is that.

    Parameters
    ----------
    estimator : BaseEmbedder
        Receives (``reset=True``) or holds ``image_size_``.
    X : object
    reset : bool
        Whether X is training data.

    Returns
    -------
    LazyImages or None
        None if X is something else.

    Raises
    ------
    ValueError
        If only some of X are paths, or the embedder was fitted with arrays.
    FileNotFoundError
        If a file is missing, and ``on_bad_image`` is "raise".
    """
    if reset:
        estimator.image_size_ = None
    if isinstance(X, np.memmap) and X.ndim in (3, 4) and X.dtype.kind in "biuf":
        if not X.size:
            return None
        return StoredImages(X, channels_last=channels_last(X.shape))
    images = _image_sequence(X)
    if images is None or not len(images):
        return None
    name = type(estimator).__name__
    if reset:
        module, size = estimator.module, estimator.image_size
        is_named = isinstance(module, str) and "/" in module
        default = SEEN_BY_NAMED if is_named else SEEN_BY_BUILT_IN
        estimator.image_size_ = default if size is None else int(size)
    elif estimator.image_size_ is None:
        raise ValueError(
            f"X holds files or a dataset of images, but {name} was fitted with arrays "
            f"of samples of shape {estimator._input_shape}; give such arrays."
        )
    import_pillow()
    side = round(estimator.image_size_ * DECODED_TO_SEEN)
    found = DecodedImages(images, side, estimator.on_bad_image)
    if estimator.on_bad_image == "raise":
        found.check_files()
    return found


def channels_last(shape):
    """Tell whether images have their channels last.

    Of four axes the second holds the channels, unless the last is at most 4 long and
    the second is longer.

    Parameters
    ----------
    shape : tuple of int
        Of an array of images.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        If the last axis is longer than 4, but probably holds the channels: it is
        shorter than the second, and the images would be nearer to squares.
    """
    if len(shape) != 4:
        return False
    n_first, height, n_last = shape[1:]
    if n_last <= MOST_CHANNELS < n_first:
        return True
    if n_last < n_first and _ratio(n_first, height) < _ratio(height, n_last):
        raise ValueError(
            f"X has shape {tuple(shape)}. Its second axis is taken for the channels, "
            f"as the last is longer than {MOST_CHANNELS}: {n_first} channels of "
            f"{height} x {n_last}. If the last axis holds them, give np.moveaxis(X, "
            "-1, 1). If the second does, pad the images to squares, by np.pad."
        )
    return False


def _ratio(side, other):
    return max(side, other) / max(1, min(side, other))


def is_table_of_paths(X):
    """Tell whether data of two axes hold paths.

    Parameters
    ----------
    X : array-like of shape (n, n_columns)

    Returns
    -------
    bool
    """
    if issparse(X):  # some of which cannot be sliced
        return False
    first = np.asarray(X[:1], dtype=object)
    return first.size > 0 and all(map(is_path, first.ravel()))


def check_image_size(embedder):
    """Check ``image_size`` against what a training sees.

    Parameters
    ----------
    embedder : BaseEmbedder
        One that has seen X.

    Raises
    ------
    ValueError
        If it is given for arrays, or another than the network was made for.
    """
    given, seen = embedder.image_size, embedder.image_size_
    if given is None or given == seen:
        return
    if seen is None:
        raise ValueError(
            f"image_size={given} is for files and datasets of images; arrays keep "
            "their own size. Allowed for them is None. ImageSequence(X) makes a "
            "dataset of an array of images, which is scaled."
        )
    raise ValueError(
        f"image_size={given}, but the network that is to be trained further sees "
        f"images of {seen} x {seen}. Allowed are {seen} and None."
    )


def drop_bad_images(embedder, X, y, classes=None):
    """Leave out images that cannot be read, if ``on_bad_image`` is "skip".

    Every image is read once for that.

    Parameters
    ----------
    embedder : BaseEmbedder
        Lists them in ``bad_images_``.
    X : ndarray or LazyImages
    y : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,) or None, default=None
        The labels, if y holds places in them.

    Returns
    -------
    X, y
        Without them.

    Raises
    ------
    ValueError
        If there are no others.

    Warns
    -----
    UserWarning
        If there are any: how many, and which. If classes go with them: which.
    """
    if not isinstance(X, DecodedImages) or X.on_bad_image == "raise":
        return X, y
    blocks = [np.arange(b.start, b.stop) for b in gen_batches(len(X), N_CHECKED)]
    if X.in_threads:
        with ThreadPoolExecutor(n_threads()) as pool:
            readable = list(pool.map(lambda block: X.read(block)[1], blocks))
    else:
        readable = [X.read(block)[1] for block in blocks]
    kept = np.concatenate(readable)
    bad = X.bad_images(np.flatnonzero(~kept))
    known = vars(embedder).get("bad_images_", [])
    embedder.bad_images_ = [*dict.fromkeys([*known, *bad])]
    if bad:
        found = f"{len(bad)} of {len(X)} images cannot be read"
        if not kept.any():
            raise ValueError(f"{found}: {_listed(bad)}.")
        warn(f"{found} and are left out: {_listed(bad)}. See bad_images_.")
        _warn_of_lost_classes(y, kept, classes)
    X = X[kept]
    X.on_bad_image = "raise"  # if one breaks from now on
    return X, y[kept]


def _warn_of_lost_classes(y, kept, classes):
    every, left = dict.fromkeys(y.tolist()), set(y[kept].tolist())
    lost = [label for label in every if label not in left]
    if lost:
        names = lost if classes is None else classes[lost].tolist()
        shown = ", ".join(map(repr, names[:N_SHOWN]))
        warn(
            f"{len(lost)} of {len(every)} classes are left out, as none of their "
            f"images can be read: {shown}{', ...' if len(lost) > N_SHOWN else ''}."
        )


def warn_of_missing_rows(X, places):
    """Warn of images that could not be read, and have no embedding.

    Parameters
    ----------
    X : DecodedImages
    places : ndarray of int
        Which they are.
    """
    if len(places):
        shown: dict = {}
        for place in places:
            shown |= dict.fromkeys(X.bad_images([place]))
            if len(shown) > N_SHOWN:
                break
        warn(
            f"{len(places)} of {len(X)} images cannot be read; their rows are NaN: "
            f"{_listed(shown)}."
        )


def n_threads():
    """Choose how many threads read files: as many as torch may use, and at most 8.

    Returns
    -------
    int
    """
    return min(torch.get_num_threads(), 8)


def _listed(bad):
    """Name images and why they are bad, each once."""
    bad = [*dict.fromkeys(bad)]
    shown = [f"{name!r} ({reason})" for name, reason in bad[:N_SHOWN]]
    return ", ".join(shown) + (", ..." if len(bad) > N_SHOWN else "")


def _image_sequence(X):
    """Make a sequence of images of X; None if it is an array, or rows."""
    if isinstance(X, ImageSequence):
        return X
    if isinstance(X, Dataset):
        if isinstance(X, IterableDataset):
            raise TypeError(
                f"X is a {type(X).__name__}, an iterable Dataset; allowed are those of "
                "the map style, which have a length and can be indexed."
            )
        return ImageSequence(X)
    if is_path(X):
        raise TypeError(
            f"X is one path, {str(X)!r}; give several, in a list or an array. "
            "load_image_folder(root).paths lists those of a folder."
        )
    if isinstance(X, Mapping):
        raise TypeError(
            f"X is a {type(X).__name__} with the keys {[*X][:10]}; give the entry that "
            "holds the samples, or their paths."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read only once; give a list or "
            "an array."
        )
    if not _is_sequence(X):
        return None
    if hasattr(X, "features") and hasattr(X, "column_names"):  # of Hugging Face
        return ImageSequence(X)
    first = next(iter(X), None)
    if is_path(first):
        return ImageSequence(_check_paths(X))
    _check_one_shape(X)
    if not _holds_image(first):
        return None
    return ImageSequence(np.asarray(X) if hasattr(X, "shape") else X)


def _is_sequence(X):
    """Tell what has one axis from other arrays, and from data frames."""
    if hasattr(X, "dtype") or hasattr(X, "dtypes"):
        return len(getattr(X, "shape", ())) == 1
    is_indexed = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    return is_indexed and len(X) > 0 and not isinstance(X, (str, bytes, Mapping))


def _check_one_shape(X):
    """Refuse encoded images, and arrays of images that do not make one array."""
    first = next(iter(X), None)
    if isinstance(first, bytes):
        raise TypeError(
            "X holds bytes. Give the paths of files or, where the bytes are files of "
            "images, ImageSequence(X)."
        )
    if getattr(first, "ndim", 0) < 2:
        return
    shapes = {tuple(np.shape(image)) for image in X}
    if len(shapes) > 1:
        raise ValueError(
            f"X holds images of {len(shapes)} shapes, such as {sorted(shapes)[:2]}. "
            "Give images of one shape, or ImageSequence(X), whose images are scaled to "
            "image_size."
        )
    if not isinstance(X, (list, tuple)):
        raise ValueError(
            "X is an array or a Series of arrays. Give images of one shape in one "
            "array, as np.stack(X) makes it."
        )


def _check_paths(X):
    """Make an array of paths; an array of strings stays what it is."""
    paths = X if isinstance(X, np.ndarray) else np.array([*X], dtype=object)
    others = [i for i, path in enumerate(paths) if not is_path(path)]
    if others:
        raise ValueError(
            f"X holds paths and {len(others)} entries that are none; the first is "
            f"{paths[others[0]]!r}, at place {others[0]}."
        )
    return paths


def _holds_image(item):
    """Tell a Pillow image, or a tuple or dict with an image, from a row."""
    if isinstance(item, Mapping):
        return True
    if isinstance(item, tuple) and item:
        return is_path(item[0]) or getattr(item[0], "ndim", 0) >= 2 or _is_pil(item[0])
    return _is_pil(item)


def _is_pil(item):
    return any(cls.__module__ == "PIL.Image" for cls in type(item).__mro__)
