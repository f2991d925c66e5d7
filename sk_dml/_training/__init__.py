"""Training: data, batches and the skorch net."""

from sk_dml._training._data import ArrayDataset, check_inputs, training_statistics
from sk_dml._training._net import EmbeddingNet

__all__ = ["ArrayDataset", "EmbeddingNet", "check_inputs", "training_statistics"]
