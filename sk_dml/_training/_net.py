"""The skorch net: how a batch becomes a loss, and the loss a step."""

import copy
import time
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch.optim.lr_scheduler import OneCycleLR

from sk_dml._functional import unit_rows
from sk_dml._training._data import ArrayDataset
from sk_dml._training._sampling import ClassBatches, ShuffledBatches
from sk_dml._training._state import RandomNumbers

# Rows or images that are embedded at once, outside training.
INFERENCE_BATCH_SIZE = 512
# What the history of an embedder tells of an epoch, where it is known.
RECORDED = (
    "epoch",
    "train_loss",
    "valid_score",
    "lr",
    "active_share",
    "mean_similarity",
    "effective_rank",
    "gradient_norm",
    "duration",
)


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
    lr_schedule : {"onecycle"} or None, default=None
        How the learning rates move from step to step.
    sampling_seed : int, default=0
        Seed of the batches.
    monitors : sequence of objects, default=()
        Their ``on_epoch_end(net)`` is called after every epoch, before that of the
        callbacks; they may add to the history, or ``net.stop()``.

    Attributes
    ----------
    checkpointed : dict of str to object
        What checkpoints hold besides the net's own: anything with ``state_dict`` and
        ``load_state_dict``. It is to be there when training begins. One whose
        attribute ``finished`` is true has ended the training early.
    checkpoint_ : Checkpoint or None
        Where to save every epoch.
    """

    def __init__(
        self,
        *args,
        samples_per_class=None,
        weight_decay=0.0,
        proxy_lr=None,
        lr_schedule=None,
        sampling_seed=0,
        monitors=(),
        **kwargs,
    ):
        self.samples_per_class = samples_per_class
        self.weight_decay = weight_decay
        self.proxy_lr = proxy_lr
        self.lr_schedule = lr_schedule
        self.sampling_seed = sampling_seed
        self.monitors = monitors
        # Underscored, as skorch takes other attributes for parameters.
        self.checkpointed_, self.checkpoint_ = {}, None
        super().__init__(*args, **kwargs)

    watchers: tuple = ()
    stopped_ = False

    @property
    def checkpointed(self):
        """What checkpoints hold besides the net's own, by name."""
        return self.checkpointed_

    @property
    def finished(self):
        """Whether something that is checkpointed has ended the training early."""
        parts = self.checkpointed.values()
        return any(getattr(part, "finished", False) for part in parts)

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
        self.watchers = watchers
        try:
            yield self
        finally:
            self.watchers = ()

    def notify(self, method_name, **cb_kwargs):
        """Tell all that an event happened; errors of callbacks say whose they are."""
        stop = None
        others = [(None, watcher) for watcher in self.watchers]
        for name, listener in [(None, self), *self.callbacks_, *others]:
            try:
                getattr(listener, method_name)(self, **cb_kwargs)
            except StopTraining as request:
                stop = request  # once everybody has heard
            except Exception as error:
                if name is not None:
                    error.add_note(f"Raised by the callback {name} in {method_name}.")
                raise
        if stop is not None:
            raise stop

    def get_dataset(self, X, y=None):
        """Wrap arrays so that a batch is one fetch."""
        return ArrayDataset(X, y)

    def get_iterator(self, dataset, training=False):
        """Iterate over batches: sampled ones in training, in order otherwise."""
        prefix = "iterator_train" if training else "iterator_valid"
        params = self.get_params_for(prefix)
        size = params.pop("batch_size", INFERENCE_BATCH_SIZE)
        batches: Any
        if not training:
            rows = np.arange(len(dataset))
            batches = np.split(rows, range(size, len(rows), size))
        else:
            rng = self.random_.sampling
            if self.samples_per_class is None:
                batches = ShuffledBatches(len(dataset), self.batch_size, rng)
            else:
                labels = dataset.y
                if not np.bincount(labels).all():  # there are more classes than here
                    labels = np.unique(labels, return_inverse=True)[1]
                batches = ClassBatches(
                    labels, self.batch_size, self.samples_per_class, rng
                )
            self.random_.loader = params.setdefault("generator", self.random_.loader)
        # Without a generator of its own, a DataLoader draws from the global one.
        params.setdefault("generator", torch.Generator())
        return getattr(self, prefix)(
            dataset, batch_size=None, sampler=batches, **params
        )

    def initialize_optimizer(self, triggered_directly=None):
        """Give weights, biases and the criterion's parameters their own settings."""
        params = self.get_params_for("optimizer")
        params.setdefault("lr", self.lr)
        decayed: list[torch.nn.Parameter] = []
        spared: list[torch.nn.Parameter] = []
        for parameter in self.module_.parameters():
            (decayed if parameter.ndim > 1 else spared).append(parameter)
        learned = list(self.criterion_.parameters())
        if not any(p.requires_grad for p in [*decayed, *spared, *learned]):
            raise ValueError(
                "module has no parameters to train (none that requires a gradient), "
                "and neither has the loss; give a network that can learn."
            )
        proxy_lr = 10 * self.lr if self.proxy_lr is None else self.proxy_lr
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": spared, "weight_decay": 0.0},
            {"params": learned, "weight_decay": 0.0, "lr": proxy_lr},
        ]
        self.optimizer_ = self.optimizer([g for g in groups if g["params"]], **params)
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, moving the learning rates along their schedule."""
        epochs = epochs or self.max_epochs
        self.schedule_, self.last_batch_, self.stopped_ = None, None, False
        n_batches = len(self.get_iterator(self.get_dataset(X, y), training=True))
        n_steps = n_batches * epochs
        # Too few steps to rise and fall would all be tiny ones.
        if self.lr_schedule == "onecycle" and n_steps >= 10:
            self.schedule_ = OneCycleLR(
                self.optimizer_,
                max_lr=[group["lr"] for group in self.optimizer_.param_groups],
                total_steps=n_steps,
                cycle_momentum=False,
            )
        try:
            if self.checkpoint_ is not None:
                epochs -= self.checkpoint_.restore(self, epochs)
            self._train_epochs(X, y, epochs, **fit_params)
            if self.checkpoint_ is not None:
                self.checkpoint_.save(self)
        finally:
            self.schedule_ = self.last_batch_ = None
            self.random_state_ = self.random_.state_dict()
        return self

    def _train_epochs(self, *args, **fit_params):
        try:
            super().fit_loop(*args, **fit_params)
        except StopTraining:
            self.stopped_ = True

    def stop(self):
        """Make the present epoch the last, once all who watch it were told."""
        self.stopped_ = True

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Call the criterion with embeddings and labels."""
        return self.criterion_(y_pred, y_true.to(y_pred.device))

    def _set_training(self, training=True):
        # Walking through the layers costs as much as a small step: only on a change.
        if self.module_.training != training:
            super()._set_training(training)

    def on_epoch_begin(self, net, **kwargs):
        """Start the clock, and forget the batches of earlier epochs."""
        if len(self.history):
            self.history[-1].pop("batches", None)
        if self.checkpoint_ is not None:  # now that all callbacks have been called
            self.checkpoint_.save(self)
        super().on_epoch_begin(net, **kwargs)
        self.epoch_start_ = time.perf_counter()

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        """Keep what the monitors look at; move the learning rates."""
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        if training and kwargs.get("y_pred") is not None:
            self.last_batch_ = kwargs["y_pred"].detach(), batch[1]
        if training and self.schedule_ is not None:
            self.schedule_.step()

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch; stop if the network has become useless."""
        super().on_epoch_end(net, **kwargs)
        losses = np.array(self.history[-1, "batches", :, "train_loss"])
        sizes = np.array(self.history[-1, "batches", :, "train_batch_size"])
        epoch, loss = len(self.history), float(np.average(losses, weights=sizes))
        self.history.record("train_loss", loss)
        tensors = [*self.module_.parameters(), *self.criterion_.parameters()]
        if not np.isfinite(loss) or not all(t.isfinite().all() for t in tensors):
            raise ValueError(
                f"Training diverged in epoch {epoch}: the loss or the weights are no "
                f"longer finite. The learning rate is the likely cause: lower lr "
                f"(now {self.lr}) or, for a loss with proxies, proxy_lr."
            )
        self.history.record("lr", self.optimizer_.param_groups[0]["lr"])
        for monitor in self.monitors:
            monitor.on_epoch_end(self)
        self.history.record("duration", time.perf_counter() - self.epoch_start_)
        if self.stopped_:
            raise StopTraining

    def embed(self, X):
        """Embed rows or images.

        Parameters
        ----------
        X : ndarray of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_components), float32
            Rows of Euclidean length one.
        """
        self._set_training(False)
        return unit_rows(self.forward(X).float()).numpy()

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
        net["watchers"] = net["monitors"] = ()
        snapshot = object.__new__(type(self))
        snapshot.__dict__.update(net)
        return snapshot

    def __getstate__(self):
        # The trained module_ and criterion_ are all there is to keep.
        left_out: dict = {
            "module": None,
            "criterion": None,
            "watchers": (),
            "checkpoint_": None,
            "checkpointed_": {},
        }
        return {**super().__getstate__(), **left_out}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.update(module=self.module_, criterion=self.criterion_)
