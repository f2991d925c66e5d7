"""Training: data, batches and the skorch net."""

from sk_dml._training._checkpoint import open_checkpoint
from sk_dml._training._continue import carry_over, merge_classes
from sk_dml._training._data import (
    ArrayDataset,
    check_inputs,
    check_targets,
    training_statistics,
)
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._params import OPTIMIZERS, check_net_params, is_net_key
from sk_dml._training._sampling import check_batch_size

__all__ = [
    "OPTIMIZERS",
    "ArrayDataset",
    "EmbeddingNet",
    "carry_over",
    "check_batch_size",
    "check_inputs",
    "check_net_params",
    "check_targets",
    "is_net_key",
    "merge_classes",
    "open_checkpoint",
    "training_statistics",
]
