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


def resolve_optimizer(optimizer):
    """Find the class of an optimizer.

    Parameters
    ----------
    optimizer : str or type
        One of OPTIMIZERS, or a class.

    Returns
    -------
    type

    Raises
    ------
    TypeError
        If it is no optimizer of torch, or one that takes no groups of parameters.
    """
    if isinstance(optimizer, str):
        return OPTIMIZERS[optimizer]
    if not issubclass(optimizer, torch.optim.Optimizer) or issubclass(
        optimizer, torch.optim.LBFGS
    ):
        raise TypeError(
            f"optimizer must be one of {sorted(OPTIMIZERS)} or a torch optimizer class "
            f"that takes parameter groups (not LBFGS), got {optimizer!r}."
        )
    return optimizer


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
    network,
    criterion,
    *,
    lr,
    backbone_lr,
    proxy_lr,
    weight_decay,
    freeze_batch_norm=False,
    patterns=(),
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
    freeze_batch_norm : bool, default=False
        Whether to leave the batch norms out.
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
    frozen = batch_norms(backbone) if freeze_batch_norm else []
    out = {parameter for norm in frozen for parameter in norm.parameters()}
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
        is_trained = parameter.requires_grad and parameter not in out
        if is_trained and settings["lr"] != 0:
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


def build_optimizer(optimizer, groups, settings):
    """Build an optimizer.

    Parameters
    ----------
    optimizer : type
        A torch optimizer class.
    groups : list of dict
        What :func:`parameter_groups` returns.
    settings : dict
        More arguments.

    Returns
    -------
    torch.optim.Optimizer

    Raises
    ------
    ValueError
        If torch takes no such settings, or no such parameters.
    """
    try:
        return optimizer(groups, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"optimizer {optimizer.__name__} cannot be built with the settings "
            f"{settings} (net_params gives them as optimizer__*) for the parameters of "
            f"the network and the loss: {error}"
        ) from error


def trained_parameters(optimizer):
    """Collect what an optimizer moves.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer

    Returns
    -------
    set of torch.nn.Parameter
    """
    return {p for group in optimizer.param_groups for p in group["params"]}


def frozen_modules(network, trained, *, backbone_lr, freeze_batch_norm):
    """List the modules that training leaves in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Module
    trained : set of torch.nn.Parameter
        What the optimizer moves.
    backbone_lr : float or None
        0 freezes all of the backbone but its head, and but for modules all of whose
        parameters are trained nevertheless, by rates of their own.
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
        for module in backbone.modules():
            within = set(module.parameters())
            if within and within <= trained:
                kept.update(module.modules())
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
def without_gradients(network, trained):
    """Compute no gradients but those of trained parameters, for a while.

    The others would add up from step to step, as no optimizer sets them to zero, and
    count where gradients are clipped.

    Parameters
    ----------
    network : torch.nn.Module
    trained : set of torch.nn.Parameter
        What the optimizer moves.
    """
    parameters = [
        p for p in network.parameters() if p.requires_grad and p not in trained
    ]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
