"""``net_params``: settings of the skorch net under their skorch names."""

import inspect
from numbers import Real
from typing import Any

import torch
from torch.utils.data import DataLoader

from sk_dml._training._optimizer import check_schedule, resolve_optimizer

NET_PREFIXES = (
    "module",
    "optimizer",
    "iterator_train",
    "iterator_valid",
    "callbacks",
    "compile",
    "lr_schedule",
)
# Settings without a prefix: their type, and the allowed values in words.
SWITCH = (bool, "True and False")
POSITIVE = (Real, "numbers above 0")
NET_KEYS: dict[str, tuple[Any, str]] = {
    "compile": SWITCH,
    "freeze_batch_norm": SWITCH,
    "gradient_clip_value": POSITIVE,
    "gradient_clip_norm_type": POSITIVE,
}
# Settings that a parameter of the embedder decides.
DECIDED = {
    "optimizer__lr": "lr",
    "optimizer__params": "optimizer",
    "optimizer__weight_decay": "weight_decay",
    "iterator_train__batch_size": "batch_size",
    "module__n_components": "n_components",
}
# Arguments of a DataLoader that the net decides.
DECIDED_LOADER = {"dataset", "sampler", "batch_sampler", "shuffle", "drop_last"}
ANY = "**"  # among the arguments of what takes any
GROUPS = "optimizer__param_groups"


def is_net_key(key, own):
    """Return whether ``net_params`` may hold a key that is no parameter in ``own``."""
    prefix, delimiter, _ = key.partition("__")
    return key not in own and (
        key in NET_KEYS or (bool(delimiter) and prefix in NET_PREFIXES)
    )


def check_net_params(embedder):
    """Return ``net_params`` as arguments of the net, once they are checked.

    Those of the module are a dict under "module", those of the schedule one under
    "schedule_params".
    """
    given = embedder.net_params or {}
    checked: dict[str, Any] = {"module": {}, "schedule_params": {}}
    if not given:
        return checked
    own = embedder.get_params(deep=False)
    owners: dict[str, Any] = {
        "optimizer": resolve_optimizer(embedder.optimizer),
        "iterator_train": DataLoader,
        "iterator_valid": DataLoader,
        "compile": torch.compile,
    }
    accepted = {prefix: _arguments(owner) for prefix, owner in owners.items()}
    accepted["optimizer"].append("param_groups")
    for key, value in given.items():
        if not isinstance(key, str):
            raise TypeError(f"net_params holds the key {key!r}; allowed are strings.")
        if key in DECIDED or key in own:
            raise ValueError(
                f"net_params holds {key!r}: set the parameter {DECIDED.get(key, key)} "
                "instead."
            )
        if not is_net_key(key, own):
            raise ValueError(
                f"net_params holds the unknown key {key!r}. Allowed are "
                f"{', '.join(map(repr, NET_KEYS))} and keys that start with one of "
                f"{[f'{p}__' for p in NET_PREFIXES]}."
            )
        prefix, delimiter, name = key.partition("__")
        arguments = accepted.get(prefix, [ANY]) if delimiter else [ANY]
        if name not in arguments and ANY not in arguments:
            raise ValueError(
                f"net_params holds {key!r}, which {owners[prefix].__name__} does not "
                f"take. Allowed are: {[f'{prefix}__{n}' for n in arguments]}."
            )
        if key.startswith("compile__") and not given.get("compile"):
            raise ValueError(f"net_params holds {key!r}, but not compile=True.")
        if prefix == "callbacks" and not embedder.callbacks:
            raise ValueError(f"net_params holds {key!r}, but callbacks is None.")
        if key in NET_KEYS:
            _check_value(key, value)
        if prefix == "module":
            checked["module"][name] = value
        elif prefix == "lr_schedule":
            checked["schedule_params"][name] = value
        else:
            checked[key] = value
    _check_optimizer(owners["optimizer"], given, accepted["optimizer"], embedder.lr)
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


def _check_optimizer(optimizer, given, accepted, lr):
    """Let the optimizer check its settings, alone and with those of every group."""
    common = {
        key.removeprefix("optimizer__"): value
        for key, value in given.items()
        if key.startswith("optimizer__") and key != GROUPS
    }
    tried: list[tuple[str, dict]] = [(f"optimizer__*={common!r}", {})] if common else []
    groups = given.get(GROUPS, ())
    try:
        for pattern, settings in groups:
            if not isinstance(pattern, str) or not isinstance(settings, dict):
                raise TypeError
            tried.append((f"{GROUPS} with {(pattern, settings)!r}", settings))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"net_params holds {GROUPS}={groups!r}; allowed is a list of tuples "
            "(pattern of names, dict of settings), such as "
            "[('layer1*', {'lr': 1e-4})]."
        ) from error
    for text, settings in tried:
        unknown = settings.keys() - set(accepted)
        if unknown and ANY not in accepted:
            raise ValueError(
                f"net_params holds {text} with {sorted(unknown)}, which the optimizer "
                f"does not take. Allowed are: {accepted[:-1]}."
            )
        for name in {"lr", "weight_decay"} & settings.keys():
            # Not all optimizers look at these: SGD takes NaN.
            if not isinstance(settings[name], Real) or not settings[name] >= 0:
                raise ValueError(
                    f"net_params holds {text}: {name}={settings[name]!r} must be a "
                    "number of 0 or more."
                )
        try:
            parameter = torch.nn.Parameter(torch.zeros(1))
            optimizer([parameter], **{"lr": lr, **common, **settings})
        except Exception as error:
            raise ValueError(
                f"net_params holds {text}, which {optimizer.__name__} refuses: {error}"
            ) from error


def _arguments(constructor):
    """Return the arguments that net_params may set, without the first."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return [
        ANY if parameter.kind is parameter.VAR_KEYWORD else parameter.name
        for parameter in parameters
        if not (constructor is DataLoader and parameter.name in DECIDED_LOADER)
    ]
