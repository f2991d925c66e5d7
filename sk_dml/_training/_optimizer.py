"""What the optimizer trains, at which rate, and what is frozen."""

from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch.nn.modules.batchnorm import _BatchNorm

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


def faster_steps(optimizer):
    """Say which of torch's ways to step takes the least time.

    Parameters
    ----------
    optimizer : type
        A torch optimizer class.

    Returns
    -------
    dict
        Its argument: one pass over each weight, or one call for all of them.
    """
    if optimizer is torch.optim.RMSprop:
        return {"foreach": True}
    return {"fused": True} if optimizer in OPTIMIZERS.values() else {}


def find_head(backbone):
    """Find the part of a network that makes the embedding.

    Parameters
    ----------
    backbone : torch.nn.Module

    Returns
    -------
    torch.nn.Module or None
        The submodule named ``head`` or, without one, the last that has parameters of
        its own; None if there are no parameters besides.
    """
    head = getattr(backbone, "head", None)
    if not isinstance(head, torch.nn.Module):
        own = [m for m in backbone.modules() if list(m.parameters(recurse=False))]
        head = own[-1] if own else backbone
    in_head = set(head.parameters())
    return None if in_head.issuperset(backbone.parameters()) else head


def parameter_groups(
    network, criterion, *, lr, backbone_lr, proxy_lr, weight_decay, patterns=()
):
    """Sort the parameters by their settings.

    Parameters
    ----------
    network, criterion : torch.nn.Module
        What is trained.
    lr : float
    backbone_lr : float or None
        For all of the network but its head; 0 leaves it out.
    proxy_lr : float or None
        For the criterion; None takes ten times ``lr``: each proxy is trained by few
        samples of a batch.
    weight_decay : float
        For the weights of the network; biases and norms, which have one axis, and the
        parameters of the criterion are spared.
    patterns : list of tuple (str, dict), default=()
        Settings for the parameters of the backbone whose names match, first come first
        served, before all others.

    Returns
    -------
    list of dict
        Groups as torch's optimizers take them. The first has the rate ``lr``, but for
        patterns.

    Raises
    ------
    ValueError
        If a pattern matches nothing, the backbone is nothing but head, or there is
        nothing to train.
    """
    backbone = getattr(network, "backbone", network)
    in_head = set(backbone.parameters())
    if backbone_lr is not None:
        head = find_head(backbone)
        if head is None:
            raise ValueError(
                f"backbone_lr={backbone_lr} has no effect: all parameters of the "
                "network belong to its head, its last layer, which learns with lr. "
                "Allowed is None."
            )
        in_head = set(head.parameters())
    groups: dict = {}
    matched = set()
    named = dict(backbone.named_parameters())
    for name, parameter in sorted(named.items(), key=lambda x: x[1] not in in_head):
        rate = lr if parameter in in_head else backbone_lr
        decay = weight_decay if parameter.ndim > 1 else 0.0
        matches = [i for i, (p, _) in enumerate(patterns) if fnmatchcase(name, p)]
        matched.update(matches)
        place = matches[0] if matches else None
        given = {} if place is None else patterns[place][1]
        settings = {"lr": rate, "weight_decay": decay, **given}
        if parameter.requires_grad and settings["lr"] != 0:
            group = groups.setdefault((place, rate, decay), {"params": [], **settings})
            group["params"].append(parameter)
    for i, (pattern, _) in enumerate(patterns):
        if i not in matched:
            raise ValueError(
                f"net_params holds optimizer__param_groups with the pattern "
                f"{pattern!r}, which matches no parameter of the network. They are: "
                f"{list(named)}."
            )
    learned = [p for p in criterion.parameters() if p.requires_grad]
    if learned:
        rate = 10 * lr if proxy_lr is None else proxy_lr
        groups["loss"] = {"params": learned, "weight_decay": 0.0, "lr": rate}
    if not groups:
        raise ValueError(
            "module has no parameters to train (none that requires a gradient), and "
            "neither has the loss; give a network that can learn."
        )
    return list(groups.values())


def frozen_modules(network, *, backbone_lr, freeze_batch_norm):
    """List the modules that training leaves in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Module
    backbone_lr : float or None
        0 freezes all of the backbone but its head.
    freeze_batch_norm : bool
        Whether to freeze all batch norms.

    Returns
    -------
    list of torch.nn.Module
    """
    backbone = getattr(network, "backbone", network)
    found = []
    if backbone_lr == 0:
        head = find_head(backbone)
        kept = set() if head is None else set(head.modules())
        found += [m for m in backbone.modules() if m not in kept]
    if freeze_batch_norm:
        found += batch_norms(backbone)
    return found


def batch_norms(network):
    """List the batch norms of a network.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    list of torch.nn.Module
    """
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def without_gradients(modules):
    """Keep the gradients of frozen modules from being computed, for a while.

    Parameters
    ----------
    modules : list of torch.nn.Module
        Their own parameters are meant, not those of their submodules.
    """
    parameters = [
        p for m in modules for p in m.parameters(recurse=False) if p.requires_grad
    ]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
