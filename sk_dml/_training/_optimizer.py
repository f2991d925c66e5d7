"""Optimizers: classes, groups of parameters, frozen parts, learning rate schedules."""

import math
import warnings
from contextlib import contextmanager
from fnmatch import fnmatchcase
from numbers import Integral, Real
from typing import Any

import torch
from sklearn.utils._param_validation import Interval
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

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
    if freeze_batch_norm and not frozen:
        raise ValueError(
            "net_params holds freeze_batch_norm=True, but the network has no batch "
            "norm. Allowed is False."
        )
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


@contextmanager
def freeze(network, trained, *, backbone_lr, freeze_batch_norm):
    """Freeze what is not trained, in a block; yield the modules to keep in evaluation.

    With ``backbone_lr=0`` these are all of the backbone but its head, and but for
    modules all of whose parameters are in the set ``trained``, by rates of their own.
    Gradients of parameters that are not trained would add up from step to step, as no
    optimizer sets them to zero, and count where gradients are clipped.
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
    parameters = [
        p for p in network.parameters() if p.requires_grad and p not in trained
    ]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield frozen
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def batch_norms(network):
    """Return the batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


SCHEDULES = ("cosine", "onecycle", "step", "plateau")
# Those whose every step depends on the number of all steps.
SPREAD_SCHEDULES = ("cosine", "onecycle")

# Below this many steps, one cycle would rise and fall in tiny ones.
SHORTEST_CYCLE = 10
ONECYCLE_RISE = 0.3  # share of the steps
ONECYCLE_START, ONECYCLE_END = 1 / 25, 1 / 25e4  # as torch's OneCycleLR
IMPROVEMENT = 1e-4  # relative, as torch's ReduceLROnPlateau

POSITIVE = Interval(Real, 0, None, closed="neither")
# Allowed values of each setting, and the schedules that take it.
SETTINGS = {
    "warmup": (Interval(Real, 0, None, closed="left"), (None, *SCHEDULES)),
    "step_size": (POSITIVE, ("step",)),
    "gamma": (Interval(Real, 0, 1, closed="right"), ("step",)),
    "patience": (Interval(Integral, 0, None, closed="left"), ("plateau",)),
    "factor": (Interval(Real, 0, 1, closed="neither"), ("plateau",)),
}


def check_schedule(name, settings, max_epochs):
    """Check the settings of a schedule: known, used by it, and in their range."""
    for key, value in settings.items():
        given = f"net_params holds lr_schedule__{key}={value!r}"
        allowed = [f"lr_schedule__{k}" for k, (_, of) in SETTINGS.items() if name in of]
        if f"lr_schedule__{key}" not in allowed:
            raise ValueError(
                f"{given}, which lr_schedule={name!r} does not take. Allowed are: "
                f"{allowed}."
            )
        domain = SETTINGS[key][0]
        if isinstance(value, bool) or not domain.is_satisfied_by(value):
            raise ValueError(f"{given}; allowed is {domain}.")
    if settings.get("warmup", 0) >= max_epochs:
        raise ValueError(
            f"net_params holds lr_schedule__warmup={settings['warmup']!r}; allowed are "
            f"epochs below max_epochs={max_epochs}."
        )


class Schedule:
    """Schedule of an optimizer's learning rates, as LambdaLR and ReduceLROnPlateau.

    All groups of parameters move in proportion, each from its own learning rate. In the
    first ``warmup`` epochs the rates rise, linearly but for "onecycle" (None: 30 % of
    the steps for "onecycle", else 0). "step" multiplies them by ``gamma`` every
    ``step_size`` epochs, "plateau" by ``factor`` after more than ``patience`` epochs
    without improvement.
    """

    def __init__(
        self,
        name,
        optimizer,
        n_batches,
        n_epochs,
        *,
        warmup=None,
        step_size=20,
        gamma=0.1,
        patience=5,
        factor=0.1,
    ):
        self.name = name
        self.n_steps = n_batches * n_epochs
        if name == "onecycle" and warmup is None:
            self.rise = ONECYCLE_RISE * self.n_steps
        else:
            self.rise = (warmup or 0) * n_batches
        self.drop_every, self.gamma = step_size * n_batches, gamma
        self.by_step: Any = None
        self.plateau: Any = None
        is_short_cycle = name == "onecycle" and self.n_steps < SHORTEST_CYCLE
        if is_short_cycle or (name is None and not self.rise):
            return  # rates that stay are left to callbacks
        self.by_step = LambdaLR(optimizer, lambda step: self._factor(step))
        if name == "plateau":
            self.plateau = ReduceLROnPlateau(
                optimizer, "max", factor, patience, 0.0, threshold_mode="abs", eps=0.0
            )

    @property
    def is_rising(self):
        """Whether the rates have not come to their top yet."""
        return self.by_step is not None and self.by_step.last_epoch < self.rise

    def step(self):
        """Move the rates, after a step of the optimizer."""
        if self.by_step is None:
            return
        if self.by_step.last_epoch:
            self.by_step.step()
            return
        with warnings.catch_warnings():  # float16 may skip the optimizer's first step
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            self.by_step.step()

    def end_epoch(self, row):
        """Let "plateau" look at the epoch's row: ``valid_score``, or ``train_loss``."""
        plateau, by_step = self.plateau, self.by_step
        if not by_step.last_epoch:  # it is an epoch before this schedule
            return
        score = row.get("valid_score")
        if math.isfinite(plateau.best):  # torch's relative threshold needs values > 0
            plateau.threshold = IMPROVEMENT * abs(plateau.best)
        before = plateau.optimizer.param_groups[0]["lr"]
        plateau.step(-row["train_loss"] if score is None else score)
        if plateau.optimizer.param_groups[0]["lr"] < before:  # also in steps to come
            by_step.base_lrs = [plateau.factor * rate for rate in by_step.base_lrs]

    def state_dict(self):
        """Return the states of torch's schedulers, without their optimizer."""
        parts = {"by_step": self.by_step, "plateau": self.plateau}
        return {name: part.state_dict() for name, part in parts.items() if part}

    def load_state_dict(self, state):
        """Continue from a state; the optimizer's own holds the present rates."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)

    def _factor(self, step):
        """Return what the rates are multiplied by in a step, the first being 0."""
        last = self.n_steps - 1
        step = min(step, last)
        if self.name == "onecycle":
            top = self.rise - 1
            if step <= top:
                return _half_wave(ONECYCLE_START, 1.0, step / top if top else 1.0)
            return _half_wave(1.0, ONECYCLE_END, (step - top) / (last - top))
        factor = min(1.0, (step + 1) / self.rise) if self.rise else 1.0
        if self.name == "cosine" and step >= self.rise:
            left = (step - self.rise) / (self.n_steps - self.rise)
            factor *= _half_wave(1.0, 0.0, left)
        elif self.name == "step":
            factor *= self.gamma ** (step // self.drop_every)
        return factor


def _half_wave(start, end, share):
    """Return the point between start and end on half a wave of the cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
