"""X as images that are read batch by batch: what is taken for them, and bad ones."""

import copy
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, gen_batches
from torch.utils.data import Dataset, IterableDataset

from sk_dml._inputs._decode import import_pillow, is_path, load_square
from sk_dml._utils._warn import warn


class ImageSequence:
    """Images of a dataset, which can be split without being read.

    Torch Datasets and those of Hugging Face go into :meth:`fit` and :meth:`transform`
    of an embedder as they are. What splits data, such as cross_validate and
    GridSearchCV, wants to pick samples by an array of indices, which they do not offer,
    or only by reading all of them: wrap them for it.

    Parameters
    ----------
    dataset : object with ``len`` and ``[int]``
        A torch Dataset (map style), a Dataset of Hugging Face, or any sequence. Its
        items are images, tuples whose first entry is one, or dicts that hold one; an
        image is a Pillow image, a path, or an array or tensor, uint8 or of floats in
        [0, 1].
    column : str, default="image"
        Where items are dicts, the key of the image.

    Attributes
    ----------
    shape : tuple (n_samples,)
        As of an array of one axis.

    Raises
    ------
    TypeError
        If the dataset has no length or cannot be indexed.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml.datasets import ImageSequence
    >>> images = np.zeros((9, 8, 8), np.uint8)
    >>> dataset = [{"image": image, "label": i} for i, image in enumerate(images)]
    >>> images = ImageSequence(dataset)
    >>> images[np.array([4, 2])]
    ImageSequence of 2 images of a list
    >>> images[4]["label"]
    4
    """

    def __init__(self, dataset, *, column="image"):
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"dataset is a {type(dataset).__name__}; allowed is what has a length "
                "and can be indexed, such as a torch Dataset of the map style."
            )
        self.dataset = dataset
        self.column = column
        self.places = np.arange(len(dataset))

    @property
    def shape(self):
        """The number of samples, in a tuple."""
        return (len(self.places),)

    def __len__(self):
        return len(self.places)

    def __getitem__(self, key):
        if isinstance(key, tuple):  # (key, ...), of scikit-learn
            key = key[0]
        if isinstance(key, Integral):
            return self.dataset[int(self.places[key])]
        chosen = copy.copy(self)
        chosen.places = self.places[key]
        return chosen

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        name = type(self.dataset).__name__
        return f"{type(self).__name__} of {len(self)} images of a {name}"


# A dataset is told from another by so many of its images.
N_COMPARED = 100


class LazyImages:
    """What training sees of images that stay where they are until a batch needs them.

    It has the ``shape``, ``dtype``, ``ndim`` and ``nbytes`` of an array of shape
    (n, C, H, W), is split by ``images[mask or indices]``, and read by :meth:`read`.
    """

    ndim = 4
    dtype: np.dtype = np.dtype(np.uint8)
    image_shape: tuple[int, ...]
    # Whether reading is safe in several threads at once, and draws no random numbers.
    in_threads = True

    def __len__(self):
        raise NotImplementedError

    @property
    def shape(self):
        """Of all images together."""
        return (len(self), *self.image_shape)

    @property
    def nbytes(self):
        """What all images together would take."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, key):
        raise NotImplementedError

    def read(self, places):
        """Read images.

        Parameters
        ----------
        places : ndarray of shape (n,), int

        Returns
        -------
        images : ndarray of shape (n, C, H, W)
        readable : ndarray of shape (n,), bool
            Images that are not are black.
        """
        raise NotImplementedError

    def describe(self):
        """Describe the images by a text that is another one for others."""
        raise NotImplementedError


class StoredImages(LazyImages):
    """Images of an array on disk.

    Parameters
    ----------
    array : memmap of shape (n, H, W), (n, C, H, W) or (n, H, W, C)
        Of numbers. All but uint8 are read as float32.
    channels_last : bool
        Whether it is of the last of these shapes.
    """

    def __init__(self, array, *, channels_last):
        self.array = array
        self.channels_last = channels_last
        self.places = np.arange(len(array))
        shape = array.shape[1:]
        if channels_last:
            self.image_shape = (shape[-1], *shape[:-1])
        else:
            self.image_shape = shape if len(shape) == 3 else (1, *shape)
        self.dtype = np.dtype(np.uint8 if array.dtype == np.uint8 else np.float32)

    def __len__(self):
        return len(self.places)

    def __getitem__(self, key):
        chosen = copy.copy(self)
        chosen.places = self.places[key]
        return chosen

    def read(self, places):
        """Read images; refuse values that are not finite."""
        block = np.asarray(self.array[self.places[places]])
        if self.channels_last:
            block = np.moveaxis(block, -1, 1)
        block = np.ascontiguousarray(block, dtype=self.dtype)
        assert_all_finite(block, input_name="X")
        return block.reshape(-1, *self.image_shape), np.ones(len(block), dtype=bool)

    def describe(self):
        """Describe the images by their contents."""
        digest = hashlib.sha256()
        size = max(1, 2**24 * len(self) // max(self.nbytes, 1))
        for rows in gen_batches(len(self), size):
            digest.update(self.read(np.arange(rows.start, rows.stop))[0])
        return f"{self.dtype} of shape {self.shape}, {digest.hexdigest()[:16]}"


class DecodedImages(LazyImages):
    """Images of files or of a dataset, as squares of 8-bit colours.

    Parameters
    ----------
    images : ImageSequence
    side : int
        Side of the squares.
    on_bad_image : {"raise", "skip"}
        Whether an image that cannot be read raises, or is black and said to be bad.
    """

    def __init__(self, images, side, on_bad_image):
        self.images = images
        self.image_shape = (3, side, side)
        self.on_bad_image = on_bad_image
        in_memory = isinstance(images.dataset, (np.ndarray, list, tuple))
        self.are_files = in_memory and is_path(images[0])
        self.in_threads = self.are_files

    def __len__(self):
        return len(self.images)

    def __getitem__(self, key):
        chosen = copy.copy(self)
        chosen.images = self.images[key]
        return chosen

    def read(self, places):
        """Read images; raise ValueError if one is bad and that is how it should be."""
        squares = np.zeros((len(places), *self.image_shape), np.uint8)
        readable = np.ones(len(places), dtype=bool)
        for i, place in enumerate(places):
            try:
                squares[i] = self._read_one(place)
            except (ImportError, MemoryError):
                raise
            except Exception as error:
                if self.on_bad_image == "raise":
                    raise ValueError(
                        f"{self._name(place)} of X cannot be read as an image: "
                        f"{reason_of(error)}. Mend it or leave it out; "
                        "on_bad_image='skip' leaves all such images out."
                    ) from error
                readable[i] = False
        return squares, readable

    def _read_one(self, place):
        item = self.images[int(place)]
        if isinstance(item, str):
            item = str(item)  # Pillow's messages show np.str_('...') otherwise
        side = self.image_shape[-1]
        return load_square(item, side, column=self.images.column)

    def _name(self, place):
        if self.are_files:
            return f"The file {self._path(place)!r}"
        return f"The item {self.images.places[place]}"

    def _path(self, place):
        return str(self.images[int(place)])

    def bad_images(self, places):
        """List images that cannot be read, and why.

        Parameters
        ----------
        places : sequence of int

        Returns
        -------
        list of tuple (str or int, str)
            The path, or the place in the dataset; and the reason.
        """
        found = []
        for place in places:
            try:
                self._read_one(place)
                reason = "read at the second attempt"
            except Exception as error:
                reason = reason_of(error)
            name = int(self.images.places[place])
            if self.are_files:
                name = self._path(place)
            found.append((name, reason))
        return found

    def check_files(self):
        """Raise FileNotFoundError if files are missing."""
        if not self.are_files:
            return
        missing = [path for path in self.images if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f"X holds paths of which {len(missing)} of {len(self)} are no files; "
                f"the first is {str(missing[0])!r}. on_bad_image='skip' leaves "
                "them out."
            )

    def describe(self):
        """Describe files by their paths and sizes, others by some of their images."""
        digest = hashlib.sha256()
        if self.are_files:
            for path in self.images:
                size = os.stat(path).st_size if os.path.isfile(path) else None
                digest.update(repr((str(path), size)).encode())
        else:
            digest.update(self.images.places.tobytes())
            digest.update(self.read(evenly_spaced(len(self), N_COMPARED))[0])
        what = "files" if self.are_files else "items"
        return f"{len(self)} {what} read as {self.image_shape}, {digest.hexdigest()}"


def evenly_spaced(n, n_wanted):
    """Choose places from the first to the last.

    Parameters
    ----------
    n : int
        How many there are.
    n_wanted : int
        How many to choose, if there are so many.

    Returns
    -------
    ndarray of int
    """
    return np.unique(np.linspace(0, n - 1, min(n, n_wanted)).astype(np.int64))


def reason_of(error):
    """Say in a line why something failed.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    str
    """
    text = getattr(error, "strerror", None) or error  # without the path
    return f"{type(error).__name__}: {text}"


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
