"""Training: data, batches and the skorch net."""

from sk_dml._training._callbacks import (
    CallbackSupportMixin,
    callback_tasks,
    with_callbacks,
)
from sk_dml._training._checkpoint import open_checkpoint
from sk_dml._training._continue import carry_over, merge_classes
from sk_dml._training._data import (
    check_inputs,
    check_targets,
    looks_grey,
    training_sample,
    training_statistics,
)
from sk_dml._training._diagnostics import Diagnostics, warn_of_failures
from sk_dml._training._images import check_image_size, drop_bad_images
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._optimizer import OPTIMIZERS
from sk_dml._training._params import check_net_params, is_net_key
from sk_dml._training._precision import PRECISIONS
from sk_dml._training._progress import progress
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._schedule import SCHEDULES, SPREAD_SCHEDULES
from sk_dml._training._skorch_callbacks import check_callbacks
from sk_dml._training._state import RECORDED, complete_epochs
from sk_dml._training._step import check_step
from sk_dml._training._validation import (
    Validation,
    check_scoring,
    check_validation_data,
    split_validation,
)

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "RECORDED",
    "SCHEDULES",
    "SPREAD_SCHEDULES",
    "CallbackSupportMixin",
    "Diagnostics",
    "EmbeddingNet",
    "Validation",
    "callback_tasks",
    "carry_over",
    "check_batch_size",
    "check_callbacks",
    "check_image_size",
    "check_inputs",
    "check_net_params",
    "check_scoring",
    "check_step",
    "check_targets",
    "check_validation_data",
    "complete_epochs",
    "drop_bad_images",
    "is_net_key",
    "looks_grey",
    "merge_classes",
    "open_checkpoint",
    "progress",
    "split_validation",
    "training_sample",
    "training_statistics",
    "warn_of_failures",
    "with_callbacks",
]
