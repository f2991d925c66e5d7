"""Networks that turn rows or images into embeddings."""

from sk_dml._backbones._build import build_network

__all__ = ["build_network"]
