"""The skorch net: how a batch becomes a loss, and the loss a step."""

import copy
import time
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.utils import TeeGenerator

from sk_dml._functional import unit_rows
from sk_dml._inputs._bad_images import warn_of_missing_rows
from sk_dml._inputs._loading import BatchDataset, batches_in_order, make_loader
from sk_dml._inputs._source import Source
from sk_dml._training._optimizer import (
    batch_norms,
    build_optimizer,
    frozen_modules,
    parameter_groups,
    trained_parameters,
    without_gradients,
)
from sk_dml._training._precision import (
    autocast,
    cached_gradients,
    check_precision,
    make_scaler,
)
from sk_dml._training._sampling import ClassBatches, ShuffledBatches
from sk_dml._training._schedule import Schedule
from sk_dml._training._skorch_callbacks import is_raised_by_statement
from sk_dml._training._state import RandomNumbers
from sk_dml._utils._warn import warn


def check_step(embedder, device, batch_size):
    """Check the parameters that decide how a step is computed.

    Parameters
    ----------
    embedder : BaseEmbedder
    device : torch.device
    batch_size : int

    Raises
    ------
    ValueError
        If the device lacks the precision, or a piece of a batch is larger than it.
    """
    check_precision(embedder.precision, device)
    size = embedder.micro_batch_size
    if size is not None and size > batch_size:
        raise ValueError(
            f"micro_batch_size={size} is larger than the batches of {batch_size} "
            "samples that it splits; give at most that, or None."
        )


def total_norm(network):
    """Compute the Euclidean norm of all gradients of a network together.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    scalar tensor or None
        None without gradients.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else None


class Step:
    """Gradients of a batch, and the step along them.

    Parameters
    ----------
    net : EmbeddingNet
        An initialised net; its precision, micro_batch_size and gradient_clip_value
        say how.
    """

    def __init__(self, net):
        self.net = net
        self.device = torch.device(net.device)
        self.scaler = make_scaler(net.precision, self.device)
        self.n_skipped = 0
        self.gradient_norm = None  # that of the network before clipping, if it clips
        frozen = set(net._frozen_modules())
        norms = batch_norms(net.module_)
        if net.freeze_batch_norm and not norms:
            raise ValueError(
                "net_params holds freeze_batch_norm=True, but the network has no batch "
                "norm. Allowed is False."
            )
        is_split = (net.micro_batch_size or net.batch_size) < net.batch_size
        if is_split and not frozen.issuperset(norms):
            warn(
                f"micro_batch_size={net.micro_batch_size} changes what the network's "
                f"{len(norms)} batch norms do: they normalise over the pieces instead "
                "of the batch, and the smaller the pieces, the worse the result. Use a "
                "module without batch norm, or net_params={'freeze_batch_norm': True} "
                "for a pretrained one."
            )

    def take(self, batch):
        """Train on a batch.

        Parameters
        ----------
        batch : tuple of tensors
            Samples and labels.

        Returns
        -------
        dict
            The ``loss`` and the embeddings, ``y_pred``, as skorch's steps return them.
        """
        net = self.net
        optimizer = net.optimizer_
        done = {}

        def closure():
            optimizer.zero_grad()
            done["loss"], done["y_pred"] = self._gradients(*batch)
            if self.scaler:
                self.scaler.unscale_(optimizer)
            self.gradient_norm = None
            if net.gradient_clip_value is not None:
                self.gradient_norm = total_norm(net.module_)
                torch.nn.utils.clip_grad_norm_(
                    [p for _, p in net.get_all_learnable_params()],
                    net.gradient_clip_value,
                    norm_type=net.gradient_clip_norm_type,
                )
            net.notify(
                "on_grad_computed",
                named_parameters=TeeGenerator(net.get_all_learnable_params()),
                batch=batch,
                training=True,
            )
            return done["loss"]

        if self.scaler is None:
            optimizer.step(closure)
        else:
            closure()
            scale = self.scaler.get_scale()
            self.scaler.step(optimizer)
            self.scaler.update()
            # It is lowered where the gradients were not finite, to 0 in the end.
            self.n_skipped += self.scaler.get_scale() < scale or scale == 0
        return done

    def count_skipped(self):
        """Count the steps that were skipped since the last call.

        Returns
        -------
        int or None
            None where none can be.
        """
        if self.scaler is None:
            return None
        n_skipped, self.n_skipped = self.n_skipped, 0
        return n_skipped

    def _gradients(self, inputs, labels):
        net = self.net
        size = net.micro_batch_size
        if size is not None and len(inputs) > size:
            return cached_gradients(
                net.module_,
                inputs,
                lambda embeddings: self._loss(embeddings, labels),
                self._embed,
                micro_batch_size=size,
                device=self.device,
            )
        embeddings = self._embed(inputs)
        loss, start = self._loss(embeddings, labels)
        start.backward()
        return loss, embeddings

    def _embed(self, inputs):
        net = self.net
        inputs = inputs.to(self.device, non_blocking=True)
        if net.precision == "float32":
            return net.module_(inputs)
        with autocast(net.precision, self.device):
            return net.module_(inputs)

    def _loss(self, embeddings, labels):
        """Compute the loss, in full precision, and what to differentiate."""
        loss = self.net.get_loss(embeddings, labels, training=True)
        return loss, loss if self.scaler is None else self.scaler.scale(loss)


NOTE = "Raised by the callback "  # on errors


class StopTraining(Exception):  # noqa: N818 - it is no error
    """Raised by the net or a callback at the end of an epoch, to make it the last."""


class EmbeddingNet(NeuralNet):
    """A skorch net whose module embeds and whose criterion compares embeddings.

    Parameters
    ----------
    *args, **kwargs
        As for skorch.NeuralNet.
    samples_per_class : int or None, default=None
        K of P x K batches; None shuffles.
    weight_decay : float, default=0.0
        For the weights of the module; its biases and norms, and the parameters of the
        criterion, are spared.
    proxy_lr : float or None, default=None
        Learning rate of the parameters of the criterion; None takes ten times ``lr``:
        each is trained by few samples of a batch.
    backbone_lr : float or None, default=None
        Learning rate of all of the module but its head; None takes ``lr``, 0 freezes.
    lr_schedule : str or None, default=None
        How the learning rates move from step to step: one of SCHEDULES.
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
    monitors : sequence of objects, default=()
        Their ``on_epoch_end(net)`` is called after every epoch, before that of the
        callbacks; they may add to the history, or ``net.stop()``.

    Attributes
    ----------
    checkpointed_ : dict of str to object
        What checkpoints hold besides the net's own: anything with ``state_dict`` and
        ``load_state_dict``. It is to be there when training begins.
    stopped_ : bool
        Whether a monitor or a callback has ended the training early.
    checkpoint_ : Checkpoint or None
        Where to save every epoch.
    watchers_ : tuple of skorch.callbacks.Callback
        Those of :meth:`watched_by`.
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
        monitors=(),
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
        super().__init__(*args, **kwargs)
        self.end_training()
        self.monitors = monitors

    # Underscored, as skorch takes other attributes for parameters.
    schedule_: Any
    step_: Any
    checkpointed_: dict
    checkpoint_: Any
    stopped_ = False

    def end_training(self):
        """Let go of all that is for training alone: it holds data, and weights."""
        self.__dict__.update(_of_training())

    def initialize(self):
        """Begin with fresh weights and random numbers."""
        self.random_ = RandomNumbers(self.sampling_seed, self.device)
        return super().initialize()

    @property
    def _default_callbacks(self):
        return []

    @contextmanager
    def watched_by(self, *watchers):
        """Let more callbacks take part in a ``with`` block, after all others.

        Parameters
        ----------
        *watchers : skorch.callbacks.Callback
            They are no part of the net's parameters and stay out of its pickles.
        """
        self.watchers_ = watchers
        try:
            yield self
        finally:
            self.watchers_ = ()

    def notify(self, method_name, **cb_kwargs):
        """Tell all that an event happened; errors of callbacks say whose they are."""
        stop = None
        others = [(None, watcher) for watcher in self.watchers_]
        for name, listener in [(None, self), *self.callbacks_, *others]:
            try:
                getattr(listener, method_name)(self, **cb_kwargs)
            except StopTraining as request:
                stop = request  # once everybody has heard
            except KeyboardInterrupt as error:
                # How callbacks of skorch stop a training: between two epochs, as
                # within one it is as good as the user's.
                between = name is not None and method_name == "on_epoch_end"
                if between and is_raised_by_statement(error):
                    self.stopped_ = True
                raise
            except Exception as error:
                if name is not None:
                    error.add_note(f"{NOTE}{name} in {method_name}.")
                raise
        if stop is not None:
            raise stop

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
        size = params.pop("batch_size", None) or dataset.source.inference_size
        if training:
            batches: Any = self._batches(len(dataset), dataset.y)
            self.random_.loader = params.setdefault("generator", self.random_.loader)
        else:
            batches = batches_in_order(len(dataset), size)
        factory, device = getattr(self, prefix), torch.device(self.device)
        return make_loader(factory, dataset, batches, params, device)

    def evaluation_step(self, batch, training=False):
        """Compute the outputs of a batch of two or, without labels, three parts."""
        return super().evaluation_step(batch[:2], training)

    def torch_compile(self, module, name):
        """Compile the module in place, which keeps its names and its pickles."""
        if self.compile and name == "module":
            module.compile(**self.get_params_for("compile"))
        return module

    def _batches(self, n_samples, y):
        rng = self.random_.sampling
        if self.samples_per_class is None:
            return ShuffledBatches(n_samples, self.batch_size, rng)
        if not np.bincount(y).all():  # there are more classes than here
            y = np.unique(y, return_inverse=True)[1]
        return ClassBatches(y, self.batch_size, self.samples_per_class, rng)

    def initialize_optimizer(self, triggered_directly=None):
        """Give weights, biases and the criterion's parameters their own settings."""
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
        self.optimizer_ = build_optimizer(self.optimizer, groups, params)
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, moving the learning rates along their schedule."""
        epochs = epochs or self.max_epochs
        self.last_batch_, self.stopped_, self.has_new_row_ = None, False, False
        self.schedule_ = Schedule(
            self.lr_schedule,
            self.optimizer_,
            len(self._batches(len(X), y)),
            epochs,
            **(self.schedule_params or {}),
        )
        self.step_ = Step(self)
        if self.step_.scaler is not None:
            self.checkpointed_["scaler"] = self.step_.scaler
        self._set_training(False)  # so that the first step freezes what it is to
        try:
            if self.checkpoint_ is not None:
                epochs -= self.checkpoint_.restore(self, epochs)
            self._train_epochs(X, y, epochs, **fit_params)
            if self.has_new_row_ and not self.stopped_:
                self.schedule_.end_epoch(self.history[-1])
            if self.checkpoint_ is not None:
                self.checkpoint_.save(self)
        finally:
            self.schedule_ = self.step_ = self.last_batch_ = None
            self.random_state_ = self.random_.state_dict()
        return self

    def _train_epochs(self, *args, **fit_params):
        try:
            trained = trained_parameters(self.optimizer_)
            with without_gradients(self.module_, trained):
                super().fit_loop(*args, **fit_params)
        except StopTraining:
            self.stopped_ = True
        except KeyboardInterrupt:
            if not self.stopped_:
                raise

    def stop(self):
        """Make the present epoch the last, once all who watch it were told."""
        self.stopped_ = True

    def train_step(self, batch, **fit_params):
        """Train on a batch."""
        self._set_training(True)
        return self.step_.take(batch)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Call the criterion with embeddings and labels."""
        return self.criterion_(y_pred, y_true.to(y_pred.device))

    def _set_training(self, training=True):
        # Walking through the layers costs as much as a small step: only on a change.
        if self.module_.training != training:
            super()._set_training(training)
            for module in self._frozen_modules() if training else ():
                module.training = False

    def _frozen_modules(self):
        return frozen_modules(
            self.module_,
            trained_parameters(self.optimizer_),
            backbone_lr=self.backbone_lr,
            freeze_batch_norm=self.freeze_batch_norm,
        )

    def on_epoch_begin(self, net, **kwargs):
        """Start the clock, and forget the batches of earlier epochs."""
        if len(self.history):
            self.history[-1].pop("batches", None)
        if self.has_new_row_:
            self.schedule_.end_epoch(self.history[-1])  # whose row is complete now
        self.has_new_row_ = True
        if self.checkpoint_ is not None:  # now that all callbacks have been called
            self.checkpoint_.save(self)
        super().on_epoch_begin(net, **kwargs)
        self.epoch_start_ = time.perf_counter()

    def on_batch_end(self, net, batch=None, y_pred=None, **kwargs):
        """Keep what the monitors look at; move the learning rates.

        All batches are those of training: skorch has no split to validate on.
        """
        super().on_batch_end(net, batch=batch, y_pred=y_pred, **kwargs)
        self.last_batch_ = y_pred.detach(), batch[1]
        self.last_lr_ = self.optimizer_.param_groups[0]["lr"]
        self.schedule_.step()

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch, let the monitors look at it, and stop if one says so."""
        super().on_epoch_end(net, **kwargs)
        losses = np.array(self.history[-1, "batches", :, "train_loss"])
        sizes = np.array(self.history[-1, "batches", :, "train_batch_size"])
        self.history.record("train_loss", float(np.average(losses, weights=sizes)))
        self.history.record("lr", self.last_lr_)
        for monitor in self.monitors:
            monitor.on_epoch_end(self)
        self.history.record("duration", time.perf_counter() - self.epoch_start_)
        if self.stopped_:
            raise StopTraining

    def embed(self, X):
        """Embed samples.

        Parameters
        ----------
        X : Source or ndarray of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_components), float32
            Rows of Euclidean length one; of NaN for samples that cannot be read, if X
            lets them pass.
        """
        self._set_training(False)
        # What was compiled for training would be compiled anew for evaluation.
        eager = (
            torch.compiler.set_stance("force_eager") if self.compile else nullcontext()
        )
        # Filled in place: small tensors that stay would keep the memory between them.
        embedding: Any = None
        bad, start = np.zeros(len(X), dtype=bool), 0
        with eager:
            for batch in self.get_iterator(self.get_dataset(X)):
                rows = unit_rows(self.evaluation_step(batch).float().cpu()).numpy()
                if embedding is None:
                    embedding = np.empty((len(X), rows.shape[1]), dtype=np.float32)
                block = slice(start, start := start + len(rows))
                embedding[block] = rows
                for readable in batch[2:]:
                    bad[block] = ~readable.cpu().numpy()
        embedding[bad] = np.nan
        warn_of_missing_rows(X, np.flatnonzero(bad))
        return embedding

    def snapshot(self):
        """Copy the net as it is; training it further leaves the copy alone.

        Returns
        -------
        EmbeddingNet
            With own weights and history. The optimizer and the callbacks are shared.
        """
        net = copy.copy(self.__dict__)
        # A copy of a compiled module would be compiled anew.
        module = getattr(self.module_, "_orig_mod", self.module_)
        net["module_"] = net["module"] = copy.deepcopy(module)
        net["criterion_"] = net["criterion"] = copy.deepcopy(self.criterion_)
        net["history_"] = copy.deepcopy(self.history_)
        snapshot = object.__new__(type(self))
        snapshot.__dict__.update(net)
        snapshot.end_training()
        return snapshot

    def __getstate__(self):
        # The trained module_ and criterion_ are all there is to keep.
        left_out = {"module": None, "criterion": None, **_of_training()}
        return {**super().__getstate__(), **left_out}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.update(module=self.module_, criterion=self.criterion_)


def _of_training():
    """Say what attributes that are for training alone are outside of it."""
    nothing = dict.fromkeys(("schedule_", "step_", "last_batch_", "checkpoint_"))
    return {"monitors": (), "watchers_": (), "checkpointed_": {}, **nothing}
