"""Networks that turn rows or images into embeddings."""

from sk_dml._backbones._build import build_network, starts_from_features
from sk_dml._backbones._named import fine_tuning, is_pretrained

__all__ = ["build_network", "fine_tuning", "is_pretrained", "starts_from_features"]
