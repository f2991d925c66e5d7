"""BaseEmbedder: all that makes a trained network a scikit-learn transformer."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any

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

from sk_dml._backbones import build_network
from sk_dml._training import (
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    EmbeddingNet,
    check_batch_size,
    check_inputs,
    check_net_params,
    check_step,
    check_targets,
    is_net_key,
    training_statistics,
)
from sk_dml.utils import (
    add_shared_documentation,
    resolve_device,
    torch_seed,
    warn,
)


@dataclass(eq=False, repr=False)
class BaseEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of all embedders.

    A subclass is a keyword-only dataclass in one file with its loss. It adds the
    parameters of its method with their constraints, and ``_make_loss``. Most derive
    from PairEmbedder or ProxyEmbedder.
    """

    n_components: int = 64
    _: KW_ONLY
    module: Any = None
    max_epochs: int = 100
    lr: float = 1e-3
    lr_schedule: str | None = "onecycle"
    batch_size: int | str = "auto"
    samples_per_class: int | None = 4
    optimizer: Any = "adamw"
    weight_decay: float = 1e-2
    proxy_lr: float | None = None
    backbone_lr: float | None = None
    precision: str = "float32"
    micro_batch_size: int | None = None
    device: Any = "auto"
    random_state: Any = None
    verbose: int = 0
    callbacks: list | None = None
    net_params: dict | None = None

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "module": [
            StrOptions({"linear", "mlp", "conv"}),
            HasMethods(["forward", "parameters"]),
            None,
        ],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions(set(SCHEDULES)), None],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
        ],
        "samples_per_class": [Interval(Integral, 1, None, closed="left"), None],
        "optimizer": [StrOptions(set(OPTIMIZERS)), HasMethods(["step", "zero_grad"])],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "proxy_lr": [Interval(Real, 0, None, closed="neither"), None],
        "backbone_lr": [Interval(Real, 0, None, closed="left"), None],
        "precision": [StrOptions(set(PRECISIONS))],
        "micro_batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, None],
        "net_params": [dict, None],
    }

    _doc_link_module = "sk_dml"
    _doc_link_template = (
        "https://sk-dml.readthedocs.io/en/stable/methods/{estimator_name}.html"
    )

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._make_loss is not BaseEmbedder._make_loss:  # it is a method
            add_shared_documentation(cls)

    @property
    def _compares_samples(self):
        """Whether the loss compares the samples of a batch with each other."""
        return False

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
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

        Returns
        -------
        self : object
            The fitted embedder.

        Raises
        ------
        ValueError
            If the data or a parameter do not fit, or training diverges.
        TypeError
            If y mixes labels of several kinds.
        """
        net_params = check_net_params(self)
        self.__dict__.pop("net_", None)  # a failed fit leaves nothing to embed with
        X = check_inputs(self, X, reset=True)
        classes, targets = check_targets(self, X, y)
        batch_size = check_batch_size(self, classes, targets)
        if self.n_components == 1:
            warn(
                "n_components=1 leaves rows of length one but two values, 1 and -1, "
                "and most methods no gradient. Use 2 or more."
            )
        device = resolve_device(self.device)
        check_step(self, device, batch_size)
        random_state = check_random_state(self.random_state)
        seed, sampling_seed = random_state.randint(np.iinfo(np.int32).max, size=2)
        if device.type == "mps" and X.dtype == np.float64:  # MPS has no float64
            X = X.astype(np.float32)
        with torch_seed(int(seed), device):
            net = self._make_net(
                X,
                len(classes),
                net_params,
                device=device,
                batch_size=batch_size,
                sampling_seed=int(sampling_seed),
            )
            net.fit(X, targets)
        self._input_shape = X.shape[1:]
        self.classes_, self.device_ = classes, device
        return self._keep(net)

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

    def _keep(self, net):
        """Keep a trained net and the story of its training."""
        epochs = [row for row in net.history if "train_loss" in row]
        if len(epochs) < self.max_epochs and not self.callbacks:
            if not epochs:
                raise KeyboardInterrupt
            warn(
                f"Training was interrupted in epoch {len(epochs) + 1} of "
                f"{self.max_epochs}; the embedding is as far as it came."
            )
        self.net_ = net
        self.n_iter_ = len(epochs)
        self.history_ = [
            {name: row[name] for name in ("epoch", "train_loss", "duration")}
            for row in epochs
        ]
        self.loss_curve_ = [row["train_loss"] for row in epochs]
        self._n_features_out = self.n_components
        return self

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
        if X.shape[1:] != self._input_shape:
            raise ValueError(
                f"X holds samples of shape {X.shape[1:]}, but "
                f"{type(self).__name__} was fitted with samples of shape "
                f"{self._input_shape}."
            )
        if self.device_.type == "mps" and X.dtype == np.float64:
            X = X.astype(np.float32)
        return self.net_.embed(X)

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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags
