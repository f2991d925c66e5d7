"""Embedders that train in a moment."""

from sk_dml import CircleEmbedder


def quick(cls=CircleEmbedder, **params):
    """Return an embedder that trains a linear network for 3 epochs."""
    small = {"n_components": 4, "module": "linear", "max_epochs": 3, "random_state": 0}
    return cls(**{**small, **params})
