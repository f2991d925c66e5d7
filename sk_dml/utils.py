"""Utilities: list all embedders; embed samples with any fitted estimator."""

from sk_dml._utils._embed import embed
from sk_dml.embedders import all_embedders

__all__ = ["all_embedders", "embed"]
