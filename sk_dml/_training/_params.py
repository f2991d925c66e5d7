"""``net_params``: settings of the skorch net under their skorch names."""

import inspect
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.utils.data import DataLoader

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
NET_PREFIXES = (
    "module",
    "optimizer",
    "iterator_train",
    "iterator_valid",
    "callbacks",
    "compile",
)
# Settings of the skorch net that the embedder decides, and the parameter that does.
DECIDED = {
    "optimizer__lr": "lr",
    "optimizer__params": "optimizer",
    "optimizer__param_groups": "lr, proxy_lr and weight_decay",
    "optimizer__weight_decay": "weight_decay",
    "iterator_train__batch_size": "batch_size",
    "module__n_components": "n_components",
}
ANY = "**"  # among the arguments of what takes any
# What a DataLoader takes and the net fills in itself.
DECIDED_LOADER = {"dataset", "sampler", "batch_sampler", "shuffle", "drop_last"}


def is_net_key(key, own):
    """Tell whether a parameter name belongs into ``net_params``.

    Parameters
    ----------
    key : str
    own : collection of str
        The embedder's own parameters.

    Returns
    -------
    bool
    """
    prefix, delimiter, _ = key.partition("__")
    return key not in own and (
        key == "compile" or (bool(delimiter) and prefix in NET_PREFIXES)
    )


def check_net_params(embedder):
    """Check ``net_params`` against what the embedder and its optimizer know.

    Parameters
    ----------
    embedder : BaseEmbedder

    Returns
    -------
    dict
        Arguments for the net, with the optimizer's class under "optimizer" and the
        arguments of the backbone, as a dict, under "module".

    Raises
    ------
    ValueError
        If a key is unknown, or the embedder has a parameter for it.
    TypeError
        If ``callbacks`` or ``optimizer`` hold something else.
    """
    for callback in embedder.callbacks or []:
        named = isinstance(callback, tuple) and len(callback) == 2
        found = callback[1] if named else callback
        if not isinstance(found, Callback) and not (
            isinstance(found, type) and issubclass(found, Callback)
        ):
            raise TypeError(
                "callbacks must be a list of skorch callbacks, or of tuples (name, "
                f"callback), got {callback!r} in it. Those of scikit-learn go to "
                "set_callbacks."
            )
    given = embedder.net_params or {}
    own = embedder.get_params(deep=False)
    optimizer = embedder.optimizer
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[optimizer]
    if (
        not isinstance(optimizer, type)
        or not issubclass(optimizer, torch.optim.Optimizer)
        or issubclass(optimizer, torch.optim.LBFGS)
    ):
        raise TypeError(
            f"optimizer must be one of {sorted(OPTIMIZERS)} or a torch optimizer class "
            f"that takes parameter groups (not LBFGS), got {optimizer!r}."
        )
    owners = {
        "optimizer": optimizer,
        "iterator_train": DataLoader,
        "iterator_valid": DataLoader,
    }
    accepted = {prefix: _arguments(owner) for prefix, owner in owners.items()}
    checked: dict[str, Any] = {"module": {}, "optimizer": optimizer}
    alternatives = {f"optimizer__{n}" for n in ("fused", "foreach", "differentiable")}
    if (
        optimizer in OPTIMIZERS.values()
        and "fused" in accepted["optimizer"]
        and not alternatives & set(given)
    ):
        checked["optimizer__fused"] = True  # one pass over each weight
    for key, value in given.items():
        if key in DECIDED or key in own:
            raise ValueError(
                f"net_params holds {key!r}, which {type(embedder).__name__} decides "
                f"itself: set its parameter {DECIDED.get(key, key)} instead."
            )
        if not is_net_key(key, own):
            raise ValueError(
                f"net_params holds the unknown key {key!r}. Allowed are 'compile' and "
                f"keys that start with one of {[f'{p}__' for p in NET_PREFIXES]}."
            )
        prefix, _, name = key.partition("__")
        taken = accepted.get(prefix)
        if taken is not None and name not in taken and ANY not in taken:
            raise ValueError(
                f"net_params holds {key!r}, which {owners[prefix].__name__} does not "
                f"take. Allowed are: {[f'{prefix}__{n}' for n in taken]}."
            )
        if prefix == "callbacks" and not embedder.callbacks:
            raise ValueError(f"net_params holds {key!r}, but callbacks is None.")
        if key == "compile" and not isinstance(value, bool):
            raise ValueError(
                f"net_params holds compile={value!r}; allowed are True and False."
            )
        if prefix == "module":
            checked["module"][name] = value
        else:
            checked[key] = value
    return checked


def _arguments(constructor):
    """List what net_params may set of a constructor, its first argument aside."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return [
        ANY if parameter.kind is parameter.VAR_KEYWORD else parameter.name
        for parameter in parameters
        if not (constructor is DataLoader and parameter.name in DECIDED_LOADER)
    ]
