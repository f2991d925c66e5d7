"""``net_params``: settings of the skorch net under their skorch names."""

import inspect
from numbers import Real
from typing import Any

import torch
from torch.utils.data import DataLoader

from sk_dml._training._callbacks import check_are_callbacks
from sk_dml._training._optimizer import faster_steps, resolve_optimizer
from sk_dml._training._schedule import check_schedule

NET_PREFIXES = (
    "module",
    "optimizer",
    "iterator_train",
    "iterator_valid",
    "callbacks",
    "compile",
    "lr_schedule",
)
# Settings without a prefix: of which type, and what they may be.
SWITCH = (bool, "True and False")
POSITIVE = (Real, "numbers above 0")
NET_KEYS: dict[str, tuple[Any, str]] = {
    "compile": SWITCH,
    "freeze_batch_norm": SWITCH,
    "gradient_clip_value": POSITIVE,
    "gradient_clip_norm_type": POSITIVE,
}
# Settings of the skorch net that the embedder decides, and the parameter that does.
DECIDED = {
    "optimizer__lr": "lr",
    "optimizer__params": "optimizer",
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
        key in NET_KEYS or (bool(delimiter) and prefix in NET_PREFIXES)
    )


def check_net_params(embedder):
    """Check ``net_params`` against what the embedder and its optimizer know.

    Parameters
    ----------
    embedder : BaseEmbedder

    Returns
    -------
    dict
        Arguments for the net, with the optimizer's class under "optimizer" and, as
        dicts, the arguments of the backbone under "module" and those of the schedule
        under "schedule_params".

    Raises
    ------
    ValueError
        If a key is unknown, the embedder has a parameter for it, or the optimizer
        refuses a setting.
    TypeError
        If ``callbacks`` or ``optimizer`` hold something else, or a key is no string.
    """
    check_are_callbacks(embedder.callbacks)
    given = embedder.net_params or {}
    own = embedder.get_params(deep=False)
    optimizer = resolve_optimizer(embedder.optimizer)
    owners: dict[str, Any] = {
        "optimizer": optimizer,
        "iterator_train": DataLoader,
        "iterator_valid": DataLoader,
        "compile": torch.compile,
    }
    accepted = {prefix: _arguments(owner) for prefix, owner in owners.items()}
    accepted["optimizer"].append("param_groups")
    checked: dict[str, Any] = {"module": {}, "schedule_params": {}}
    alternatives = {f"optimizer__{n}" for n in ("fused", "foreach", "differentiable")}
    if not alternatives & set(given):
        faster = faster_steps(optimizer)
        checked |= {f"optimizer__{name}": value for name, value in faster.items()}
    for key, value in given.items():
        if not isinstance(key, str):
            raise TypeError(f"net_params holds the key {key!r}; allowed are strings.")
        if key in DECIDED or key in own:
            raise ValueError(
                f"net_params holds {key!r}, which {type(embedder).__name__} decides "
                f"itself: set its parameter {DECIDED.get(key, key)} instead."
            )
        if not is_net_key(key, own):
            raise ValueError(
                f"net_params holds the unknown key {key!r}. Allowed are "
                f"{', '.join(map(repr, NET_KEYS))} and keys that start with one of "
                f"{[f'{p}__' for p in NET_PREFIXES]}."
            )
        prefix, delimiter, name = key.partition("__")
        taken = accepted.get(prefix, [ANY]) if delimiter else [ANY]
        if name not in taken and ANY not in taken:
            raise ValueError(
                f"net_params holds {key!r}, which {owners[prefix].__name__} does not "
                f"take. Allowed are: {[f'{prefix}__{n}' for n in taken]}."
            )
        if key.startswith("compile__") and not given.get("compile"):
            raise ValueError(f"net_params holds {key!r}, but not compile=True.")
        if prefix == "callbacks" and not embedder.callbacks:
            raise ValueError(f"net_params holds {key!r}, but callbacks is None.")
        if key in NET_KEYS:
            _check_value(key, value)
        if key == "optimizer__param_groups":
            _check_groups(value, accepted["optimizer"])
        if prefix == "module":
            checked["module"][name] = value
        elif prefix == "lr_schedule":
            checked["schedule_params"][name] = value
        else:
            checked[key] = value
    _try_optimizer(optimizer, given, embedder.lr)
    check_schedule(
        embedder.lr_schedule, checked["schedule_params"], embedder.max_epochs
    )
    return checked


def _check_value(key, value):
    kind, allowed = NET_KEYS[key]
    is_switch = isinstance(value, bool)
    fits = is_switch if kind is bool else isinstance(value, kind) and value > 0
    if not fits or is_switch != (kind is bool):
        raise ValueError(f"net_params holds {key}={value!r}; allowed are {allowed}.")


def _check_groups(groups, accepted):
    """Check what names of parameters are given as settings of their own."""
    given = f"net_params holds optimizer__param_groups={groups!r}"
    pairs = isinstance(groups, (list, tuple)) and all(
        isinstance(g, (list, tuple)) and len(g) == 2 and isinstance(g[0], str)
        for g in groups
    )
    if not pairs or not all(isinstance(settings, dict) for _, settings in groups):
        raise ValueError(
            f"{given}; allowed is a list of tuples (pattern of names, dict of "
            "settings), such as [('layer1*', {'lr': 1e-4})]."
        )
    unknown = {name for _, settings in groups for name in settings} - set(accepted)
    if unknown and ANY not in accepted:
        raise ValueError(
            f"{given} with {sorted(unknown)}, which the optimizer does not take. "
            f"Allowed are: {[name for name in accepted if name != 'param_groups']}."
        )


def _try_optimizer(optimizer, given, lr):
    """Let the optimizer itself check its settings, and those of every group."""
    groups = "optimizer__param_groups"
    prefix = "optimizer__"
    common = {
        key.removeprefix(prefix): value
        for key, value in given.items()
        if key.startswith(prefix) and key != groups
    }
    tried: list[tuple[str, dict]] = [(f"{prefix}*={common!r}", {})] if common else []
    tried += [(f"{groups} with {g!r}", g[1]) for g in given.get(groups, ())]
    for what, settings in tried:
        for name in [n for n in ("lr", "weight_decay") if n in settings]:
            value = settings[name]
            # Not all optimizers look at these, and none says that a string is one.
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not value >= 0:
                raise ValueError(
                    f"net_params holds {what}: {name}={value!r} must be a number of 0 "
                    "or more."
                )
        try:
            parameter = torch.nn.Parameter(torch.zeros(1))
            optimizer([parameter], **{"lr": lr, **common, **settings})
        except Exception as error:
            raise ValueError(
                f"net_params holds {what}, which {optimizer.__name__} refuses: {error}"
            ) from error


def _arguments(constructor):
    """List what net_params may set of a constructor, its first argument aside."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return [
        ANY if parameter.kind is parameter.VAR_KEYWORD else parameter.name
        for parameter in parameters
        if not (constructor is DataLoader and parameter.name in DECIDED_LOADER)
    ]
