"""Metrics of embeddings: retrieval, clustering and verification.

Every metric is a function of embeddings and labels, as
:func:`sklearn.metrics.silhouette_score` is. Each sample is searched among the others,
or among a separate gallery.
"""

from sk_dml.metrics._clustering import (
    ami_score,
    clustering_scores,
    nmi_score,
    pairwise_f1_score,
)
from sk_dml.metrics._intervals import class_bootstrap
from sk_dml.metrics._retrieval import (
    map_at_r_score,
    mean_average_precision_score,
    mean_reciprocal_rank_score,
    precision_at_1_score,
    precision_at_k_score,
    r_precision_score,
    recall_at_k_score,
    retrieval_scores,
    retrieval_values,
)
from sk_dml.metrics._verification import (
    sample_pairs,
    verification_scores,
    verification_threshold,
)

__all__ = [
    "ami_score",
    "class_bootstrap",
    "clustering_scores",
    "map_at_r_score",
    "mean_average_precision_score",
    "mean_reciprocal_rank_score",
    "nmi_score",
    "pairwise_f1_score",
    "precision_at_1_score",
    "precision_at_k_score",
    "r_precision_score",
    "recall_at_k_score",
    "retrieval_scores",
    "retrieval_values",
    "sample_pairs",
    "verification_scores",
    "verification_threshold",
]
