"""``net_params``: settings of the skorch net under their skorch names."""

import inspect
from typing import Any

import torch

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
    "iterator_train__batch_sampler": "samples_per_class",
    "iterator_train__sampler": "samples_per_class",
    "iterator_train__shuffle": "samples_per_class",
    "iterator_train__drop_last": "batch_size",
    "module__n_components": "n_components",
}


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
    """
    given = embedder.net_params or {}
    own = embedder.get_params(deep=False)
    optimizer = OPTIMIZERS.get(embedder.optimizer, embedder.optimizer)
    accepted = list(inspect.signature(optimizer).parameters)
    checked: dict[str, Any] = {"module": {}, "optimizer": optimizer}
    if "fused" in accepted and optimizer in OPTIMIZERS.values():
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
        if prefix == "optimizer" and name not in accepted:
            raise ValueError(
                f"net_params holds {key!r}, which {optimizer.__name__} does not take. "
                f"Allowed are: {[f'optimizer__{n}' for n in accepted[1:]]}."
            )
        if prefix == "module":
            checked["module"][name] = value
        else:
            checked[key] = value
    return checked
