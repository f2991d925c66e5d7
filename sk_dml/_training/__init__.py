"""Training: data, batches and the skorch net."""

from sk_dml._training._data import (
    ArrayDataset,
    check_inputs,
    check_targets,
    training_statistics,
)
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._optimizer import OPTIMIZERS
from sk_dml._training._params import check_net_params, is_net_key
from sk_dml._training._precision import PRECISIONS
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._schedule import SCHEDULES
from sk_dml._training._step import check_step

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "ArrayDataset",
    "EmbeddingNet",
    "check_batch_size",
    "check_inputs",
    "check_net_params",
    "check_step",
    "check_targets",
    "is_net_key",
    "training_statistics",
]
