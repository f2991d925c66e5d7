"""BaseEmbedder: all that makes a trained network a scikit-learn transformer."""

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_dml._backbones import build_network
from sk_dml._parameters import EmbedderParameters
from sk_dml._training import (
    RECORDED,
    SPREAD_SCHEDULES,
    CallbackSupportMixin,
    Diagnostics,
    EmbeddingNet,
    Validation,
    callback_tasks,
    carry_over,
    check_batch_size,
    check_callbacks,
    check_inputs,
    check_net_params,
    check_scoring,
    check_step,
    check_targets,
    check_validation_data,
    complete_epochs,
    merge_classes,
    open_checkpoint,
    progress,
    split_validation,
    training_statistics,
    warn_of_failures,
    with_callbacks,
)
from sk_dml.utils import (
    add_shared_documentation,
    resolve_device,
    torch_seed,
    warn,
)


@dataclass(eq=False, repr=False)
class BaseEmbedder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    EmbedderParameters,
):
    """Base class of all embedders.

    A subclass is a keyword-only dataclass in one file with its loss. It adds the
    parameters of its method with their constraints, and ``_make_loss``. Most derive
    from PairEmbedder or ProxyEmbedder.
    """

    _doc_link_module = "sk_dml"
    _doc_link_template = (
        "https://sk-dml.readthedocs.io/en/stable/methods/{estimator_name}.html"
    )

    # What to search in, by parameter; a subclass names those of its own method.
    _search_space: ClassVar[dict] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._make_loss is not BaseEmbedder._make_loss:  # it is a method
            add_shared_documentation(cls)

    @classmethod
    def search_space(cls):
        """Give the parameters of the method's paper, each with values to search.

        Returns
        -------
        dict of str to scipy.stats distribution or list
            As :class:`sklearn.model_selection.RandomizedSearchCV` and
            :class:`sk_dml.benchmark.RealityCheck` take it. Methods that learn proxies
            have the learning rate of these too. Change it as you like: it is a copy.

        Examples
        --------
        >>> from sk_dml import TripletEmbedder
        >>> sorted(TripletEmbedder.search_space())
        ['margin', 'mining']
        """
        space: dict = {}
        for base in reversed(cls.__mro__):
            space |= vars(base).get("_search_space", {})
        return copy.deepcopy(space)

    @property
    def _compares_samples(self):
        """Whether the loss compares the samples of a batch with each other."""
        return False

    @property
    def _spread_over_epochs(self):
        """The parameters by which every epoch depends on ``max_epochs``."""
        spread = [f"lr_schedule={self.lr_schedule!r}"]
        return spread if self.lr_schedule in SPREAD_SCHEDULES else []

    def _make_loss(self, n_classes):
        """Build the loss, a torch Module called with (embeddings, labels)."""
        raise NotImplementedError

    def _make_criterion(self, n_classes, n_samples):
        """Build what the net minimises: the loss, and what may be around it."""
        loss = self._make_loss(n_classes)
        if self.proxy_lr is not None and not list(loss.parameters()):
            raise ValueError(
                f"proxy_lr={self.proxy_lr} has no effect: {type(loss).__name__} learns "
                "no parameters. Allowed is None."
            )
        return loss

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, validation_data=None):
        """Learn the embedding.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Rows; or images of shape (n, height, width), (n, channels, height, width)
            or (n, height, width, channels), float or uint8. Of four axes the last
            holds the channels if it is at most 4 long and the second is longer. Inputs
            are standardised inside.
        y : array-like of shape (n_samples,)
            The classes: strings, integers, booleans or objects.
        validation_data : tuple (X, y) or None, default=None
            Samples to score after every epoch, of the same classes or others. None
            holds some of X out if ``early_stopping=True``. The steps before in a
            Pipeline do not transform them: give them as these would.

        Returns
        -------
        self : object
            The fitted embedder.

        Raises
        ------
        ValueError
            If the data or a parameter do not fit, ``checkpoint_dir`` holds another
            training, training diverges, or the scorer returns no number.
        TypeError
            If y mixes labels of several kinds.
        OSError
            If a checkpoint cannot be written, and the one before it stays; or another
            fit is using ``checkpoint_dir``.

        Warns
        -----
        UserWarning
            If the fit was interrupted after its first epoch (a search goes on with its
            next fit), or came to nothing: the embedding collapsed to a point or a line,
            the gradient died or overflowed, or the loss was always 0.
        """
        if not self.warm_start:
            _drop_fitted(self)  # a failed fit leaves nothing of the one before
        tasks = callback_tasks(self, X, y, self._fitted_attributes)
        return self._train(X, y, validation_data=validation_data, tasks=tasks)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Go on learning, for one epoch of these samples.

        The learning rate is ``lr`` throughout, whatever the schedule. With all samples
        in every call, as many calls as ``max_epochs`` do what :meth:`fit` does with
        ``lr_schedule=None``. Inputs are standardised by the first call's samples.
        Nothing is held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples as :meth:`fit` takes them, of one shape in all calls.
        y : array-like of shape (n_samples,)
            Their classes, two or more. Later calls may bring new ones only if the loss
            learns nothing for each class: proxies are made in the first call. Those
            that early stopping held out of :meth:`fit` are new too.
        classes : array-like of shape (n_classes,), default=None
            All classes of this call and, for a loss with proxies, of later ones. None
            takes those of y, and those known before.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError
            If the data or a parameter do not fit, y has new classes and the loss
            proxies, ``checkpoint_dir`` is set, or training diverges. What was learned
            before stays.
        TypeError
            If y mixes labels of several kinds.

        Warns
        -----
        UserWarning
            If training was interrupted, or came to nothing: the embedding collapsed to
            a point or a line, the gradient died or overflowed, or the loss was 0.
        """
        self._validate_params()
        if self.checkpoint_dir is not None:
            raise ValueError(
                f"checkpoint_dir={self.checkpoint_dir!r} is for fit: partial_fit "
                "cannot know which call to go on from. Allowed is None."
            )
        return self._train(X, y, classes=classes, partial=True)

    def _train(self, X, y, **how):
        """Train a net; if that fails, what was learned before stays."""
        net_params = check_net_params(self)
        check_scoring(self.scoring)
        before = dict(vars(self))
        try:
            with ExitStack() as stack:
                return self._train_net(X, y, net_params, stack, **how)
        except BaseException:
            _drop_fitted(self)
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
        X = check_inputs(self, X, reset=previous is None)
        self._input_shape, self._n_features_out = X.shape[1:], self.n_components
        found, targets = check_targets(self, X, y)
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
            validation_data = check_validation_data(self, validation_data)
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
        if self.device_.type == "mps" and X.dtype == np.float64:  # MPS has no float64
            X = X.astype(np.float32)
        with torch_seed(seeds[0], self.device_):
            net = self._make_net(
                X,
                len(self.classes_),
                net_params,
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
            net.checkpoint_ = checkpoint
            if validation:
                net.checkpointed["validation"] = validation
            n_before = len(net.history)
            if checkpoint is not None:
                n_before = checkpoint.begin(n_before)
            shown = progress(
                type(self).__name__, self.verbose, n_before + net.max_epochs
            )
            with shown as bars, net.watched_by(*bars, *tasks):
                net.partial_fit(X, targets)
        return self._keep(net, n_before, validation)

    def _make_net(self, X, n_classes, net_params, *, device, **settings):
        """Build the network, the loss and the net that trains them."""
        mean, scale = training_statistics(X)
        if device.type == "mps":
            mean, scale = mean.float(), scale.float()
        network = build_network(
            self.module,
            net_params.pop("module"),
            input_shape=X.shape[1:],
            n_components=self.n_components,
            mean=mean,
            scale=scale,
        )
        return EmbeddingNet(
            network,
            criterion=self._make_criterion(n_classes, len(X)),
            max_epochs=self.max_epochs,
            lr=self.lr,
            lr_schedule=self.lr_schedule,
            samples_per_class=self.samples_per_class,
            weight_decay=self.weight_decay,
            proxy_lr=self.proxy_lr,
            backbone_lr=self.backbone_lr,
            precision=self.precision,
            micro_batch_size=self.micro_batch_size,
            train_split=None,
            device=str(device),
            verbose=self.verbose,
            callbacks=clone(self.callbacks, safe=False),
            **settings,
            **net_params,
        )

    def _keep(self, net, n_before, validation):
        """Keep a trained net and the story of its training."""
        finished, checkpoint = net.finished, net.checkpoint_
        # These hold data, and weights.
        net.monitors, net.checkpointed_, net.checkpoint_ = (), {}, None
        fitted = self._fitted_attributes(net)
        n_epochs, n_planned = fitted["n_iter_"], n_before + net.max_epochs
        in_epoch = len(net.history) > n_epochs
        self.__dict__.pop("_interrupted_from", None)
        if (in_epoch or n_epochs < n_planned) and not finished:
            if n_epochs == n_before:
                raise KeyboardInterrupt
            warn(
                f"Training was interrupted in epoch {n_epochs + 1} of {n_planned}; the "
                "embedding is as far as it came."
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
            "_n_features_out": self.n_components,
        }

    def transform(self, X):
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples of the kind and shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
            Rows of Euclidean length one (or zero, where the network returns zeros):
            the Euclidean distance and the cosine similarity order neighbours alike.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.
        ValueError
            If X has other features, or images another shape, than in fit.
        """
        check_is_fitted(self, "net_")
        X = check_inputs(self, X, reset=False)
        if self.device_.type == "mps" and X.dtype == np.float64:
            X = X.astype(np.float32)
        return self.net_.embed(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags


def _drop_fitted(embedder):
    for name in [*vars(embedder)]:
        if name.endswith("_") or name.startswith(("_held_out", "_interrupted")):
            delattr(embedder, name)
