"""Deep metric learning for scikit-learn.

An embedder learns, from labeled rows or images, a space in which samples of one class
are neighbors. It is a scikit-learn transformer around a network trained with torch.
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
from sk_dml._utils._show_versions import show_versions
from sk_dml.embedders import (
    AdaCosEmbedder,
    ArcFaceEmbedder,
    CenterEmbedder,
    CircleEmbedder,
    ContrastiveEmbedder,
    CosFaceEmbedder,
    FastAPEmbedder,
    LiftedStructureEmbedder,
    MarginEmbedder,
    MultiSimilarityEmbedder,
    NCAEmbedder,
    NormalizedSoftmaxEmbedder,
    NPairsEmbedder,
    NTXentEmbedder,
    ProxyAnchorEmbedder,
    ProxyNCAEmbedder,
    SmoothAPEmbedder,
    SNRContrastiveEmbedder,
    SoftmaxEmbedder,
    SoftTripleEmbedder,
    SphereFaceEmbedder,
    SubCenterArcFaceEmbedder,
    SupConEmbedder,
    TripletEmbedder,
)
from sk_dml.model_selection import (
    ClassDisjointKFold,
    ClassDisjointShuffleSplit,
    RepeatedClassDisjointKFold,
    class_disjoint_split,
)
from sk_dml.neighbors import RetrievalIndex
from sk_dml.scorers import map_at_r, precision_at_1

__version__ = "0.1.0rc1"

__all__ = [
    "AdaCosEmbedder",
    "ArcFaceEmbedder",
    "CenterEmbedder",
    "CircleEmbedder",
    "ClassDisjointKFold",
    "ClassDisjointShuffleSplit",
    "ContrastiveEmbedder",
    "CosFaceEmbedder",
    "FastAPEmbedder",
    "LiftedStructureEmbedder",
    "MarginEmbedder",
    "MultiSimilarityEmbedder",
    "NCAEmbedder",
    "NPairsEmbedder",
    "NTXentEmbedder",
    "NormalizedSoftmaxEmbedder",
    "ProxyAnchorEmbedder",
    "ProxyNCAEmbedder",
    "RepeatedClassDisjointKFold",
    "RetrievalIndex",
    "SNRContrastiveEmbedder",
    "SmoothAPEmbedder",
    "SoftTripleEmbedder",
    "SoftmaxEmbedder",
    "SphereFaceEmbedder",
    "SubCenterArcFaceEmbedder",
    "SupConEmbedder",
    "TripletEmbedder",
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
    "show_versions",
    "utils",
]
