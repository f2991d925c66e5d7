"""Base class of all embedders."""

import copy
import inspect
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sk_dml._inputs import make_source
from sk_dml._inputs._bad_images import drop_bad_images
from sk_dml._inputs._files import check_image_size
from sk_dml._inputs._source import training_sample
from sk_dml._networks._build import build_network, fine_tuning, is_pretrained
from sk_dml._supervision._classes import check_targets, merge_classes
from sk_dml._training._callbacks import (
    RECORDED,
    CallbackSupportMixin,
    SaveCheckpoint,
    SklearnCallbacks,
    check_are_callbacks,
    check_callbacks,
    complete_epochs,
    progress,
    with_callbacks,
)
from sk_dml._training._checkpoint import open_checkpoint
from sk_dml._training._diagnostics import Diagnostics, warn_of_failures
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._net_params import check_net_params, is_net_key
from sk_dml._training._optimizer import (
    OPTIMIZERS,
    SCHEDULES,
    SPREAD_SCHEDULES,
    resolve_optimizer,
)
from sk_dml._training._precision import PRECISIONS, check_precision
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._validation import (
    Validation,
    check_scoring,
    check_validation_data,
    split_validation,
)
from sk_dml._training._warm_start import carry_over
from sk_dml._utils._torch import limited_threads, resolve_device, torch_seed
from sk_dml._utils._warn import warn
from sk_dml.embedders._shared_docs import add_shared_documentation

# Of a batch of 32 such images, the float32 pixels alone take 2 GB.
LARGEST_IMAGE = 2048


@dataclass(eq=False, repr=False)
class BaseEmbedder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of all embedders.

    A subclass is a keyword-only dataclass in one file with its loss, which it names as
    ``loss_class``. It adds the parameters of its method; their constraints are those of
    the loss. Most subclasses derive from PairEmbedder or ProxyEmbedder.
    """

    loss_class: ClassVar[Any] = None
    # Whether the loss compares the samples of a batch with each other.
    _compares_samples: ClassVar[Any] = False

    n_components: int = 64
    _: KW_ONLY
    module: Any = None
    image_size: int | None = None
    on_bad_image: str = "raise"
    augment: Any = "auto"
    max_epochs: int = 100
    lr: float = 1e-3
    lr_schedule: str | None = "onecycle"
    batch_size: int | str = "auto"
    samples_per_class: int | None = 4
    optimizer: Any = "adamw"
    weight_decay: float = 1e-2
    proxy_lr: float | None = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int | str = "auto"
    tol: float = 1e-4
    scoring: Any = "map_at_r"
    backbone_lr: float | None = None
    precision: str = "float32"
    micro_batch_size: int | None = None
    device: Any = "auto"
    random_state: Any = None
    verbose: int = 0
    warm_start: bool = False
    checkpoint_dir: Any = None
    callbacks: list | None = None
    net_params: dict | None = None

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "module": [str, HasMethods(["forward", "parameters"]), None],
        "image_size": [Interval(Integral, 8, LARGEST_IMAGE, closed="both"), None],
        "on_bad_image": [StrOptions({"raise", "skip"})],
        "augment": [StrOptions({"auto", "affine", "crop"}), callable, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions(set(SCHEDULES)), None],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
        ],
        "samples_per_class": [Interval(Integral, 1, None, closed="left"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS)), type],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "proxy_lr": [Interval(Real, 0, None, closed="neither"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scoring": [str, callable],
        "backbone_lr": [Interval(Real, 0, None, closed="left"), None],
        "precision": [StrOptions(set(PRECISIONS))],
        "micro_batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "checkpoint_dir": [str, PathLike, None],
        "callbacks": [list, None],
        "net_params": [dict, None],
    }

    _doc_link_module = "sk_dml"
    _doc_link_template = (
        "https://sk-dml.readthedocs.io/en/stable/methods/{estimator_name}.html"
    )

    # Values to search, by parameter; a subclass names those of its own method.
    _search_space: ClassVar[dict] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        of_loss = getattr(vars(cls).get("loss_class"), "_parameter_constraints", {})
        cls._parameter_constraints = {
            **super(cls, cls)._parameter_constraints,
            **{name: of_loss[name] for name in of_loss if hasattr(cls, name)},
            **vars(cls).get("_parameter_constraints", {}),
        }
        if cls.loss_class is not None:
            add_shared_documentation(cls)

    @classmethod
    def search_space(cls):
        """Return the parameters of the method's paper, each with values to search.

        Returns
        -------
        dict of str to scipy.stats distribution or list
            In the form that :class:`sklearn.model_selection.RandomizedSearchCV` and
            :class:`sk_dml.reality_check.RealityCheck` accept. Methods that learn
            proxies add the learning rate of the proxies. It is a copy: change it
            freely.

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

    def get_params(self, deep=True):
        """Get the parameters of this embedder.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the entries of ``net_params`` as parameters too.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        params = super().get_params(deep=False)
        if deep and isinstance(self.net_params, dict):
            params = {**self.net_params, **params}
        return params

    def set_params(self, **params):
        """Set parameters of this embedder, or entries of its ``net_params``.

        Parameters
        ----------
        **params : dict
            Parameters, and names such as ``module__hidden`` or ``compile``.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        names = self._get_param_names()
        for_net = {k: params.pop(k) for k in list(params) if is_net_key(k, names)}
        super().set_params(**params)
        if for_net:
            self.net_params = {**(self.net_params or {}), **for_net}
        return self

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, validation_data=None):
        """Learn the embedding.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Rows; or images of shape (n, height, width), (n, channels, height, width)
            or (n, height, width, channels), float or uint8. Of four axes the last
            holds the channels if it is at most 4 long and the second is longer, and
            the second does otherwise; more channels go first. Images may be in a
            memmap. Or paths of image files, in an array of one axis, a
            list or a Series; or a dataset of images, see
            :class:`sk_dml.datasets.ImageSequence`. Memmaps, files and datasets are read
            batch by batch; but what splits a memmap, as GridSearchCV does, copies every
            part into memory, and splits paths or an ImageSequence without reading.
            Inputs are standardized inside. Missing values are refused:
            impute them before.
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
            If the data or a parameter do not fit, an image cannot be read,
            ``checkpoint_dir`` holds another training, training diverges, or the scorer
            returns no number.
        TypeError
            If y mixes labels of several kinds; or X is a mapping, an iterator or a
            single path.
        OSError
            If a checkpoint cannot be written, and the one before it stays; or another
            fit is using ``checkpoint_dir``.
        FileNotFoundError
            If files of images are missing.
        ImportError
            If X holds files or a dataset of images, and Pillow is not installed.

        Warns
        -----
        UserWarning
            If the fit was interrupted after its first epoch (a search continues with
            its next fit), or failed: the embedding collapsed to a point or a line, the
            gradient died or overflowed, or the loss was always 0. If images were left
            out, or random weights are frozen.

        Notes
        -----
        If a step takes fewer than 3e8 multiplications, as for most rows, the fit uses
        one thread of the CPU. Otherwise, and if threads read files of images, it uses
        as many as ``torch.get_num_threads()``. So does :meth:`transform`, by the size
        of its batches.
        """
        if not self.warm_start:
            drop_fitted(self)  # a failed fit leaves nothing of the one before
        has_callbacks = getattr(self, "_skl_callbacks", ())
        return self._train(
            X,
            y,
            validation_data=validation_data,
            sklearn_callbacks=SklearnCallbacks(self, X, y) if has_callbacks else None,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Go on learning, for one epoch of these samples.

        The learning rate is ``lr`` throughout, whatever the schedule. With all samples
        in every call, as many calls as ``max_epochs`` do what :meth:`fit` does with
        ``lr_schedule=None``. Inputs are standardized by the first call's samples.
        Nothing is held out, and the callbacks of :meth:`set_callbacks` are not called.

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
            If training was interrupted, or failed: the embedding collapsed to a point
            or a line, the gradient died or overflowed, or the loss was 0.
        """
        self._validate_params()
        if self.checkpoint_dir is not None:
            raise ValueError(
                f"checkpoint_dir={self.checkpoint_dir!r} is for fit: partial_fit "
                "cannot know which call to go on from. Allowed is None."
            )
        return self._train(X, y, classes=classes, is_partial=True)

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
            the Euclidean distance and the cosine similarity order neighbors alike.
            With ``on_bad_image="skip"``, images that cannot be read have rows of NaN,
            which searches and classifiers refuse: leave them out, by
            ``~np.isnan(embedding).any(axis=1)``.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.
        ValueError
            If X has other features, or images another shape or scale, than in fit; or
            an image cannot be read.
        FileNotFoundError
            If files of images are missing.

        Warns
        -----
        UserWarning
            If images cannot be read and have rows of NaN: how many, and which. If
            images seem to be on another scale than in fit.
        """
        check_is_fitted(self, "net_")
        X = make_source(self, X, reset=False)
        with limited_threads(self.net_, X):
            return self.net_.embed(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _depends_on_max_epochs(self):
        """The parameters that make every epoch depend on ``max_epochs``."""
        schedule = [f"lr_schedule={self.lr_schedule!r}"]
        return schedule if self.lr_schedule in SPREAD_SCHEDULES else []

    def _make_loss(self, n_classes, n_samples):
        """Build the loss from the parameters that its constructor names.

        ``n_classes`` is None for a form of the loss that knows no classes.
        """
        n_features = None if n_classes is None else self.n_components
        given = {**vars(self), "n_classes": n_classes, "n_features": n_features}
        names = inspect.signature(self.loss_class).parameters
        loss = self.loss_class(**{name: given[name] for name in names if name in given})
        if self.proxy_lr is not None and not list(loss.parameters()):
            raise ValueError(
                f"proxy_lr={self.proxy_lr} has no effect: {type(loss).__name__} learns "
                "no parameters. Allowed is None."
            )
        return loss

    def _train(
        self,
        X,
        y,
        *,
        validation_data=None,
        classes=None,
        is_partial=False,
        sklearn_callbacks=None,
    ):
        """Train a net, from the one that is there if it is to go on."""
        net_params = check_net_params(self)
        if self.callbacks:
            check_are_callbacks(self.callbacks)
        if self.scoring != BaseEmbedder.scoring:  # the default is valid
            check_scoring(self.scoring)
        with ExitStack() as stack:
            stack.enter_context(unchanged_on_error(self))
            previous = vars(self).get("net_")
            known = vars(self).get("classes_") if previous else None
            if previous:
                previous.check_training_readiness()
            X, own_classes, targets = self._check_data(X, y, reset=previous is None)
            if self.n_components == 1:
                warn(
                    "n_components=1 leaves rows of length one but two values, 1 and "
                    "-1, and most methods no gradient. Use 2 or more."
                )
            self.device_ = resolve_device(self.device)
            if self.precision != "float32":
                check_precision(self.precision, self.device_)
            random_state = check_random_state(self.random_state)
            seeds = random_state.randint(np.iinfo(np.int32).max, size=2).tolist()
            data = {"X": X, "y": targets, "classes": own_classes}
            if validation_data is not None:
                validation_data = check_validation_data(
                    self, validation_data, own_classes
                )
                data["validation X"], data["validation y"] = validation_data
            checkpoint = None
            if self.checkpoint_dir is not None:
                checkpoint = stack.enter_context(
                    open_checkpoint(self, data, seeds, self.device_)
                )
                seeds = checkpoint.seeds
            if self.early_stopping and validation_data is None and not is_partial:
                X, own_classes, targets, validation_data = split_validation(
                    self, X, own_classes, targets, seeds[1]
                )
            batch_size = check_batch_size(self, own_classes, targets)
            self.classes_ = own_classes
            if previous or classes is not None:
                self.classes_, targets, indices = merge_classes(
                    own_classes, targets, known=known, classes=classes
                )
            validation = validation_data and Validation(self, *validation_data)
            stack.enter_context(torch_seed(seeds[0], self.device_))
            net = self._make_net(
                X,
                len(self.classes_),
                net_params,
                # Where the training goes on, the head is there.
                sample=None if previous else lambda: training_sample(X, targets),
                batch_size=batch_size,
                sampling_seed=seeds[1],
                is_partial=is_partial,
            ).initialize()
            if self.callbacks:
                check_callbacks(net, validates=validation is not None)
            if previous:
                carry_over(self, previous, net, indices, optimizer=is_partial)
            elif self.backbone_lr == 0:
                self._warn_if_random_weights_stay(net)
            n_before = len(net.history)
            late_callbacks = [sklearn_callbacks]
            if self.verbose:
                late_callbacks.append(progress(type(self).__name__, self.verbose))
            if checkpoint is not None:
                n_before = checkpoint.begin(n_before)
                net.checkpoint_ = checkpoint
                late_callbacks.append(SaveCheckpoint())
            net.add_callbacks(before=[Diagnostics(), validation], after=late_callbacks)
            stack.enter_context(limited_threads(net, X, training=True))
            net.partial_fit(X, targets)
            return self._keep(net, n_before, validation, checkpoint)

    def _check_data(self, X, y, *, reset):
        """Check the samples; return those that can be read, with numbered classes."""
        X = make_source(self, X, reset=reset)
        self._n_features_out = self.n_components
        if self.image_size is not None:
            check_image_size(self)
        classes, targets = check_targets(self, X, y)
        if X.on_bad_image == "skip":
            X, targets = drop_bad_images(self, X, targets, classes)
            kept, targets = np.unique(targets, return_inverse=True)
            classes = classes[kept]
        return X, classes, targets

    def _make_net(
        self,
        X,
        n_classes,
        net_params,
        *,
        sample,
        batch_size,
        sampling_seed,
        is_partial,
    ):
        """Build the network, the loss and the net that trains them."""
        network = build_network(
            self.module,
            net_params.pop("module"),
            X,
            n_components=self.n_components,
            augment=self.augment,
            sample=sample,
            device=self.device_,
        )
        schedule_params = net_params.pop("schedule_params")
        backbone_lr, frozen = fine_tuning(network, self.lr, self.backbone_lr)
        return EmbeddingNet(
            network,
            criterion=self._make_loss(n_classes, len(X)),
            max_epochs=1 if is_partial else self.max_epochs,
            optimizer=resolve_optimizer(self.optimizer),
            lr=self.lr,
            lr_schedule=None if is_partial else self.lr_schedule,
            schedule_params=None if is_partial else schedule_params,
            batch_size=batch_size,
            sampling_seed=sampling_seed,
            samples_per_class=self.samples_per_class,
            weight_decay=self.weight_decay,
            proxy_lr=self.proxy_lr,
            backbone_lr=backbone_lr,
            precision=self.precision,
            micro_batch_size=self.micro_batch_size,
            train_split=None,
            device=str(self.device_),
            verbose=self.verbose,
            callbacks=clone(self.callbacks, safe=False),
            **(frozen | net_params),  # under their names in skorch
        )

    def _warn_if_random_weights_stay(self, net):
        """Warn of a backbone that is frozen before it has learned anything."""
        # A class of the user's, as an instance, may have weights from elsewhere.
        is_ours = self.module is None or isinstance(self.module, str)
        has_own_rates = hasattr(net, "optimizer__param_groups")
        if is_ours and not has_own_rates:
            backbone = net.module_.backbone
            if not is_pretrained(backbone):
                warn(
                    "backbone_lr=0 freezes the random weights that the network "
                    f"({type(backbone).__name__}) begins with: only its head learns. "
                    "It is for pretrained networks; leave it at None for others, or "
                    "set it for a warm start."
                )

    def _keep(self, net, n_before, validation, checkpoint):
        """Keep a trained net and the history of its training."""
        fitted = self._fitted_attributes(net)
        n_epochs, n_planned = fitted["n_iter_"], n_before + net.max_epochs
        self.__dict__.pop("_interrupted_from", None)
        if net.interrupted_ and n_epochs == n_before:
            raise KeyboardInterrupt
        if net.interrupted_ and n_epochs < n_planned:
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
        names = inspect.signature(self.loss_class).parameters
        own = [f"{n}={getattr(self, n)!r}" for n in names if hasattr(self, n)]
        warn_of_failures(epochs, self.n_components, own)
        return self

    def _fitted_attributes(self, net):
        """Return the fitted attributes that a trained net makes, by name."""
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
    """Delete what a fit has set."""
    for name in [*vars(embedder)]:
        if name.endswith("_") or name.startswith(("_held_out", "_interrupted")):
            delattr(embedder, name)


@contextmanager
def unchanged_on_error(embedder):
    """Leave an embedder as it was before if anything raises, in a block."""
    before = dict(vars(embedder))
    try:
        yield
    except BaseException:
        drop_fitted(embedder)
        vars(embedder).update(before)
        raise
