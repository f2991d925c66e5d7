"""Deep metric learning for scikit-learn.

An embedder learns, from labelled rows or images, a space in which samples of one class
are neighbours. It is a scikit-learn transformer around a network trained with torch.
"""

from sk_dml import (
    datasets,
    inspection,
    losses,
    metrics,
    model_selection,
    neighbors,
    scorers,
    utils,
)
from sk_dml.embedders import *
from sk_dml.model_selection import (
    ClassDisjointKFold,
    ClassDisjointShuffleSplit,
    RepeatedClassDisjointKFold,
    class_disjoint_split,
)
from sk_dml.neighbors import RetrievalIndex
from sk_dml.scorers import map_at_r, precision_at_1

__version__ = "0.1.0"

__all__ = [
    "ClassDisjointKFold",
    "ClassDisjointShuffleSplit",
    "RepeatedClassDisjointKFold",
    "RetrievalIndex",
    "__version__",
    "class_disjoint_split",
    "datasets",
    "inspection",
    "losses",
    "map_at_r",
    "metrics",
    "model_selection",
    "neighbors",
    "precision_at_1",
    "scorers",
    "utils",
    *(name for name in dir() if name.endswith("Embedder")),
]
