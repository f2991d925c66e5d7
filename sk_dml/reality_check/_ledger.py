"""The book of what is to run, shared by all processes that work on a comparison.

A ledger is a study of Optuna in which every piece of work has an index. A trial of the
study is an attempt at one: the first that was not abandoned counts.
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from sk_dml.reality_check._storage import create_study, import_optuna

# Seconds between two signs of life of a process, and for how long there must be none
# before what it was running is given to others.
HEARTBEAT, SILENCE = 5.0, 60.0


@dataclass
class Attempt:
    """One attempt at a piece of work.

    Attributes
    ----------
    index : int
        Which piece.
    trial : optuna.trial.Trial
        To suggest parameters with.
    """

    index: int
    trial: Any


@dataclass
class _State:
    """What the ledger says at one moment."""

    live: dict = field(default_factory=dict)  # index -> FrozenTrial that counts
    abandoned: dict = field(default_factory=dict)  # index -> the latest that does not
    n_begun: int = 0  # indices from 0 on that have a trial


class Ledger:
    """Pieces of work, each to be done once.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    name : str
        Of the study.
    n_pieces : int
    window : int or None, default=None
        A piece may begin once those that are so many before it, and all before these,
        are done. None lets all begin at once.
    n_free : int, default=0
        So many of the first may begin at once all the same.
    description : dict or None, default=None
        What decides the outcomes, as plain values. A study that was begun with another
        is refused.

    Attributes
    ----------
    study : optuna.Study

    Raises
    ------
    ValueError
        If the study has another description.
    """

    def __init__(
        self, storage, name, n_pieces, *, window=None, n_free=0, description=None
    ):
        self.preset = _preset_sampler()
        self.study = create_study(storage, name, self.preset)
        self.n_pieces = n_pieces
        self.window = window
        self.n_free = n_free
        self.held: dict[int, Attempt] = {}
        self._signs: dict[int, tuple[int, float]] = {}
        if description is not None:
            self._describe(name, description)

    def _describe(self, name, description):
        there = self.study.user_attrs.get("description")
        if there is None:
            self.study.set_user_attr("description", description)
            return
        for key in {**there, **description}:
            if there.get(key) != description.get(key):
                before, now = _differing(there.get(key), description.get(key))
                raise ValueError(
                    f"storage holds the study {name!r}, begun with other settings: "
                    f"{key} was {before!r} and is {now!r}. "
                    "Set another study_name or another storage (--out of the "
                    "command), or go on with the same settings."
                )

    def _states(self):
        return import_optuna().trial.TrialState

    def _read(self):
        state = _State()
        n_again = 0
        fail = self._states().FAIL
        for trial in sorted(
            self.study.get_trials(deepcopy=False), key=lambda trial: trial.number
        ):
            index = trial.user_attrs.get("index")
            if index is None:
                index = trial.number - n_again
                state.n_begun = index + 1
            else:
                n_again += 1
            if trial.state == fail and "error" not in trial.user_attrs:
                state.abandoned[index] = trial
            else:
                state.live.setdefault(index, trial)
        return state

    def _may_begin(self, index, state):
        if self.window is None or index < self.n_free:
            return True
        before = (state.live.get(i) for i in range(index - self.window + 1))
        return all(trial is not None and trial.state.is_finished() for trial in before)

    def claim(self):
        """Take the next piece of work.

        Returns
        -------
        Attempt or None
            None if there is nothing to begin now.
        """
        state = self._read()
        self._give_up_silent(state)
        for index, trial in state.abandoned.items():
            if (
                index < self.n_pieces
                and index not in state.live
                and self._may_begin(index, state)
            ):
                # Once more, with the same parameters.
                self.study.enqueue_trial(trial.params, user_attrs={"index": index})
                return self._ask()
        waiting = self._states().WAITING
        if any(trial.state == waiting for trial in state.live.values()):
            return self._ask()
        index = state.n_begun
        if index < self.n_pieces and self._may_begin(index, state):
            return self._ask()
        return None

    def _ask(self):
        trial = self.study.ask()
        self.held[trial.number] = Attempt(-1, trial)  # to be given up if interrupted
        state = self._read()
        found = [i for i, counts in state.live.items() if counts.number == trial.number]
        # Another process may have been as quick, and have it or one before.
        if (
            not found
            or found[0] >= self.n_pieces
            or not self._may_begin(found[0], state)
        ):
            self._abandon(trial)
            return None
        attempt = Attempt(found[0], trial)
        self.held[trial.number] = attempt
        return attempt

    def visible(self, index):
        """List the finished pieces that the parameters of one may depend on.

        Parameters
        ----------
        index : int

        Returns
        -------
        list of optuna.trial.FrozenTrial
            In the order of their indices; the same whoever runs what, and when.
        """
        if self.window is None or index < self.n_free:
            return []
        live = self._read().live
        return [live[i] for i in range(index - self.window + 1)]

    def suggest(self, attempt, values, distributions):
        """Give an attempt its parameters.

        Parameters
        ----------
        attempt : Attempt
        values : dict
            By name.
        distributions : dict of str to optuna.distributions.BaseDistribution

        Returns
        -------
        dict
            The values, or those of the attempt before it at the same piece.
        """
        self.preset.values = values
        suggested = {}
        for name, distribution in distributions.items():
            suggested[name] = _suggest(attempt.trial, name, distribution)
        return suggested

    def report(self, attempt, step, value):
        """Enter what an attempt has reached so far.

        Parameters
        ----------
        attempt : Attempt
        step : int
        value : float
        """
        with contextlib.suppress(*_already_finished()):
            attempt.trial.report(value, step)

    def finish(self, attempt, *, value=None, error=None, pruned=False, **attributes):
        """Enter the outcome of an attempt.

        Parameters
        ----------
        attempt : Attempt
        value : float or None, default=None
            What was reached.
        error : str or None, default=None
            Why it failed.
        pruned : bool, default=False
            Whether a pruner stopped it; what it reported last is then its value.
        **attributes : dict
            Plain values to keep.
        """
        if error is not None:
            attributes["error"] = error
        # One whose process was silent for too long may have been given to another.
        with contextlib.suppress(*_already_finished()):
            for name, attribute in attributes.items():
                attempt.trial.set_user_attr(name, attribute)
            state = self._states()
            how = state.PRUNED if pruned else state.COMPLETE
            if error is not None:
                how = state.FAIL
            reached = value if how == state.COMPLETE else None
            self.study.tell(attempt.trial, reached, state=how)
        self.held.pop(attempt.trial.number, None)

    def release(self):
        """Give up all that this process holds, for others to take."""
        for attempt in list(self.held.values()):
            self._abandon(attempt.trial)

    def _abandon(self, trial):
        with contextlib.suppress(*_already_finished()):
            self.study.tell(trial.number, state=self._states().FAIL)
        self.held.pop(trial.number, None)

    def _give_up_silent(self, state):
        """Abandon what processes were running that show no sign of life."""
        now = time.monotonic()
        for index, trial in list(state.live.items()):
            if trial.state != self._states().RUNNING or trial.number in self.held:
                continue
            sign = trial.user_attrs.get("sign", 0)
            before, since = self._signs.get(trial.number, (None, now))
            if sign != before:
                since = now
            self._signs[trial.number] = sign, since
            if now - since > SILENCE:
                self._abandon(trial)
                state.abandoned[index] = state.live.pop(index)

    def show_life(self):
        """Show that the process lives that holds what it holds."""
        for attempt in list(self.held.values()):
            sign = attempt.trial.user_attrs.get("sign", 0) + 1
            with contextlib.suppress(*_already_finished()):
                attempt.trial.set_user_attr("sign", sign)

    def pieces(self):
        """Tell where every piece of work stands.

        Returns
        -------
        dict of int to optuna.trial.FrozenTrial
            Those that are begun, in the order of their indices.
        """
        live = self._read().live
        return {i: live[i] for i in sorted(live) if i < self.n_pieces}

    def is_done(self):
        """Tell whether all pieces are done.

        Returns
        -------
        bool
        """
        return self.n_finished() == self.n_pieces

    def n_finished(self):
        """Count the pieces that are done.

        Returns
        -------
        int
        """
        return sum(trial.state.is_finished() for trial in self.pieces().values())


@contextlib.contextmanager
def heartbeats(ledgers):
    """Show that this process lives, in a ``with`` block.

    Parameters
    ----------
    ledgers : list of Ledger
    """
    done = threading.Event()

    def beat():
        while not done.wait(HEARTBEAT):
            for ledger in ledgers:
                with contextlib.suppress(Exception):  # a database that is busy
                    ledger.show_life()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _already_finished():
    """List what Optuna raises where a trial is over."""
    return ValueError, import_optuna().exceptions.UpdateFinishedTrialError


def _suggest(trial, name, distribution):
    kind = type(distribution).__name__
    if kind == "CategoricalDistribution":
        return trial.suggest_categorical(name, distribution.choices)
    suggest = trial.suggest_int if kind == "IntDistribution" else trial.suggest_float
    return suggest(name, distribution.low, distribution.high, log=distribution.log)


def _preset_sampler():
    """Make a sampler that gives what it is told to."""
    base: Any = import_optuna().samplers.BaseSampler

    class PresetSampler(base):
        def __init__(self):
            self.values = {}

        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            return self.values[param_name]

    return PresetSampler()


def _differing(before, now):
    """Keep of descriptions of estimators, [class, parameters], what differs."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [_differing(a, b) for a, b in zip(before, now, strict=True) if a != b]
        if len(pairs) == 1:
            return pairs[0]
    elif isinstance(before, dict) and isinstance(now, dict):
        missing = object()
        keys = [
            key
            for key in sorted({*before, *now})
            if before.get(key, missing) != now.get(key, missing)
        ]
        return tuple({k: d[k] for k in keys if k in d} for d in (before, now))
    return before, now
