"""Every method: its embedder and its loss, one file each."""

from sk_dml.embedders._circle import CircleEmbedder, CircleLoss
from sk_dml.embedders._contrastive import ContrastiveEmbedder, ContrastiveLoss
from sk_dml.embedders._normalized_softmax import (
    NormalizedSoftmaxEmbedder,
    NormalizedSoftmaxLoss,
)
from sk_dml.embedders._soft_triple import SoftTripleEmbedder, SoftTripleLoss
from sk_dml.embedders._triplet import TripletEmbedder, TripletLoss

__all__ = [name for name in dir() if name.endswith(("Embedder", "Loss"))]
