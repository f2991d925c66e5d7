"""Nearest neighbours: the one place where the package searches."""

from sk_dml.neighbors._exact import similarity_blocks

__all__ = ["similarity_blocks"]
