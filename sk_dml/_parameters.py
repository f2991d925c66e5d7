"""The parameters that all embedders share."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sk_dml._training import OPTIMIZERS, PRECISIONS, SCHEDULES, is_net_key

# Of a batch of 32 such images, the float32 pixels alone take 2 GB.
LARGEST_IMAGE = 2048


@dataclass(eq=False, repr=False)
class EmbedderParameters(BaseEstimator):
    """The shared parameters, and the entries of ``net_params`` beside them."""

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
