"""Embedders and their losses: one file for each method."""

from sk_dml.embedders._ada_cos import AdaCosEmbedder
from sk_dml.embedders._arc_face import ArcFaceEmbedder
from sk_dml.embedders._center import CenterEmbedder
from sk_dml.embedders._circle import CircleEmbedder
from sk_dml.embedders._contrastive import ContrastiveEmbedder
from sk_dml.embedders._cos_face import CosFaceEmbedder
from sk_dml.embedders._fast_ap import FastAPEmbedder
from sk_dml.embedders._lifted_structure import LiftedStructureEmbedder
from sk_dml.embedders._margin import MarginEmbedder
from sk_dml.embedders._multi_similarity import MultiSimilarityEmbedder
from sk_dml.embedders._n_pairs import NPairsEmbedder
from sk_dml.embedders._nca import NCAEmbedder
from sk_dml.embedders._normalized_softmax import NormalizedSoftmaxEmbedder
from sk_dml.embedders._nt_xent import NTXentEmbedder
from sk_dml.embedders._proxy_anchor import ProxyAnchorEmbedder
from sk_dml.embedders._proxy_nca import ProxyNCAEmbedder
from sk_dml.embedders._smooth_ap import SmoothAPEmbedder
from sk_dml.embedders._snr_contrastive import SNRContrastiveEmbedder
from sk_dml.embedders._soft_triple import SoftTripleEmbedder
from sk_dml.embedders._softmax import SoftmaxEmbedder
from sk_dml.embedders._sphere_face import SphereFaceEmbedder
from sk_dml.embedders._sub_center_arc_face import SubCenterArcFaceEmbedder
from sk_dml.embedders._sup_con import SupConEmbedder
from sk_dml.embedders._triplet import TripletEmbedder

__all__ = [
    "AdaCosEmbedder",
    "ArcFaceEmbedder",
    "CenterEmbedder",
    "CircleEmbedder",
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
    "SNRContrastiveEmbedder",
    "SmoothAPEmbedder",
    "SoftTripleEmbedder",
    "SoftmaxEmbedder",
    "SphereFaceEmbedder",
    "SubCenterArcFaceEmbedder",
    "SupConEmbedder",
    "TripletEmbedder",
    "all_embedders",
]


def all_embedders():
    """Return every embedder of the package.

    Returns
    -------
    list of (str, type)
        Names and classes, sorted by name.

    Examples
    --------
    >>> from sk_dml.utils import all_embedders
    >>> "CircleEmbedder" in dict(all_embedders())
    True
    """
    names = sorted(name for name in __all__ if name.endswith("Embedder"))
    return [(name, globals()[name]) for name in names]
