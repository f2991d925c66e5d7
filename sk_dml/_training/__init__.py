"""Training: data, batches and the skorch net."""

from sk_dml._training._callbacks import (
    CallbackSupportMixin,
    callback_tasks,
    with_callbacks,
)
from sk_dml._training._data import (
    ArrayDataset,
    check_inputs,
    check_targets,
    training_statistics,
)
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._params import OPTIMIZERS, check_net_params, is_net_key
from sk_dml._training._progress import progress
from sk_dml._training._sampling import check_batch_size

__all__ = [
    "OPTIMIZERS",
    "ArrayDataset",
    "CallbackSupportMixin",
    "EmbeddingNet",
    "callback_tasks",
    "check_batch_size",
    "check_inputs",
    "check_net_params",
    "check_targets",
    "is_net_key",
    "progress",
    "training_statistics",
    "with_callbacks",
]
