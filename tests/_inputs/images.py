"""Embedders and datasets of small images, for the tests of several files."""

import torch
from PIL import Image

from sk_dml import CircleEmbedder
from sk_dml._networks._default import CenterCrop, ConvNet

SIDE = 18  # of what is decoded for a network that sees 16


WIDTHS = (8, 16)


def quick(cls=CircleEmbedder, **params):
    """Return an embedder that trains a small network on images for 2 epochs."""
    small = {"image_size": 16, "augment": None, "max_epochs": 2, "batch_size": 16}
    if params.get("module") is None:
        given = params.get("net_params") or {}
        params["net_params"] = {"module__widths": WIDTHS, **given}
    return cls(**{**small, "random_state": 0, **params})


class Cropped(torch.nn.Sequential):
    """What an embedder of files makes of squares that are decoded already."""

    def __init__(self, n_components):
        super().__init__(CenterCrop(16), ConvNet((3, 16, 16), n_components, WIDTHS))


def of_arrays(cls=CircleEmbedder, **params):
    return quick(cls, **{"image_size": None, "module": Cropped, **params})


class Photographs(torch.utils.data.Dataset):
    def __init__(self, paths, y, make=lambda image: image):
        self.paths, self.y, self.make = paths, y, make

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        with Image.open(self.paths[index]) as file:
            return self.make(file.convert("RGB")), self.y[index]


class HubDataset:
    """Behaves like a Dataset of Hugging Face."""

    column_names = ["image", "label"]
    features = {"image": "Image", "label": "int64"}

    def __init__(self, paths, y):
        self.paths, self.y = paths, y

    @property
    def shape(self):
        return len(self.paths), 2

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, key):
        if type(key) is not int:
            raise TypeError(f"Wrong key type: {key!r}")
        with Image.open(self.paths[key]) as file:
            return {"image": file.convert("RGB"), "label": int(self.y[key])}


class Column:
    """Behaves like a column of a Dataset of Hugging Face, which reads when asked."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, key):
        if type(key) is not int:
            raise TypeError(f"Wrong key type: {key!r}")
        return self.items[key]
