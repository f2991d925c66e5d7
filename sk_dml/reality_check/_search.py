"""Optuna: search spaces, studies and their trials, and where they are stored."""

import contextlib
import copy
import importlib
import logging
import os
import re
import threading
import time
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from filelock import FileLock

from sk_dml.embedders import all_embedders
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.reality_check._concatenated import last_step, seeded

# Quantiles this close to 0 and 1 are not drawn: many distributions are infinite there.
TAIL = 2.0**-20
# Seconds between two heartbeats of a running trial, and for how long there must be none
# before the trial is given to another process.
HEARTBEAT, GRACE = 10, 60
# How often to try to open a database that another process may be setting up.
N_TRIES, PAUSE = 5, 0.3
PASSWORDS = {"password", "passwd", "pwd"}


def import_optuna():
    """Return Optuna, or raise an ImportError that says how to install it."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(
            "RealityCheck needs Optuna: python -m pip install 'sk-dml[reality-check]'"
        ) from error


def make_seed(*numbers):
    """Return a seed in [0, 2**31), independent of those of other numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


# Methods -----------------------------------------------------------------------------


def name_estimators(estimators):
    """Return a dict of names to estimators."""
    embedders = {short_name(name): cls for name, cls in all_embedders()}
    if estimators is None:
        return {name: cls() for name, cls in embedders.items()}
    if not estimators:
        raise ValueError("estimators must hold one method or more, got none.")
    if isinstance(estimators, dict):
        return dict(estimators)
    by_plain_name = {plain(name): name for name in embedders}
    named: dict = {}
    for estimator in estimators:
        if isinstance(estimator, str):
            name = by_plain_name.get(plain(short_name(estimator)))
            if name is None:
                raise ValueError(
                    f"estimators has {estimator!r}, which is no embedder. Allowed are "
                    f"{list(embedders)}."
                )
            estimator = embedders[name]()
        else:
            name = short_name(type(last_step(estimator)[1]).__name__)
        if name in named:
            raise ValueError(
                f"estimators has two methods named {name!r}; use a dict of names."
            )
        named[name] = estimator
    return named


def short_name(name):
    """Return the name of a class without "Embedder"."""
    return name[: -len("Embedder")] if name.lower().endswith("embedder") else name


def plain(name):
    """Return the lower-case letters and digits of a name, to compare it."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


@dataclass
class Method:
    """A method or baseline: its search space as given, and as Optuna's dimensions."""

    name: str
    kind: str
    estimator: Any
    space: dict
    dimensions: dict

    def decode(self, stored):
        """Return the parameters that the values stored by Optuna stand for."""
        return {n: self.dimensions[n].decode(value) for n, value in stored.items()}

    def show(self, stored):
        """Return the parameters; those that are no plain values as they are stored."""
        decoded = self.decode(stored)
        return {n: v if is_plain(v) else stored[n] for n, v in decoded.items()}


# Search spaces ---------------------------------------------------------------------


@dataclass
class Dimension:
    """Range to search with Optuna, and the function from its values to parameters."""

    kind: str  # float, int or categorical
    range: dict
    decode: Any

    def suggest(self, trial, name):
        """Return the value that Optuna suggests for a trial."""
        return getattr(trial, f"suggest_{self.kind}")(name, **self.range)


def translate(name, space):
    """Return the Dimension of a scipy.stats distribution or a list.

    Uniform, log-uniform and integer distributions are drawn from directly, others by
    their quantiles.
    """
    if isinstance(space, list | tuple):
        return _translate_list(name, list(space))
    if not hasattr(space, "dist") or not hasattr(space, "ppf"):
        raise TypeError(
            f"search space of {name!r} must be a list or a frozen distribution of "
            f"scipy.stats such as uniform(0, 1), got {space!r}."
        )
    kind = space.dist.name
    low, high = space.support()
    if kind == "uniform":
        return Dimension("float", {"low": low, "high": high}, float)
    if kind in ("loguniform", "reciprocal") and not _is_shifted(space):
        return Dimension("float", {"low": low, "high": high, "log": True}, float)
    if kind == "randint":
        return Dimension("int", {"low": int(low), "high": int(high)}, int)
    quantiles = {"low": TAIL, "high": 1 - TAIL}
    number = float if hasattr(space, "pdf") else int
    return Dimension("float", quantiles, lambda share: number(space.ppf(share)))


def is_plain(value):
    """Return whether Optuna can store a value as it is."""
    return value is None or isinstance(value, bool | int | float | str)


def _is_shifted(space):
    _, loc, _ = space.dist._parse_args(*space.args, **space.kwds)
    return loc != 0


def _translate_list(name, values):
    if not values:
        raise ValueError(f"search space of {name!r} is an empty list.")
    if all(map(is_plain, values)):
        return Dimension("categorical", {"choices": values}, lambda v: v)
    # Other values are not stored, but labels with their index in the list.
    labels = [f"{i}: {shown:.200}" for i, shown in enumerate(map(_show, values))]
    by_label = dict(zip(labels, values, strict=True))
    return Dimension("categorical", {"choices": labels}, by_label.get)


def translate_space(method, estimator, space):
    """Return the dimensions of a method's search space, checked on its estimator."""
    if not isinstance(space, dict):
        raise TypeError(
            f"search_spaces[{method!r}] must be a dict of parameters, got {space!r}."
        )
    dimensions = {}
    for name, values in space.items():
        dimensions[name] = translate(f"{name} of {method}", values)
        value = values[0] if isinstance(values, list | tuple) else values.ppf(0.5)
        try:
            seeded(estimator, 0, **{name: value})
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"search_spaces[{method!r}] has the unknown parameter {name!r}. "
                f"Allowed are: {sorted(estimator.get_params(deep=True))}."
            ) from error
    return dimensions


def default_space(estimator):
    """Return the search space of the embedder that an estimator is or ends in."""
    prefix, last = last_step(estimator)
    if not isinstance(last, BaseEmbedder):
        return {}
    return {f"{prefix}{name}": space for name, space in last.search_space().items()}


def describe_space(space):
    """Return a search space in words, such as {"margin": "uniform in [0, 0.5]"}."""
    return {name: _describe(values) for name, values in space.items()}


def _show(value):
    """Return a repr without addresses, the same in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _describe(values):
    if isinstance(values, list | tuple):
        return f"[{', '.join(map(_show, values))}]"
    if values.dist.name in ("uniform", "loguniform", "reciprocal", "randint"):
        low, high = values.support()
        return f"{values.dist.name} in [{low:g}, {high:g}]"
    kwds = [f"{key}={value!r}" for key, value in values.kwds.items()]
    return f"{values.dist.name}({', '.join([*map(repr, values.args), *kwds])})"


# Storage -----------------------------------------------------------------------------


def hide_password(url):
    """Return a database URL without its password; of a malformed one the scheme."""
    from sqlalchemy.engine import make_url

    try:
        parsed = make_url(url)
    except Exception:
        scheme, colon, _ = url.partition(":")
        return f"{scheme}{colon and ':...'}"
    hidden = {key: "..." for key in parsed.query if key.lower() in PASSWORDS}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


@contextlib.contextmanager
def opened_storage(url):
    """Open the database of a URL, or memory if it is None, for a ``with`` block."""
    if url is None:
        yield import_optuna().storages.InMemoryStorage()
        return
    storage = _connect(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _connect(url):
    """Return an RDBStorage; errors show no password."""
    # sqlite lets one process write at a time; by default the others wait too briefly.
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    for rest in reversed(range(N_TRIES)):
        try:
            with warnings.catch_warnings(action="ignore"):  # experimental in Optuna
                return import_optuna().storages.RDBStorage(
                    url, options, heartbeat_interval=HEARTBEAT, grace_period=GRACE
                )
        except Exception as error:
            if rest:  # two processes that create the same tables disturb each other
                time.sleep(PAUSE)
                continue
            raise ValueError(
                f"storage={hide_password(url)!r} cannot be opened: "
                f"{_without_password(error, url)}. Allowed are None, for memory, and "
                "database URLs such as 'sqlite:///check.db'."
            ) from None  # the cause may show the password
    raise AssertionError


def _without_password(error, url):
    from sqlalchemy.engine import make_url

    name = type(error).__name__
    try:
        parsed = make_url(url)
    except Exception:
        return name
    text = str(error).partition("\n")[0]
    queried = [v for k, v in parsed.query.items() if k.lower() in PASSWORDS]
    for password in filter(None, [parsed.password, *queried]):
        text = text.replace(str(password), "***")
    return f"{name}: {text}"


def create_study(storage, name, pruner=None):
    """Create or load a study that maximizes, without a line in Optuna's log."""
    modules = "storages._in_memory", "storages._rdb.storage", "study.study"
    with _quiet(*(f"optuna.{module}" for module in modules)):
        return import_optuna().create_study(
            storage=storage,
            study_name=name,
            pruner=pruner,
            direction="maximize",
            load_if_exists=True,
        )


@contextlib.contextmanager
def _quiet(*names):
    """Hide what this thread logs below a warning from some of Optuna's loggers."""
    own = threading.get_ident()

    def passes(record):
        return record.thread != own or record.levelno >= logging.WARNING

    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)


# Trials ------------------------------------------------------------------------------

# How trials are shared. A study of Optuna holds the trials of one method, numbered from
# 0. The number alone decides the seeds of a trial, and with the trials that were
# finished before, its parameters. A process asks the study for a trial, runs it with a
# heartbeat, and tells the outcome. A trial that is interrupted, or that has had no
# heartbeat for GRACE seconds, goes back to the queue: its state becomes WAITING, and
# the next process that asks gets it, with its number and its parameters.
#
# Optuna's RetryHeartbeatStaleTrialCallback would instead add a copy with a new number.
# The failed original would stay in the study, where SuccessiveHalvingPruner and
# HyperbandPruner count it beside its copy, so that a comparison that was killed once
# would end otherwise than one that was not.
#
# Optuna can take a waiting trial or add one, but cannot add one only if there are fewer
# than so many: a lock beside the file of sqlite lets one process ask at a time. Without
# it, as on a server, two that ask for the last trial at once may add one too many; it
# stays WAITING and is run if n_trials grows.
#
# One process that is killed and started again ends with the same result as one that
# nothing disturbed: new trials wait until those that it finds running are settled,
# unless they depend on no other trial.


class TrialQueue:
    """Trials of one study, each to be run once, shared by processes."""

    def __init__(
        self,
        storage,
        name,  # of the study
        n_trials,
        description,  # what decides the outcomes; a study with another is refused
        *,
        dimensions=(),  # the parameters to choose, dict of str to Dimension
        n_random=None,  # trials drawn at random; None if no trial depends on another
        seed=(),  # integers
        pruner=None,
    ):
        optuna = import_optuna()
        self.state = optuna.trial.TrialState
        self.finished_error = optuna.exceptions.UpdateFinishedTrialError
        self.storage, self.n_trials = storage, n_trials
        # The pruner is copied: some remember what they saw.
        self.study = create_study(storage, name, copy.deepcopy(pruner))
        _check_description(self.study, description)
        self.dimensions, self.n_random, self.seed = dict(dimensions), n_random, seed
        # Number of trials that depend on no other; a pruner compares all of them.
        self.n_independent = n_trials if n_random is None else n_random
        if pruner is not None:
            self.n_independent = 0
        self.held: dict[int, Any] = {}  # trials that this process runs, by number
        self.noticed: set[int] = set()
        self.start = time.monotonic()
        self.is_shared = hasattr(storage, "record_heartbeat")
        self.lock: Any = contextlib.nullcontext()
        if self.is_shared and storage.engine.dialect.name == "sqlite":
            database = storage.engine.url.database
            if database and os.path.isfile(database):  # not in memory
                self.lock = FileLock(f"{database}.lock")
        self.running_at_start = self._running_elsewhere(self.trials())
        self._requeue_stale(self.running_at_start)

    def trials(self):
        """Return the trials that were begun, in order of their numbers."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.number < self.n_trials]

    def n_finished(self):
        """Return the number of trials that are finished, by any process."""
        return sum(trial.state.is_finished() for trial in self.trials())

    def is_done(self):
        """Return whether all trials are finished."""
        return self.n_finished() == self.n_trials

    def best(self):
        """Return the first trial with the highest value, or None."""
        complete = [t for t in self.trials() if t.state == self.state.COMPLETE]
        return max(complete, key=lambda trial: trial.value, default=None)

    def ask(self):
        """Return the next trial with its parameters, or None if none may begin now."""
        with self.lock:
            trial = self._take()
        if trial is not None:
            self._choose_parameters(trial)
        return trial

    def _take(self):
        """Take a waiting trial or add one; return it, or None if none may begin now."""
        trials = self.trials()
        running = self._running_elsewhere(trials)
        if self._requeue_stale(running):
            trials = self.trials()
        waiting = [t._trial_id for t in trials if t.state == self.state.WAITING]
        if not waiting and (
            len(trials) == self.n_trials or self._must_wait(len(trials), running)
        ):
            return None
        for trial_id in waiting if self.is_shared else ():
            self.storage.record_heartbeat(trial_id)  # the old one may look stale
        with warnings.catch_warnings(action="ignore"):  # heartbeats are for optimize
            trial = self.study.ask()
        self.held[trial.number] = trial
        if trial.number >= self.n_trials:  # without a lock, another took the last one
            self._requeue(trial)
            return None
        return trial

    def _running_elsewhere(self, trials):
        """Return the numbers and ids of the trials that other processes run."""
        return {
            trial.number: trial._trial_id
            for trial in trials
            if trial.state == self.state.RUNNING and trial.number not in self.held
        }

    def _must_wait(self, number, running):
        """Return whether trials that ran at the start may be those of a dead process.

        A trial that still runs after the grace period has a heartbeat.
        """
        if number < self.n_independent:
            return False
        settled = time.monotonic() > self.start + GRACE + HEARTBEAT
        return not settled and bool(self.running_at_start.keys() & running.keys())

    def _requeue_stale(self, running):
        """Put back the trials of dead processes; return whether there were any."""
        stale = running and self.storage._get_stale_trial_ids(self.study._study_id)
        requeued = False
        for number, trial_id in running.items():
            if trial_id in stale:
                requeued = True
                with contextlib.suppress(self.finished_error):
                    self.storage.set_trial_state_values(trial_id, self.state.WAITING)
            elif number not in self.noticed:
                # A process that died before its first heartbeat left none to grow old.
                self.storage.record_heartbeat(trial_id)
                self.noticed.add(number)
        return requeued

    def _choose_parameters(self, trial):
        """Let TPE choose the parameters that a trial does not have yet.

        Every parameter has a sampler of its own, so that those which a dead process
        has stored already do not change the others.
        """
        sampler = import_optuna().samplers.TPESampler
        for i, name in enumerate([None, *self.dimensions]):
            self.study.sampler = sampler(
                seed=make_seed(*self.seed, trial.number, i),
                n_startup_trials=self.n_random,
                constant_liar=True,  # for trials that run at the same time
            )
            if name is None:
                _ = trial.relative_params  # those that are drawn jointly
            else:
                self.dimensions[name].suggest(trial, name)

    def is_pruned(self, trial, step, value):
        """Report the mean score after so many folds; return whether to stop."""
        with contextlib.suppress(self.finished_error):
            with warnings.catch_warnings(action="ignore"):  # reported before a break
                trial.report(value, step)
            return trial.should_prune()
        return False

    def tell(self, trial, *, value=None, error=None, pruned=False, **attributes):
        """Store an outcome, unless another process has had to run the trial again."""
        state = self.state.PRUNED if pruned else self.state.COMPLETE
        if error is not None:
            state, attributes["error"] = self.state.FAIL, error
        with contextlib.suppress(self.finished_error):
            for name, attribute in attributes.items():
                trial.set_user_attr(name, attribute)
            if self.storage.get_trial(trial._trial_id).state == self.state.RUNNING:
                kept = value if state == self.state.COMPLETE else None
                self.study.tell(trial, kept, state=state)
        self.held.pop(trial.number, None)

    def release(self):
        """Put back all trials that this process runs, for others to take."""
        for trial in list(self.held.values()):
            self._requeue(trial)

    def _requeue(self, trial):
        with contextlib.suppress(self.finished_error):
            self.storage.set_trial_state_values(trial._trial_id, self.state.WAITING)
        self.held.pop(trial.number, None)


def count_random(n_trials):
    """Return how many trials are drawn at random before others learn from them."""
    return min(10, (n_trials + 1) // 2)


def method_seed(seed, name):
    """Return numbers that seed the search of a method."""
    return seed, 2, zlib.crc32(name.encode())


def describe_pruner(pruner):
    """Return a pruner with its settings, such as "NopPruner()", or None."""
    if pruner is None:
        return None
    settings = [
        f"{name.lstrip('_')}="
        + (describe_pruner(value) if hasattr(value, "prune") else repr(value))
        for name, value in sorted(vars(pruner).items())
    ]
    return f"{type(pruner).__name__}({', '.join(settings)})"


def _check_description(study, description):
    """Store the description in a new study; refuse a study that has another."""
    stored = study.user_attrs.get("description")
    if stored is None:
        study.set_user_attr("description", description)
        return
    for key in {**stored, **description}:
        if stored.get(key) != description.get(key):
            before, now = _differing(stored.get(key), description.get(key))
            raise ValueError(
                f"storage holds the study {study.study_name!r} with other settings: "
                f"{key} was {before!r} and is {now!r}. Choose another study_name or "
                "storage (--out of the command), or the same settings."
            )


def _differing(before, now):
    """Return the parts of two descriptions [class, parameters] that differ."""
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
