"""Nearest neighbours: the one place where the package searches."""

from sk_dml.neighbors._exact import similarity_blocks
from sk_dml.neighbors._rows import compare

__all__ = ["compare", "similarity_blocks"]
