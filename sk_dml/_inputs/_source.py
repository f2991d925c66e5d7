"""Base class of the kinds of X."""

import copy
import hashlib
import os
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils import gen_batches

# Statistics of samples that are read later come from so many of them, and bytes.
N_SAMPLED, SAMPLED_BYTES = 1000, 2**26
# Values that statistics take at once, at most, and bytes that fingerprints do.
STATISTICS_BLOCK, HASHED_BLOCK = 2**21, 2**24
# Samples from which the head of a pretrained network begins, and of these at once.
N_FOR_HEAD, HEAD_BLOCK = 2048, 32
# Samples that are embedded at once outside training, and values of these, at most.
INFERENCE_SAMPLES, INFERENCE_VALUES = 512, 2**21


class Source:
    """Samples of one kind: all that the rest of the package knows of X.

    A kind of input is a subclass in ``sk_dml._inputs.KINDS``. It says by
    :meth:`accepts` what it reads, and its constructor checks X and sets ``array``.
    Samples that are read batch by batch leave ``array`` None, and the class has
    ``sample_shape``, ``dtype``, ``__len__``, :meth:`take` and :meth:`subset` of its
    own. The rest has defaults.

    Parameters
    ----------
    X : object
        Data that the class accepts.
    embedder : BaseEmbedder
        Its parameters say how to read X. The source does not keep it.
    fitted : dict or None, default=None
        The :meth:`traits` of the X of fit; None in fit itself.

    Attributes
    ----------
    array : ndarray of shape (n_samples, ...) or None
        All samples, if they are in memory.
    sample_shape : tuple of int
        Shape of a sample, as the network sees it.
    dtype : numpy.dtype
        Of the samples.
    image_size : int or None
        Height and width that the network sees of images that are scaled.
    on_bad_image : {"raise", "skip"}
        Whether samples that cannot be read raise in :meth:`take`.
    """

    # What a sample is called in errors.
    noun = "samples"
    # Whether samples are images of shape (channels, height, width).
    is_image = False
    # Whether np.asarray(X) holds the values of the samples.
    holds_values = True
    # Whether several threads may call take at once, ahead of the training.
    in_threads = False
    # The network of module=None: a name, or the class of a torch Module.
    default_module: Any = "mlp"
    # What constructors of networks may call the axes of a sample, besides input_shape.
    size_names: tuple[str, ...] = ()
    # The value that augment="auto" selects.
    default_augment: Any = None
    # The value of white, for images.
    white: Any = None
    # Axes of a batch over which statistics are taken, besides that of the samples.
    pooled_axes: tuple[int, ...] = ()
    # Soft bound of standardized values, in standard deviations.
    limit: float | None = None

    array: Any = None
    image_size: int | None = None
    on_bad_image = "raise"

    def __init__(self, X, embedder, fitted=None):
        raise NotImplementedError

    @classmethod
    def accepts(cls, X):
        """Return whether X is of this kind, without reading all of it."""
        raise NotImplementedError

    @classmethod
    def from_array(cls, array):
        """Return a source of samples that are checked already."""
        source = object.__new__(cls)
        source.array = array
        return source

    @property
    def sample_shape(self):
        """Shape of a sample."""
        return self.array.shape[1:]

    @property
    def dtype(self):
        """The dtype of the samples."""
        return self.array.dtype

    def __len__(self):
        return len(self.array)

    def take(self, indices):
        """Read a batch.

        Parameters
        ----------
        indices : ndarray of shape (n,), int

        Returns
        -------
        samples : ndarray of shape (n, *sample_shape)
        readable : ndarray of shape (n,), bool
            Samples that cannot be read are 0.
        """
        return self.array[indices], np.ones(len(indices), dtype=bool)

    def subset(self, key):
        """Return a source of the samples of some indices, or of a mask."""
        chosen = copy.copy(self)
        chosen.array = self.array[key]
        return chosen

    def statistics(self):
        """Return the mean and the scale that standardize the samples.

        Returns
        -------
        mean, scale : tensors of shape sample_shape, float32
            Of length one along ``pooled_axes``. The scale of constants is 1.
        """
        samples = self.sample()
        # In blocks: a float64 copy of all samples may not fit.
        available = get_config()["working_memory"] * 2**20
        size = int(min(available / 24, STATISTICS_BLOCK) / prod(self.sample_shape))
        blocks = [samples[rows] for rows in gen_batches(len(samples), max(1, size))]
        axes = (0, *self.pooled_axes)
        n_values = prod(samples.shape[axis] for axis in axes)
        sums = [b.sum(axes, dtype=np.float64, keepdims=True) for b in blocks]
        mean = sum(sums) / n_values
        squares = sum(np.square(b - mean).sum(axes, keepdims=True) for b in blocks)
        scale = np.sqrt(squares / n_values)
        scale[scale == 0] = 1
        return torch.from_numpy(mean[0]).float(), torch.from_numpy(scale[0]).float()

    def fingerprint(self):
        """Return a text that differs for other samples, the same in every process."""
        digest = hashlib.sha256()
        for rows in gen_batches(len(self), max(1, HASHED_BLOCK // self._sample_bytes)):
            samples, _ = self.take(np.arange(rows.start, rows.stop))
            digest.update(np.ascontiguousarray(samples).data)
        return f"{self.dtype} of shape {self.shape}, {digest.hexdigest()[:16]}"

    def traits(self):
        """Return what :meth:`check_matches` needs of the X of fit, as plain values."""
        return {
            "noun": self.noun,
            "sample_shape": self.sample_shape,
            "image_size": self.image_size,
        }

    def check_matches(self, fitted, name):
        """Raise ValueError unless the samples are such as in fit.

        Parameters
        ----------
        fitted : dict
            The :meth:`traits` of the X of fit.
        name : str
            The name of the embedder, for the error.
        """
        known = fitted["noun"], fitted["sample_shape"]
        if (self.noun, self.sample_shape) != known:
            message = (
                f"X holds {self.noun} of shape {self.sample_shape}, but {name} was "
                "fitted with {} of shape {}.".format(*known)
            )
            if fitted["image_size"] is not None:
                message += (
                    " Those were files or a dataset, scaled for image_size="
                    f"{fitted['image_size']}. Images in memory are scaled, too, as "
                    "ImageSequence([image, ...])."
                )
            raise ValueError(message)

    @property
    def inference_size(self):
        """Samples to embed at once."""
        n_values = max(1, prod(self.sample_shape))
        return max(1, min(INFERENCE_SAMPLES, INFERENCE_VALUES // n_values))

    def describe_unreadable(self, indices):
        """Return pairs of the name or index of samples, and why they are unreadable."""
        return [(int(index), "cannot be read") for index in indices]

    def sample(self):
        """Return the samples, or, if they are read later, some of them."""
        if self.array is not None:
            return self.array
        n_wanted = max(2, min(N_SAMPLED, SAMPLED_BYTES // self._sample_bytes))
        return self.take(evenly_spaced(len(self), n_wanted))[0]

    @property
    def as_given(self):
        """The samples as scorers see them: an array, or what transform takes for X."""
        return self if self.array is None else self.array

    @property
    def shape(self):
        """Shape of all samples together."""
        return (len(self), *self.sample_shape)

    def __getitem__(self, key):
        return self.subset(key)

    @property
    def _sample_bytes(self):
        return max(1, prod(self.sample_shape) * self.dtype.itemsize)


def training_sample(source, y):
    """Yield blocks (samples, labels) of evenly spaced training data, as tensors."""
    indices = evenly_spaced(len(source), N_FOR_HEAD)
    for block in gen_batches(len(indices), HEAD_BLOCK):
        some = indices[block]
        yield torch.from_numpy(source.take(some)[0]), torch.from_numpy(y[some])


def is_path(item):
    """Return whether an item is a path."""
    return isinstance(item, (str, os.PathLike))


def evenly_spaced(n, n_wanted):
    """Return up to n_wanted indices from 0 to n - 1."""
    return np.unique(np.linspace(0, n - 1, min(n, n_wanted)).astype(np.int64))


def count_axes(X):
    """Return the number of axes of an array, or of nested sequences of arrays."""
    n_axes = 0
    while True:
        n_dims = getattr(X, "ndim", 1)
        if n_dims != 1 or issparse(X):
            return n_axes + n_dims
        if isinstance(X, (str, bytes, Mapping)) or not hasattr(X, "__getitem__"):
            return n_axes
        n_axes += 1
        if not hasattr(X, "__len__") or not len(X):
            return n_axes
        X = next(iter(X))
