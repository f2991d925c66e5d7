"""How the learning rates move in the course of a training."""

import math
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval

SCHEDULES = ("cosine", "onecycle", "step", "plateau")
# Those whose every step depends on the number of all steps.
SPREAD_SCHEDULES = ("cosine", "onecycle")

# Below this many steps, one cycle would rise and fall in tiny ones.
SHORTEST_CYCLE = 10
ONECYCLE_RISE = 0.3  # share of the steps
ONECYCLE_START, ONECYCLE_END = 1 / 25, 1 / 25e4  # as torch's OneCycleLR
IMPROVEMENT = 1e-4  # relative, as torch's ReduceLROnPlateau

POSITIVE = Interval(Real, 0, None, closed="neither")
# What each setting may be, and which schedules take it.
SETTINGS = {
    "warmup": (Interval(Real, 0, None, closed="left"), (None, *SCHEDULES)),
    "step_size": (POSITIVE, ("step",)),
    "gamma": (Interval(Real, 0, 1, closed="right"), ("step",)),
    "patience": (Interval(Integral, 0, None, closed="left"), ("plateau",)),
    "factor": (Interval(Real, 0, 1, closed="neither"), ("plateau",)),
}


def check_schedule(name, settings, max_epochs):
    """Check the settings of a schedule.

    Parameters
    ----------
    name : str or None
        The schedule.
    settings : dict
        Those given.
    max_epochs : int

    Raises
    ------
    ValueError
        If a setting is unknown, of no use to this schedule or out of range.
    """
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
    """Sets the learning rates of an optimizer, step by step.

    Every group of parameters moves in proportion, from its own learning rate.

    Parameters
    ----------
    name : str or None
        One of SCHEDULES; None keeps the rates, but for a warm-up.
    optimizer : torch.optim.Optimizer
    n_batches : int
        Steps an epoch.
    n_epochs : int
    warmup : float or None, default=None
        Epochs in which the rates rise, linearly but for "onecycle". None takes 30 % of
        the steps for "onecycle" and 0 otherwise.
    step_size : float, default=20
        Epochs between the drops of "step".
    gamma : float, default=0.1
        What "step" multiplies the rates by.
    patience : int, default=5
        Epochs without improvement that "plateau" waits for.
    factor : float, default=0.1
        What "plateau" multiplies the rates by.
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
        self.optimizer = optimizer
        self.n_steps = n_batches * n_epochs
        if name == "onecycle" and warmup is None:
            self.rise = ONECYCLE_RISE * self.n_steps
        else:
            self.rise = (warmup or 0) * n_batches
        self.drop_every = step_size * n_batches
        self.gamma = gamma
        self.patience = patience
        self.factor = factor
        self.taken = 0  # steps
        self.plateau: dict[str, Any] = {"scale": 1.0, "best": None, "waited": 0}
        # Rates that stay are left to callbacks.
        self.is_constant = name is None and not self.rise
        self.is_constant |= name == "onecycle" and self.n_steps < SHORTEST_CYCLE
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._set()

    @property
    def is_rising(self):
        """Whether the rates have not come to their top yet."""
        return not self.is_constant and self.taken < self.rise

    def step(self):
        """Move the rates, after a step of the optimizer."""
        self.taken += 1
        self._set()

    def end_epoch(self, row):
        """Let "plateau" see how the epoch went.

        Parameters
        ----------
        row : dict
            The epoch in the history: its ``valid_score`` counts, or its ``train_loss``
            where there is none.
        """
        if self.name != "plateau" or not self.taken:  # an epoch before this schedule
            return
        score = row.get("valid_score")
        value = -row["train_loss"] if score is None else score
        state = self.plateau
        best = state["best"]
        if best is None or value > best + IMPROVEMENT * abs(best):
            state.update(best=float(value), waited=0)
        else:
            state["waited"] += 1
        if state["waited"] > self.patience:
            state.update(scale=state["scale"] * self.factor, waited=0)
            self._set()

    def state_dict(self):
        """Return what is needed to go on, as numbers.

        Returns
        -------
        dict
        """
        return {"taken": self.taken, **self.plateau}

    def load_state_dict(self, state):
        """Go on where :meth:`state_dict` was taken.

        Parameters
        ----------
        state : dict
        """
        self.taken = state["taken"]
        self.plateau = {key: state[key] for key in self.plateau}
        self._set()

    def _set(self):
        if self.is_constant:
            return
        factor = self._factor(min(self.taken, self.n_steps - 1))
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _factor(self, step):
        if self.name == "onecycle":
            return self._one_cycle(step)
        factor = min(1.0, (step + 1) / self.rise) if self.rise else 1.0
        if self.name == "cosine" and step >= self.rise:
            left = (step - self.rise) / (self.n_steps - self.rise)
            factor *= _between(1.0, 0.0, left)
        elif self.name == "step":
            factor *= self.gamma ** (step // self.drop_every)
        return factor * self.plateau["scale"]

    def _one_cycle(self, step):
        top, last = self.rise - 1, self.n_steps - 1
        if step <= top:
            return _between(ONECYCLE_START, 1.0, step / top if top else 1.0)
        return _between(1.0, ONECYCLE_END, (step - top) / (last - top))


def _between(start, end, share):
    """Go from start to end along half a wave of the cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
