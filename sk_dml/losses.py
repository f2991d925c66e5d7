"""Losses, as torch modules for any training loop.

Every loss is called with embeddings of shape (n, d) and integer labels of shape (n,),
and returns a scalar. Losses on pairs also accept two masks instead of labels,
``loss(embeddings, positives=..., negatives=...)``, for samples with several labels or
with none. Losses with proxies have the parameters ``n_classes`` and ``n_features``
first, and learn their ``proxies``. Pass these to the optimizer too, or they do not
change. Ten times the learning rate of the network suits them:

>>> import torch
>>> from sk_dml.losses import ProxyAnchorLoss
>>> network, loss = torch.nn.Linear(8, 4), ProxyAnchorLoss(n_classes=3, n_features=4)
>>> optimizer = torch.optim.Adam(
...     [{"params": network.parameters()}, {"params": loss.parameters(), "lr": 1e-2}],
...     lr=1e-3,
... )
>>> X, y = torch.randn(30, 8), torch.arange(30) % 3
>>> for _ in range(5):
...     optimizer.zero_grad()
...     loss(network(X), y).backward()
...     optimizer.step()
"""

from sk_dml.embedders._ada_cos import AdaCosLoss
from sk_dml.embedders._arc_face import ArcFaceLoss
from sk_dml.embedders._center import CenterLoss
from sk_dml.embedders._circle import CircleLoss
from sk_dml.embedders._contrastive import ContrastiveLoss
from sk_dml.embedders._cos_face import CosFaceLoss
from sk_dml.embedders._fast_ap import FastAPLoss
from sk_dml.embedders._lifted_structure import LiftedStructureLoss
from sk_dml.embedders._margin import MarginLoss
from sk_dml.embedders._multi_similarity import MultiSimilarityLoss
from sk_dml.embedders._n_pairs import NPairsLoss
from sk_dml.embedders._nca import NCALoss
from sk_dml.embedders._normalized_softmax import NormalizedSoftmaxLoss
from sk_dml.embedders._nt_xent import NTXentLoss
from sk_dml.embedders._pair import CrossBatchMemory
from sk_dml.embedders._proxy_anchor import ProxyAnchorLoss
from sk_dml.embedders._proxy_nca import ProxyNCALoss
from sk_dml.embedders._smooth_ap import SmoothAPLoss
from sk_dml.embedders._snr_contrastive import SNRContrastiveLoss
from sk_dml.embedders._soft_triple import SoftTripleLoss
from sk_dml.embedders._softmax import SoftmaxLoss
from sk_dml.embedders._sphere_face import SphereFaceLoss
from sk_dml.embedders._sub_center_arc_face import SubCenterArcFaceLoss
from sk_dml.embedders._sup_con import SupConLoss
from sk_dml.embedders._triplet import TripletLoss

__all__ = [
    "AdaCosLoss",
    "ArcFaceLoss",
    "CenterLoss",
    "CircleLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CrossBatchMemory",
    "FastAPLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairsLoss",
    "NTXentLoss",
    "NormalizedSoftmaxLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "SNRContrastiveLoss",
    "SmoothAPLoss",
    "SoftTripleLoss",
    "SoftmaxLoss",
    "SphereFaceLoss",
    "SubCenterArcFaceLoss",
    "SupConLoss",
    "TripletLoss",
]
