"""Scorers: what ``scoring`` takes to rate an embedding by retrieval.

A scorer is called with an estimator, X and y. It embeds X with an embedder, with a
Pipeline that ends in one, or with the transforming part of a Pipeline that goes on to a
classifier, and searches every sample among the others.
"""

from sk_dml.metrics._scorer import (
    RetrievalScorer,
    map_at_r,
    precision_at_1,
    r_precision,
    recall_at_k,
    retrieval_scorer,
)

__all__ = [
    "RetrievalScorer",
    "map_at_r",
    "precision_at_1",
    "r_precision",
    "recall_at_k",
    "retrieval_scorer",
]
