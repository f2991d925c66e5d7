"""Schedules of the learning rates."""

import math
import warnings
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

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
        self.by_step = self.plateau = None
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
        # Without a step, it is an epoch before this schedule.
        if plateau is None or by_step is None or not by_step.last_epoch:
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
        step = min(step, self.n_steps - 1)
        if self.name == "onecycle":
            return self._one_cycle(step)
        factor = min(1.0, (step + 1) / self.rise) if self.rise else 1.0
        if self.name == "cosine" and step >= self.rise:
            left = (step - self.rise) / (self.n_steps - self.rise)
            factor *= _half_wave(1.0, 0.0, left)
        elif self.name == "step":
            factor *= self.gamma ** (step // self.drop_every)
        return factor

    def _one_cycle(self, step):
        top, last = self.rise - 1, self.n_steps - 1
        if step <= top:
            return _half_wave(ONECYCLE_START, 1.0, step / top if top else 1.0)
        return _half_wave(1.0, ONECYCLE_END, (step - top) / (last - top))


def _half_wave(start, end, share):
    """Return the point between start and end on half a wave of the cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
