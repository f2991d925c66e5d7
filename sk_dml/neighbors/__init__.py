"""Nearest neighbors: exact and approximate search."""

from sk_dml.neighbors._approximate import neighbor_recall
from sk_dml.neighbors._index import RetrievalIndex
from sk_dml.neighbors._search import nearest_neighbors

__all__ = [
    "RetrievalIndex",
    "nearest_neighbors",
    "neighbor_recall",
]
