"""The skorch net that trains a network, and its step."""

import copy
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from skorch import NeuralNet
from skorch.exceptions import SkorchTrainingImpossibleError
from skorch.utils import to_device, to_numpy
from torch.utils.data import Dataset

from sk_dml._functional import unit_rows
from sk_dml._inputs._bad_images import warn_of_missing_rows
from sk_dml._inputs._loading import BatchDataset, batches_in_order, make_loader
from sk_dml._inputs._source import INFERENCE_SAMPLES, Source
from sk_dml._training._callbacks import MoveRates, OwnCallback, Record, UsersDone
from sk_dml._training._diagnostics import total_norm
from sk_dml._training._optimizer import (
    OPTIMIZERS,
    WAYS,
    Schedule,
    batch_norms,
    freeze,
    parameter_groups,
    trained_parameters,
)
from sk_dml._training._precision import autocast, cached_gradients, make_scaler
from sk_dml._training._sampling import ClassBatches, ShuffledBatches
from sk_dml._utils._torch import RandomNumbers
from sk_dml._utils._warn import warn


class EmbeddingNet(NeuralNet):
    """A skorch net whose module embeds and whose criterion compares embeddings.

    Parameters
    ----------
    *args, **kwargs
        As for skorch.NeuralNet.
    samples_per_class : int or None, default=None
        K of P x K batches; None shuffles.
    weight_decay : float, default=0.0
        For the weights of the module, not for its biases and norms, nor for the
        parameters of the criterion.
    proxy_lr : float or None, default=None
        Learning rate of the parameters of the criterion; None takes ten times ``lr``:
        each is trained by few samples of a batch.
    backbone_lr : float or None, default=None
        Learning rate of all of the module but its head; None takes ``lr``, 0 freezes.
    lr_schedule : str or None, default=None
        One of SCHEDULES, which moves the learning rates step by step.
    schedule_params : dict or None, default=None
        Settings of the schedule.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        What the module computes in, in training.
    micro_batch_size : int or None, default=None
        Samples that go through the module at once, in training; None takes the batch.
    freeze_batch_norm : bool, default=False
        Whether batch norms stay as they are.
    gradient_clip_value, gradient_clip_norm_type : float or None, float
        Largest norm of all gradients, and which norm; None does not clip.
    sampling_seed : int, default=0
        Seed of the batches.
    predict_nonlinearity : callable, default=unit_rows
        What ``predict_proba`` does to the outputs of the module.

    Attributes
    ----------
    stopped_ : bool
        Whether early stopping or a callback has ended the training.
    interrupted_ : bool
        Whether Ctrl-C has.
    checkpoint_ : Checkpoint or None
        Where the next training goes on from and saves every epoch.
    """

    def __init__(
        self,
        *args,
        samples_per_class=None,
        weight_decay=0.0,
        proxy_lr=None,
        backbone_lr=None,
        lr_schedule=None,
        schedule_params=None,
        precision="float32",
        micro_batch_size=None,
        freeze_batch_norm=False,
        gradient_clip_value=None,
        gradient_clip_norm_type=2,
        sampling_seed=0,
        predict_nonlinearity=unit_rows,
        **kwargs,
    ):
        self.samples_per_class = samples_per_class
        self.weight_decay = weight_decay
        self.proxy_lr = proxy_lr
        self.backbone_lr = backbone_lr
        self.lr_schedule = lr_schedule
        self.schedule_params = schedule_params
        self.precision = precision
        self.micro_batch_size = micro_batch_size
        self.freeze_batch_norm = freeze_batch_norm
        self.gradient_clip_value = gradient_clip_value
        self.gradient_clip_norm_type = gradient_clip_norm_type
        self.sampling_seed = sampling_seed
        super().__init__(*args, predict_nonlinearity=predict_nonlinearity, **kwargs)

    # In training only. Underscored, as skorch takes other attributes for parameters.
    callbacks_: list
    checkpoint_: Any = None
    schedule_: Any = None
    scaler_: Any = None
    gradient_norm_: Any = None  # that of the network before clipping, if it clips
    last_batch_: Any = None  # embeddings and labels of the latest step
    frozen_: Any = None  # modules that stay in evaluation mode
    n_skipped_ = 0  # steps of the epoch whose gradients overflowed
    may_stop_ = False  # whether a KeyboardInterrupt is that of a callback
    stopped_ = interrupted_ = False

    # Classes, which skorch initializes for every net.
    _default_callbacks: ClassVar = [
        ("sk_dml.Record", Record),
        ("sk_dml.MoveRates", MoveRates),
    ]

    def initialize(self):
        """Begin with fresh weights and random numbers."""
        self.random_ = RandomNumbers(self.sampling_seed, self.device)
        return super().initialize()

    def add_callbacks(self, before, after):
        """Let callbacks take part in the next training, before and after the user's."""
        record, move_rates, *users = self.callbacks_
        before, after = (
            [(f"sk_dml.{type(c).__name__}", c) for c in callbacks if c is not None]
            for callbacks in (before, [UsersDone() if self.callbacks else None, *after])
        )
        self.callbacks_ = [record, *before, move_rates, *users, *after]

    def _idle_state(self):
        """Return what attributes for training are outside of it."""
        callbacks = [
            (name, callback)
            for name, callback in self.callbacks_
            if not isinstance(callback, OwnCallback) or callback.lasts
        ]
        in_training = "checkpoint_ schedule_ scaler_ gradient_norm_ last_batch_ frozen_"
        return {"callbacks_": callbacks, **dict.fromkeys(in_training.split())}

    def stop(self):
        """Make the present epoch the last, once all callbacks have been called."""
        self.stopped_ = True

    def notify(self, method_name, **cb_kwargs):
        """Call all callbacks; then end the training if one has called ``stop``."""
        super().notify(method_name, **cb_kwargs)
        if self.stopped_ and method_name == "on_epoch_end":
            raise KeyboardInterrupt

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Go on training; then let go of what holds data or weights for it alone."""
        try:
            return super().partial_fit(X, y, classes, **fit_params)
        finally:
            for _, callback in self.callbacks_:
                if isinstance(callback, OwnCallback) and callback.close is not None:
                    callback.close()
            self.__dict__.update(self._idle_state())

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, from the checkpoint if there is one, until a callback or Ctrl-C."""
        self.check_training_readiness()
        epochs = self.max_epochs if epochs is None else epochs
        self.n_batches_ = len(self._batches(X, y))
        self.interrupted_, self.stopped_, self.may_stop_ = True, False, False
        self.schedule_ = Schedule(
            self.lr_schedule,
            self.optimizer_,
            self.n_batches_,
            epochs,
            **(self.schedule_params or {}),
        )
        if self.precision == "float16":
            self.scaler_ = make_scaler(torch.device(self.device))
        self._set_training(False)  # so that the first step freezes what it is to
        if self.checkpoint_ is not None:
            epochs -= self.checkpoint_.restore(self, epochs)
        self.last_epoch_ = len(self.history) + epochs
        with freeze(
            self.module_,
            trained_parameters(self.optimizer_),
            backbone_lr=self.backbone_lr,
            freeze_batch_norm=self.freeze_batch_norm,
        ) as self.frozen_:
            if self.micro_batch_size is not None:
                self._check_pieces()
            try:
                super().fit_loop(X, y, epochs, **fit_params)
            except KeyboardInterrupt:
                # skorch's callbacks stop a training so; that within ours is Ctrl-C.
                self.stopped_ |= self.may_stop_
                if not self.stopped_:
                    raise
            finally:
                self.random_state_ = self.random_.state_dict()
        self.interrupted_ = False
        return self

    def _check_pieces(self):
        """Warn of batch norms that see pieces of batches."""
        size, norms = self.micro_batch_size, batch_norms(self.module_)
        if size < self.batch_size and not set(self.frozen_).issuperset(norms):
            warn(
                f"micro_batch_size={size} changes what the network's "
                f"{len(norms)} batch norms do: they normalize over the pieces instead "
                "of the batch, and the smaller the pieces, the worse the result. Use a "
                "module without batch norm, or net_params={'freeze_batch_norm': True} "
                "for a pretrained one."
            )

    def train_step_single(self, batch, **fit_params):
        """Compute the loss of a batch, and the gradients to step along."""
        if self.schedule_ is None:
            raise SkorchTrainingImpossibleError(
                "train_step is a part of fit and partial_fit: call one of these."
            )
        self._set_training(True)
        inputs, labels = batch
        size = self.micro_batch_size
        if size is not None and len(inputs) > size:
            loss, embeddings = cached_gradients(
                self.module_,
                inputs,
                lambda embeddings: self.get_loss(embeddings, labels, training=True),
                self.infer,
                micro_batch_size=size,
                device=torch.device(self.device),
                scaler=self.scaler_,
            )
        else:
            embeddings = self.infer(inputs)
            loss = self.get_loss(embeddings, labels, training=True)
            (loss if self.scaler_ is None else self.scaler_.scale(loss)).backward()
        if self.scaler_ is not None:
            self.scaler_.unscale_(self.optimizer_)
        if self.gradient_clip_value is not None:
            self.gradient_norm_ = total_norm(self.module_)
            torch.nn.utils.clip_grad_norm_(
                [p for _, p in self.get_all_learnable_params()],
                self.gradient_clip_value,
                norm_type=self.gradient_clip_norm_type,
            )
        self.last_batch_ = embeddings.detach(), labels
        return {"loss": loss, "y_pred": self.last_batch_[0]}

    def infer(self, x, **fit_params):
        """Compute the outputs of a batch; in training, in the precision of that."""
        device = torch.device(self.device)
        x = x.to(device, non_blocking=True)
        if self.precision == "float32" or not self.module_.training:
            return self.module_(x)
        with autocast(self.precision, device):
            return self.module_(x)

    def _step_optimizer(self, step_fn):
        """Step; in half precision, only if the gradients are finite."""
        if self.scaler_ is None:
            self.optimizer_.step(step_fn)
            return
        step_fn()
        scale = self.scaler_.get_scale()
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        # It is lowered where the gradients were not finite, to 0 in the end.
        self.n_skipped_ += self.scaler_.get_scale() < scale or scale == 0

    def evaluation_step(self, batch, training=False):
        """Return the outputs of a batch, without gradients."""
        # What was compiled for training would be compiled anew for evaluation.
        with (
            torch.compiler.set_stance("force_eager") if self.compile else nullcontext()
        ):
            # Without labels a batch has a third part: which samples are readable.
            return super().evaluation_step(batch[:2], training)

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the outputs of all batches in order; X may be a torch Dataset."""
        if isinstance(X, BatchDataset):
            X = X.X
        if not isinstance(X, Dataset):
            X = to_numpy(X) if isinstance(X, torch.Tensor) else X
            yield from super().forward_iter(X, training, device)
            return
        params = {"batch_size": INFERENCE_SAMPLES, "generator": torch.Generator()}
        params |= self.get_params_for("iterator_valid")
        for batch in self.iterator_valid(X, **params):
            yield to_device(self.evaluation_step(batch, training), device)

    def predict_proba(self, X):
        """Return the rows of ``transform``, of shape (n, n_components), float32."""
        nonlinearity = self._get_predict_nonlinearity()
        # skorch's EpochScoring puts the outputs of the epoch here.
        outputs = self.forward_iter(X)
        rows = [to_numpy(nonlinearity(batch.float())) for batch in outputs]
        return np.concatenate(rows)

    def get_dataset(self, X, y=None):
        """Return samples of which a batch is one fetch; a torch Dataset as it is."""
        if isinstance(X, np.ndarray):  # checked by the caller
            X = Source.from_array(X)
        if not isinstance(X, Source):
            return super().get_dataset(X, y)
        device = torch.device(self.device)
        if device.type == "mps" and X.dtype == np.float64:
            # Which has no float64.
            X = X.from_array(X.take(np.arange(len(X)))[0].astype(np.float32))
        loader = self.get_params_for(
            "iterator_train" if y is not None else "iterator_valid"
        )
        on_host = loader.get("num_workers") or loader.get("pin_memory")
        return BatchDataset(X, y, None if on_host else device)

    def get_iterator(self, dataset, training=False):
        """Iterate over batches: sampled ones in training, in order otherwise."""
        if not isinstance(dataset, BatchDataset):
            return super().get_iterator(dataset, training)
        prefix = "iterator_train" if training else "iterator_valid"
        params = self.get_params_for(prefix)
        size = params.pop("batch_size", None)
        if training:
            batches: Any = self._batches(dataset.X, dataset.y)
            self.random_.loader = params.setdefault("generator", self.random_.loader)
        else:
            batches = batches_in_order(len(dataset.X), size or dataset.X.inference_size)
        factory, device = getattr(self, prefix), torch.device(self.device)
        return make_loader(factory, dataset, batches, params, device)

    def torch_compile(self, module, name):
        """Compile the module in place, which keeps its names and its pickles."""
        if self.compile and name == "module":
            module.compile(**self.get_params_for("compile"))
        return module

    def _batches(self, X, y):
        rng = self.random_.sampling
        if self.samples_per_class is None:
            return ShuffledBatches(len(X), self.batch_size, rng)
        if not np.bincount(y).all():  # there are more classes than here
            y = np.unique(y, return_inverse=True)[1]
        return ClassBatches(y, self.batch_size, self.samples_per_class, rng)

    def initialize_optimizer(self, triggered_directly=None):
        """Build the optimizer, with settings of their own for groups of parameters."""
        params = self.get_params_for("optimizer")
        params.setdefault("lr", self.lr)
        groups = parameter_groups(
            self.module_,
            self.criterion_,
            lr=self.lr,
            backbone_lr=self.backbone_lr,
            proxy_lr=self.proxy_lr,
            weight_decay=self.weight_decay,
            freeze_batch_norm=self.freeze_batch_norm,
            patterns=params.pop("param_groups", ()),
        )
        if not WAYS & params.keys() and self.optimizer in OPTIMIZERS.values():
            # RMSprop has no fused steps.
            way = "foreach" if self.optimizer is torch.optim.RMSprop else "fused"
            params[way] = True
        try:
            self.optimizer_ = self.optimizer(groups, **params)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"optimizer {self.optimizer.__name__} cannot be built with the "
                f"settings {params} (net_params gives them as optimizer__*) for the "
                f"parameters of the network and the loss: {error}"
            ) from error
        return self

    def _set_training(self, training=True):
        # Walking through the layers costs as much as a small step: only on a change.
        if self.module_.training != training:
            super()._set_training(training)
            for module in (self.frozen_ or ()) if training else ():
                module.training = False

    def embed(self, X):
        """Return unit rows of shape (n, n_components), float32; NaN for bad images."""
        # Filled in place: small tensors that stay would keep the memory between them.
        embedding: Any = None
        bad, start = np.zeros(len(X), dtype=bool), 0
        for batch in self.get_iterator(self.get_dataset(X)):
            rows = unit_rows(self.evaluation_step(batch).float().cpu()).numpy()
            if embedding is None:
                embedding = np.empty((len(X), rows.shape[1]), dtype=np.float32)
            block = slice(start, start := start + len(rows))
            embedding[block] = rows
            for readable in batch[2:]:
                bad[block] = ~readable.cpu().numpy()
        if bad.any():
            embedding[bad] = np.nan
            warn_of_missing_rows(X, np.flatnonzero(bad))
        return embedding

    def snapshot(self):
        """Return a copy with own weights and history, which further training spares."""
        net = copy.copy(self.__dict__)
        # A copy of a compiled module would be compiled anew.
        module = getattr(self.module_, "_orig_mod", self.module_)
        net["module_"] = net["module"] = copy.deepcopy(module)
        net["criterion_"] = net["criterion"] = copy.deepcopy(self.criterion_)
        net["history_"] = copy.deepcopy(self.history_)
        snapshot = object.__new__(type(self))
        snapshot.__dict__.update(net)
        snapshot.__dict__.update(snapshot._idle_state())
        return snapshot

    def __getstate__(self):
        # The trained module_ and criterion_ are all there is to keep.
        left_out = {"module": None, "criterion": None, **self._idle_state()}
        return {**super().__getstate__(), **left_out}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.update(module=self.module_, criterion=self.criterion_)
