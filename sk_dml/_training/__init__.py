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
from sk_dml._training._diagnostics import Diagnostics, warn_of_failures
from sk_dml._training._net import RECORDED, EmbeddingNet
from sk_dml._training._params import OPTIMIZERS, check_net_params, is_net_key
from sk_dml._training._progress import progress
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._validation import (
    Validation,
    check_scoring,
    split_validation,
)

__all__ = [
    "OPTIMIZERS",
    "RECORDED",
    "ArrayDataset",
    "CallbackSupportMixin",
    "Diagnostics",
    "EmbeddingNet",
    "Validation",
    "callback_tasks",
    "check_batch_size",
    "check_inputs",
    "check_net_params",
    "check_scoring",
    "check_targets",
    "is_net_key",
    "progress",
    "split_validation",
    "training_statistics",
    "warn_of_failures",
    "with_callbacks",
]
