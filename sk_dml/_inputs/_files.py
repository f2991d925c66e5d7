"""Files and datasets of images, which are decoded when a batch needs them."""

import copy
import hashlib
import os
from collections.abc import Iterator, Mapping
from numbers import Integral

import numpy as np
from torch.utils.data import Dataset, IterableDataset

from sk_dml._inputs._decode import import_pillow, load_square
from sk_dml._inputs._images import Images
from sk_dml._inputs._source import evenly_spaced, is_path

# Images are decoded larger than the network sees them, so that crops can be taken.
DECODED_TO_SEEN = 256 / 227
SEEN_BY_BUILT_IN, SEEN_BY_NAMED = 128, 227  # pixels on a side
# Images by which datasets differ, and the side of squares that are compared.
N_COMPARED, COMPARED_SIDE = 100, 32


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
        self.indices = np.arange(len(dataset))

    @property
    def shape(self):
        """The number of samples, in a tuple."""
        return (len(self.indices),)

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, key):
        if isinstance(key, tuple):  # (key, ...), of scikit-learn
            key = key[0]
        if isinstance(key, Integral):
            return self.dataset[int(self.indices[key])]
        chosen = copy.copy(self)
        chosen.indices = self.indices[key]
        return chosen

    def fingerprint(self):
        """Return a text that differs for other images, the same in every process.

        Returns
        -------
        str
            Made of the paths and sizes of files, or of some images of a dataset.
        """
        return DecodedImages.of_side(self, COMPARED_SIDE, "skip").fingerprint()

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        name = type(self.dataset).__name__
        return f"{type(self).__name__} of {len(self)} images of a {name}"


class DecodedImages(Images):
    """Images of files or of a dataset, as squares of 8-bit colors."""

    dtype = np.dtype(np.uint8)
    holds_values = False

    def __init__(self, X, embedder, fitted=None):
        images = _as_sequence(X)
        if not len(images):
            raise ValueError("X holds no images; allowed is one or more.")
        if fitted is None:
            module, size = embedder.module, embedder.image_size
            is_named = isinstance(module, str) and "/" in module
            default = SEEN_BY_NAMED if is_named else SEEN_BY_BUILT_IN
            size = default if size is None else int(size)
        else:
            size = fitted["image_size"]
            if size is None:
                raise ValueError(
                    f"X holds files or a dataset of images, but "
                    f"{type(embedder).__name__} was fitted with arrays: "
                    f"{fitted['noun']} of shape {fitted['sample_shape']}."
                )
        import_pillow()
        self._read_from(images, round(size * DECODED_TO_SEEN), embedder.on_bad_image)
        self.image_size = size
        if self.on_bad_image == "raise":
            self._check_files()

    @classmethod
    def of_side(cls, images, side, on_bad_image="raise"):
        """Return the squares of an ImageSequence."""
        source = object.__new__(cls)
        source._read_from(images, side, on_bad_image)
        return source

    def _read_from(self, images, side, on_bad_image):
        self.images, self.side, self.on_bad_image = images, side, on_bad_image
        in_memory = isinstance(images.dataset, (np.ndarray, list, tuple))
        self.are_files = in_memory and is_path(images[0])
        # Datasets may draw random numbers, or not be safe in several threads.
        self.in_threads = self.are_files

    @classmethod
    def accepts(cls, X):
        """Return whether X holds files or images, or is refused for what it holds."""
        kinds = (ImageSequence, Dataset, Mapping, Iterator)
        if isinstance(X, kinds) or is_path(X) or _is_of_hub(X):
            return True
        if hasattr(X, "dtype") or hasattr(X, "dtypes"):  # an array, or a data frame
            is_sequence = len(getattr(X, "shape", ())) == 1
        else:
            is_sequence = hasattr(X, "__len__") and hasattr(X, "__getitem__")
        if not is_sequence or not len(X):
            return False
        first = next(iter(X))
        return is_path(first) or isinstance(first, bytes) or _holds_image(first)

    @property
    def sample_shape(self):
        """Three channels, and a square."""
        return (3, self.side, self.side)

    def __len__(self):
        return len(self.images)

    def subset(self, key):
        """Return some of the images, unread."""
        chosen = copy.copy(self)
        chosen.images = self.images[key]
        return chosen

    def take(self, indices):
        """Decode images; raise ValueError if one is bad and on_bad_image says so."""
        squares = np.zeros((len(indices), *self.sample_shape), np.uint8)
        readable = np.ones(len(indices), dtype=bool)
        for i, index in enumerate(indices):
            try:
                squares[i] = self._decode(index)
            except (ImportError, MemoryError):
                raise
            except Exception as error:
                if self.on_bad_image == "raise":
                    what = "file" if self.are_files else "item"
                    raise ValueError(
                        f"The {what} {self._name(index)!r} of X cannot be read as an "
                        f"image: {_reason(error)}. Mend it or leave it out; "
                        "on_bad_image='skip' leaves all such images out."
                    ) from error
                readable[i] = False
        return squares, readable

    def value_range(self):
        """Return that of all 8-bit colors."""
        return 0, 255

    def describe_unreadable(self, indices):
        """Return pairs (path or index in the dataset, reason)."""
        described = []
        for index in indices:
            reason = "read at the second attempt"
            try:
                self._decode(index)
            except Exception as error:
                reason = _reason(error)
            described.append((self._name(index), reason))
        return described

    def fingerprint(self):
        """Describe files by their paths and sizes, others by some of their images."""
        digest = hashlib.sha256()
        if self.are_files:
            for path in self.images:
                size = os.stat(path).st_size if os.path.isfile(path) else None
                digest.update(repr((str(path), size)).encode())
        else:
            digest.update(self.images.indices.tobytes())
            digest.update(self.take(evenly_spaced(len(self), N_COMPARED))[0])
        what = "files" if self.are_files else "items"
        text = f"{len(self)} {what} read as {self.sample_shape}"
        return f"{text}, {digest.hexdigest()[:16]}"

    def _decode(self, index):
        item = self.images[int(index)]
        if isinstance(item, str):
            item = str(item)  # Pillow's messages show np.str_('...') otherwise
        return load_square(item, self.side, column=self.images.column)

    def _name(self, index):
        if self.are_files:
            return str(self.images[int(index)])
        return int(self.images.indices[index])

    def _check_files(self):
        paths = self.images if self.are_files else ()
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f"X holds paths of which {len(missing)} of {len(self)} are no files; "
                f"the first is {str(missing[0])!r}. With on_bad_image='skip', fit "
                "leaves them out, and transform returns rows of NaN."
            )


def check_image_size(embedder):
    """Check ``image_size`` against what a training sees, ``image_size_``."""
    given, seen = embedder.image_size, embedder.image_size_
    if given == seen:
        return
    if seen is None:
        raise ValueError(
            f"image_size={given} is for files and datasets of images; arrays keep "
            "their own size. Allowed for them is None; ImageSequence(X) is scaled."
        )
    raise ValueError(
        f"image_size={given}, but training goes on with a network for images of "
        f"{seen} x {seen}. Allowed are {seen} and None."
    )


def _as_sequence(X):
    """Return X as an ImageSequence; refuse what only looks like one."""
    if isinstance(X, ImageSequence):
        return X
    name = type(X).__name__
    if isinstance(X, IterableDataset):
        raise TypeError(
            f"X is a {name}, an iterable Dataset; allowed are those of the map style, "
            "which have a length and can be indexed."
        )
    if is_path(X):
        raise TypeError(
            f"X is one path, {str(X)!r}; give several, in a list or an array. "
            "load_image_folder(root).paths lists those of a folder."
        )
    if isinstance(X, Mapping):
        raise TypeError(
            f"X is a {name} with the keys {[*X][:10]}; give the entry that holds the "
            "samples, or their paths."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {name}, which can be read only once; give a list or an array."
        )
    if isinstance(X, Dataset) or _is_of_hub(X):
        return ImageSequence(X)
    first = next(iter(X))
    if isinstance(first, bytes):
        raise TypeError(
            "X holds bytes. Give the paths of files or, where the bytes are files of "
            "images, ImageSequence(X)."
        )
    if is_path(first):
        return ImageSequence(_check_paths(X))
    return ImageSequence(np.asarray(X) if hasattr(X, "shape") else X)


def _is_of_hub(X):
    """Return whether X is a Dataset of Hugging Face."""
    return hasattr(X, "features") and hasattr(X, "column_names")


def _check_paths(X):
    """Return an array of paths; an array of strings stays what it is."""
    paths = X if isinstance(X, np.ndarray) else np.array([*X], dtype=object)
    others = [i for i, path in enumerate(paths) if not is_path(path)]
    if others:
        raise ValueError(
            f"X holds paths and {len(others)} entries that are none; the first, at "
            f"index {others[0]}, is {paths[others[0]]!r:.60}."
        )
    return paths


def _holds_image(item):
    """Return whether an item is a Pillow image, or a tuple or dict with an image."""
    if isinstance(item, tuple) and item:
        item = item[0]
        if is_path(item) or getattr(item, "ndim", 0) >= 2:
            return True
    modules = [cls.__module__ for cls in type(item).__mro__]
    return isinstance(item, Mapping) or "PIL.Image" in modules


def _reason(error):
    """Return in a line why an image cannot be read, without its path."""
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
