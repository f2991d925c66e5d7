"""Images that are read batch by batch: those of files, datasets, and arrays on disk."""

import copy
import hashlib
import os

import numpy as np
from sklearn.utils import assert_all_finite, gen_batches

from sk_dml.utils._images import is_path, load_square

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
