"""How an embedder trains its net, and what it keeps of it."""

from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from sk_dml._backbones import build_network, fine_tuning, is_pretrained
from sk_dml._parameters import EmbedderParameters
from sk_dml._training import (
    RECORDED,
    Diagnostics,
    EmbeddingNet,
    Validation,
    carry_over,
    check_batch_size,
    check_callbacks,
    check_image_size,
    check_inputs,
    check_net_params,
    check_scoring,
    check_step,
    check_targets,
    check_validation_data,
    complete_epochs,
    drop_bad_images,
    looks_grey,
    merge_classes,
    open_checkpoint,
    progress,
    split_validation,
    training_sample,
    training_statistics,
    warn_of_failures,
)
from sk_dml.utils import resolve_device, torch_seed, warn

_interrupts_raised = ContextVar("interrupts_raised", default=False)


@contextmanager
def interrupts_raised():
    """Let Ctrl-C end more than a training, in a ``with`` block.

    Elsewhere an embedder whose training it ends keeps what it has learned.
    """
    token = _interrupts_raised.set(True)
    try:
        yield
    finally:
        _interrupts_raised.reset(token)


class Fitting(EmbedderParameters):
    """The part of BaseEmbedder that :meth:`fit` and :meth:`partial_fit` share."""

    def _make_criterion(self, n_classes, n_samples):
        """Build what the net minimises."""
        raise NotImplementedError

    def _train(self, X, y, **how):
        """Train a net; if that fails, what was learned before stays."""
        net_params = check_net_params(self)
        check_scoring(self.scoring)
        before = dict(vars(self))
        try:
            with ExitStack() as stack:
                return self._train_net(X, y, net_params, stack, **how)
        except BaseException:
            drop_fitted(self)
            self.__dict__.update(before)
            raise

    def _train_net(
        self,
        X,
        y,
        net_params,
        stack,
        *,
        tasks=(),
        validation_data=None,
        classes=None,
        partial=False,
    ):
        """Train a net, which goes on from the one that is there."""
        previous = vars(self).get("net_")
        known = vars(self).get("classes_") if previous else None
        X, found, targets = self._check_data(X, y, reset=previous is None)
        if self.n_components == 1:
            warn(
                "n_components=1 leaves rows of length one but two values, 1 and -1, "
                "and most methods no gradient. Use 2 or more."
            )
        self.device_ = resolve_device(self.device)
        random_state = check_random_state(self.random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=2).tolist()
        data = {"X": X, "y": targets, "classes": found}
        if validation_data is not None:
            validation_data = check_validation_data(self, validation_data, found)
            validation_data = drop_bad_images(self, *validation_data)
            data |= zip(("validation X", "validation y"), validation_data, strict=True)
        checkpoint = stack.enter_context(
            open_checkpoint(self, data, seeds, self.device_)
        )
        if checkpoint is not None:
            seeds = checkpoint.seeds
        if self.early_stopping and validation_data is None and not partial:
            X, found, targets, validation_data = split_validation(
                self, X, found, targets, seeds[1]
            )
        batch_size = check_batch_size(self, found, targets)
        check_step(self, self.device_, batch_size)
        self.classes_, targets, places = merge_classes(
            found, targets, known=known, classes=classes
        )
        validation = validation_data and Validation(self, *validation_data)
        with torch_seed(seeds[0], self.device_):
            net = self._make_net(
                X,
                len(self.classes_),
                net_params,
                # Where the training goes on, the head is there.
                sample=None if previous else lambda: training_sample(X, targets),
                device=self.device_,
                batch_size=batch_size,
                sampling_seed=seeds[1],
                monitors=[Diagnostics(), *filter(None, [validation])],
            )
            if partial:
                net.max_epochs, net.lr_schedule, net.schedule_params = 1, None, None
            net.initialize()
            check_callbacks(net, validates=validation is not None)
            if previous is not None:
                carry_over(self, previous, net, places, optimizer=partial)
            else:
                self._warn_if_random_weights_stay(net)
            net.checkpoint_ = checkpoint
            if validation:
                net.checkpointed_["validation"] = validation
            n_before = len(net.history)
            if checkpoint is not None:
                n_before = checkpoint.begin(n_before)
            shown = progress(
                type(self).__name__, self.verbose, n_before + net.max_epochs
            )
            with shown as bars, net.watched_by(*bars, *tasks):
                net.partial_fit(X, targets)
        return self._keep(net, n_before, validation)

    def _check_data(self, X, y, *, reset):
        """Check the samples; return those that can be read, with numbered classes."""
        X = check_inputs(self, X, reset=reset)
        self._input_shape, self._n_features_out = X.shape[1:], self.n_components
        check_image_size(self)
        found, targets = check_targets(self, X, y)
        X, targets = drop_bad_images(self, X, targets, found)
        kept, targets = np.unique(targets, return_inverse=True)
        return X, found[kept], targets

    def _make_net(self, X, n_classes, net_params, *, sample, device, **settings):
        """Build the network, the loss and the net that trains them."""
        mean, scale = training_statistics(X)
        if device.type == "mps":
            mean, scale = mean.float(), scale.float()
        augment = self.augment
        if augment == "auto" and looks_grey(X):
            augment = "affine"
        network = build_network(
            self.module,
            net_params.pop("module"),
            input_shape=X.shape[1:],
            n_components=self.n_components,
            mean=mean,
            scale=scale,
            largest=255 if X.dtype == np.uint8 else 1,
            augment=augment,
            crop_size=self.image_size_,
            sample=sample,
            device="cpu" if X.ndim == 2 else device,
        )
        backbone_lr, frozen = fine_tuning(network, self.lr, self.backbone_lr)
        return EmbeddingNet(
            network,
            criterion=self._make_criterion(n_classes, len(X)),
            max_epochs=self.max_epochs,
            lr=self.lr,
            lr_schedule=self.lr_schedule,
            samples_per_class=self.samples_per_class,
            weight_decay=self.weight_decay,
            proxy_lr=self.proxy_lr,
            backbone_lr=backbone_lr,
            precision=self.precision,
            micro_batch_size=self.micro_batch_size,
            train_split=None,
            device=str(device),
            verbose=self.verbose,
            callbacks=clone(self.callbacks, safe=False),
            **settings,
            **{**frozen, **net_params},
        )

    def _warn_if_random_weights_stay(self, net):
        """Warn of a backbone that is frozen before it has learned anything."""
        # A class of the user's, as an instance, may have weights from elsewhere.
        is_ours = self.module is None or isinstance(self.module, str)
        has_own_rates = hasattr(net, "optimizer__param_groups")
        if self.backbone_lr == 0 and is_ours and not has_own_rates:
            backbone = net.module_.backbone
            if not is_pretrained(backbone):
                warn(
                    "backbone_lr=0 freezes the random weights that the network "
                    f"({type(backbone).__name__}) begins with: only its head learns. "
                    "It is for pretrained networks; leave it at None for others, or "
                    "set it for a warm start."
                )

    def _keep(self, net, n_before, validation):
        """Keep a trained net and the story of its training."""
        checkpoint = net.checkpoint_
        net.end_training()
        fitted = self._fitted_attributes(net)
        n_epochs, n_planned = fitted["n_iter_"], n_before + net.max_epochs
        in_epoch = len(net.history) > n_epochs
        self.__dict__.pop("_interrupted_from", None)
        if (in_epoch or n_epochs < n_planned) and not net.stopped_:
            if n_epochs == n_before or _interrupts_raised.get():
                raise KeyboardInterrupt
            reached = "as far as it came"
            if validation and self.early_stopping:
                reached = f"that of its best epoch, {validation.best_epoch}"
            warn(
                f"Training was interrupted in epoch {n_epochs + 1} of {n_planned}; the "
                f"embedding is {reached}."
            )
            if checkpoint is not None:
                self._interrupted_from = checkpoint.start
        self.__dict__.update(fitted)
        self.best_score_ = self.best_epoch_ = None
        if validation:
            validation.restore(net)
            self.best_score_ = validation.best_score
            self.best_epoch_ = validation.best_epoch
        epochs = complete_epochs(net.history)
        if validation and self.early_stopping:
            epochs = epochs[: self.best_epoch_]  # the later ones are thrown away
        warn_of_failures(epochs, self.n_components)
        return self

    def _fitted_attributes(self, net):
        """List what a trained net makes of the embedder, by name."""
        epochs = complete_epochs(net.history)
        return {
            "net_": net,
            "n_iter_": len(epochs),
            "history_": [
                {name: row[name] for name in RECORDED if name in row} for row in epochs
            ],
            "loss_curve_": [row["train_loss"] for row in epochs],
        }


def drop_fitted(embedder):
    """Forget what a fit has left.

    Parameters
    ----------
    embedder : BaseEmbedder
    """
    for name in [*vars(embedder)]:
        if name.endswith("_") or name.startswith(("_held_out", "_interrupted")):
            delattr(embedder, name)
