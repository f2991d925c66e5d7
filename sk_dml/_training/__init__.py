"""Training: data, batches and the skorch net."""

from sk_dml._training._callbacks import (
    CallbackSupportMixin,
    callback_tasks,
    with_callbacks,
)
from sk_dml._training._checkpoint import open_checkpoint
from sk_dml._training._continue import carry_over, merge_classes
from sk_dml._training._data import (
    ArrayDataset,
    check_inputs,
    check_targets,
    training_statistics,
)
from sk_dml._training._diagnostics import Diagnostics, warn_of_failures
from sk_dml._training._flat_params import FlatNetParamsMixin
from sk_dml._training._net import RECORDED, EmbeddingNet
from sk_dml._training._params import OPTIMIZERS, check_net_params
from sk_dml._training._progress import progress
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._validation import (
    Validation,
    check_scoring,
    check_validation_data,
    split_validation,
)

__all__ = [
    "OPTIMIZERS",
    "RECORDED",
    "ArrayDataset",
    "CallbackSupportMixin",
    "Diagnostics",
    "EmbeddingNet",
    "FlatNetParamsMixin",
    "Validation",
    "callback_tasks",
    "carry_over",
    "check_batch_size",
    "check_inputs",
    "check_net_params",
    "check_scoring",
    "check_targets",
    "check_validation_data",
    "merge_classes",
    "open_checkpoint",
    "progress",
    "split_validation",
    "training_statistics",
    "warn_of_failures",
    "with_callbacks",
]
