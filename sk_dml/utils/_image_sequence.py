"""Images of a dataset, indexed as scikit-learn does."""

import copy
from numbers import Integral

import numpy as np


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
