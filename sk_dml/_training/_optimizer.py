"""Optimizers: their classes, groups of parameters, and frozen parts."""

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
# Ways to step, of which torch takes one: by default the fastest is chosen.
WAYS = {"fused", "foreach", "differentiable"}


def resolve_optimizer(optimizer):
    """Return the class of an optimizer: one of OPTIMIZERS by its name, or a class."""
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


def build_optimizer(optimizer, groups, settings):
    """Build an optimizer of a class, for groups of parameters."""
    if not WAYS & settings.keys():
        settings = {**_fastest_way(optimizer), **settings}
    try:
        return optimizer(groups, **settings)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"optimizer {optimizer.__name__} cannot be built with the settings "
            f"{settings} (net_params gives them as optimizer__*) for the parameters of "
            f"the network and the loss: {error}"
        ) from error


def _fastest_way(optimizer):
    if optimizer is torch.optim.RMSprop:  # has no fused steps
        return {"foreach": True}
    return {"fused": True} if optimizer in OPTIMIZERS.values() else {}


def find_head(backbone):
    """Return the submodule that makes the embedding, or None if there is nothing else.

    It is the one named ``head`` or, without one, the last with parameters of its own.
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
    """Return groups of parameters, as torch's optimizers take them.

    The first has the rate ``lr``, that of the head. The rest of the network has
    ``backbone_lr`` (None: ``lr``; 0 leaves it out), and the criterion ``proxy_lr``
    (None: 10 ``lr``, as each proxy is trained by few samples of a batch). Biases, norms
    and the criterion have no decay. ``patterns`` are pairs of a pattern of names in the
    backbone and the settings of what matches it, which come before all others; the
    first match counts.
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
    left_out = {parameter for norm in frozen for parameter in norm.parameters()}
    groups: dict = {}
    matched = set()
    named = dict(backbone.named_parameters())
    for name, parameter in sorted(named.items(), key=lambda x: x[1] not in in_head):
        rate = lr if parameter in in_head else backbone_lr
        decay = weight_decay if parameter.ndim > 1 else 0.0
        matches = [i for i, (p, _) in enumerate(patterns) if fnmatchcase(name, p)]
        matched.update(matches)
        first = matches[0] if matches else None
        given = {} if first is None else patterns[first][1]
        settings = {"lr": rate, "weight_decay": decay, **given}
        is_trained = parameter.requires_grad and parameter not in left_out
        if is_trained and settings["lr"] != 0:
            group = groups.setdefault((first, rate, decay), {"params": [], **settings})
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


def trained_parameters(optimizer):
    """Return the set of the parameters that an optimizer trains."""
    return {p for group in optimizer.param_groups for p in group["params"]}


def frozen_modules(network, trained, *, backbone_lr, freeze_batch_norm):
    """Return the modules that training leaves in evaluation mode.

    With ``backbone_lr=0`` these are all of the backbone but its head, and but for
    modules all of whose parameters are in the set ``trained``, by rates of their own.
    """
    backbone = getattr(network, "backbone", network)
    frozen = []
    if backbone_lr == 0:
        head = find_head(backbone)
        kept = set() if head is None else set(head.modules())
        for module in backbone.modules():
            own = set(module.parameters())
            if own and own <= trained:
                kept.update(module.modules())
        frozen += [m for m in backbone.modules() if m not in kept]
    if freeze_batch_norm:
        frozen += batch_norms(backbone)
    return frozen


def batch_norms(network):
    """Return the batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def without_gradients(network, trained):
    """Compute gradients of trained parameters only, in a block.

    Those of others would add up from step to step, as no optimizer sets them to zero,
    and count where gradients are clipped.
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
