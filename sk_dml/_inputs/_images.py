"""Arrays of images, in memory or on disk."""

import copy

import numpy as np
from sklearn.utils import assert_all_finite, check_array

from sk_dml._inputs._decode import is_other_scale
from sk_dml._inputs._source import Source, count_axes, evenly_spaced
from sk_dml._utils._warn import warn

# An axis of four that is longer holds no channels where it is the last.
MOST_CHANNELS = 4
N_LOOKED_AT = 16  # images, to find out whether they are gray
# Images that are embedded at once, and pixels of these: no more than training takes by
# default, so that transform needs no more memory.
INFERENCE_IMAGES, INFERENCE_PIXELS = 128, 2**19


class Images(Source):
    """Images of shape (channels, height, width), of values of uint8 or float32."""

    noun = "images"
    is_image = True
    default_module = "conv"
    size_names = ("n_channels",)
    pooled_axes = (2, 3)

    @property
    def default_augment(self):
        """Affine maps for gray images, crops for others."""
        return "affine" if self.is_gray() else "crop"

    @property
    def white(self):
        """255 for uint8, 1 for floats."""
        return 255 if self.dtype == np.uint8 else 1

    @property
    def inference_size(self):
        """Fewer of large images."""
        n_pixels = self.sample_shape[1] * self.sample_shape[2]
        return max(1, min(INFERENCE_IMAGES, INFERENCE_PIXELS // n_pixels))

    def is_gray(self):
        """Return whether there is one channel, or three that are equal in a sample."""
        if self.sample_shape[0] not in (1, 3):
            return False
        images, _ = self.take(evenly_spaced(len(self), N_LOOKED_AT))
        return bool((images == images[:, :1]).all())

    def value_range(self):
        """Return the smallest and the largest value (of a sample)."""
        values = self.sample()
        return values.min().item(), values.max().item()

    def traits(self):
        """Return the shape and the range of the values."""
        is_uint8 = self.dtype == np.uint8
        return {**super().traits(), "range": self.value_range(), "is_uint8": is_uint8}

    def check_matches(self, fitted, name):
        """Refuse another shape or scale; warn where values may be as dark as that."""
        super().check_matches(fitted, name)
        here, there = self.value_range(), fitted["range"]
        is_uint8, was_uint8 = self.dtype == np.uint8, fitted["is_uint8"]
        if not is_other_scale(here, there) or (is_uint8 and here[1] < there[1]):
            return  # images of uint8 may be dark
        shown = "{} from {:g} to {:g}".format
        dtypes = {True: "uint8", False: "floats"}
        message = (
            f"X holds {shown(dtypes[is_uint8], *here)}, but {name} was fitted with "
            f"images of {shown(dtypes[was_uint8], *there)}. "
        )
        if here[1] > there[1]:
            message += "Scale X as in fit, say by X / 255."
        elif was_uint8:
            message += "If 1 is white, give np.uint8(255 * X); if 255 is, np.uint8(X)."
        else:
            message += "Scale X as in fit, say by 255 * X."
        if is_uint8 != was_uint8:
            raise ValueError(message)
        warn(message)


class ArrayImages(Images):
    """Images in memory, of shape (n, H, W), (n, C, H, W) or (n, H, W, C)."""

    def __init__(self, X, embedder, fitted=None):
        X = check_array(
            _stacked(X),
            estimator=embedder,
            input_name="X",
            dtype=[np.float32, np.uint8],
            allow_nd=True,
            order="C",
        )
        if min(X.shape) == 0:
            raise ValueError(
                f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 "
                f"is required by {type(embedder).__name__}."
            )
        if channels_last(X.shape):
            X = np.moveaxis(X, -1, 1)
        # From flat, so that the strides of an axis of length one are the usual ones:
        # torch reads the memory layout from them and would round differently.
        self.array = X.ravel().reshape(len(X), *channels_first(X.shape[1:]))

    @classmethod
    def accepts(cls, X):
        """Return whether X has the axes of images."""
        return count_axes(X) in (3, 4)


class StoredImages(Images):
    """Images of a memmap, read batch by batch; all but uint8 as float32."""

    in_threads = True

    def __init__(self, X, embedder, fitted=None):
        self.stored, self.indices = X, np.arange(len(X))
        self.is_last = channels_last(X.shape)
        self._dtype = np.dtype(np.uint8 if X.dtype == np.uint8 else np.float32)
        shape = channels_first(X.shape[1:])
        self._shape = (shape[-1], *shape[:-1]) if self.is_last else shape

    @classmethod
    def accepts(cls, X):
        """Return whether X is a memmap of images."""
        is_memmap = isinstance(X, np.memmap) and X.dtype.kind in "biuf"
        return is_memmap and X.ndim in (3, 4) and X.size > 0

    @property
    def sample_shape(self):
        """Shape of an image, with its channels first."""
        return self._shape

    @property
    def dtype(self):
        """Either uint8 or float32."""
        return self._dtype

    def __len__(self):
        return len(self.indices)

    def subset(self, key):
        """Return some of the images, unread."""
        chosen = copy.copy(self)
        chosen.indices = self.indices[key]
        return chosen

    def take(self, indices):
        """Read images; refuse values that are not finite."""
        images = np.asarray(self.stored[self.indices[indices]])
        if self.is_last:
            images = np.moveaxis(images, -1, 1)
        images = np.ascontiguousarray(images, dtype=self.dtype)
        assert_all_finite(images, input_name="X")
        readable = np.ones(len(images), dtype=bool)
        return images.reshape(-1, *self.sample_shape), readable


def channels_last(shape):
    """Return whether the last axis of images of this shape holds the channels.

    Of four axes the second does, unless the last is at most 4 long and the second is
    longer. Raises ValueError if the last axis probably holds more channels than that:
    it is shorter than the second, and the images would be nearer to squares.
    """
    if len(shape) != 4:
        return False
    n_first, height, n_last = shape[1:]
    if n_last <= MOST_CHANNELS < n_first:
        return True
    if n_last < n_first and max(n_first / height, height / n_first) < max(
        height / n_last, n_last / height
    ):
        raise ValueError(
            f"X has shape {tuple(shape)}. Its second axis is taken for the channels, "
            f"as the last is longer than {MOST_CHANNELS}: {n_first} channels of "
            f"{height} x {n_last}. If the last axis holds them, give np.moveaxis(X, "
            "-1, 1). If the second does, pad the images to squares."
        )
    return False


def channels_first(shape):
    """Return the shape of an image with an axis of channels."""
    return shape if len(shape) == 3 else (1, *shape)


def _stacked(X):
    """Return one array of tensors, or of a list of arrays, which keeps their dtype."""
    if getattr(X, "ndim", 1) != 1:
        return np.asarray(X) if hasattr(X, "__array__") else X
    if not hasattr(next(iter(X)), "__array__"):
        return X
    shapes = {tuple(np.shape(image)) for image in X}
    if len(shapes) > 1:
        raise ValueError(
            f"X holds images of {len(shapes)} shapes, such as {sorted(shapes)[:2]}. "
            "Give images of one shape, or ImageSequence(X), which is scaled."
        )
    if not isinstance(X, (list, tuple)):
        raise ValueError(
            f"X is a {type(X).__name__} of arrays. Give one array, np.stack(X)."
        )
    return np.stack([np.asarray(image) for image in X])
