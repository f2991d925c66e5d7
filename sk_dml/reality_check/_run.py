"""The two halves of a comparison: the search, and the repeats of what it chose."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sk_dml.reality_check._fold import seeded
from sk_dml.reality_check._ledger import Attempt, Ledger, heartbeats
from sk_dml.reality_check._search_space import is_plain
from sk_dml.reality_check._tasks import make_seed, rate_fold, rate_repeat
from sk_dml.reality_check._tuning import WINDOW, Judge, n_random, propose

# Seconds to wait where all that may begin is run by other processes.
POLL = 0.5


@dataclass
class Method:
    """A method or a baseline.

    Attributes
    ----------
    name, kind : str
    estimator : estimator
    space : dict
        As the user gave it, or the estimator does.
    dimensions : dict of str to Dimension
        The same for Optuna.
    """

    name: str
    kind: str
    estimator: Any
    space: dict
    dimensions: dict

    def decode(self, stored):
        """Make parameters of what Optuna stores."""
        return {n: self.dimensions[n].decode(value) for n, value in stored.items()}

    def show(self, stored):
        """Make plain values to show: what no plain value is stays as it is stored."""
        decoded = self.decode(stored)
        return {n: v if is_plain(v) else stored[n] for n, v in decoded.items()}


def work(ledgers, run, *, n_jobs, shared, deadline=None, after=None, idle=None):
    """Work until all is done, with others if the ledgers are shared.

    Parameters
    ----------
    ledgers : dict of str to Ledger
        Those that are behind come first.
    run : callable
        Called with a list of (name, Attempt); returns as many dicts for
        ``Ledger.finish``, or with ``timed_out``.
    n_jobs : int or None
        Attempts are taken up by so many.
    shared : bool
        Whether other processes may work on the same.
    deadline : float or None, default=None
        As ``time.time()`` counts.
    after : callable or None, default=None
        Called with (name, Attempt, outcome) when one is finished.
    idle : callable or None, default=None
        Called with the seconds it is about to wait for other processes.

    Returns
    -------
    bool
        Whether all is done. Otherwise the deadline came first.
    """
    alive = heartbeats(list(ledgers.values())) if shared else contextlib.nullcontext()
    with alive:
        try:
            while deadline is None or time.time() < deadline:
                batch = _claim(ledgers, effective_n_jobs(n_jobs))
                if not batch:
                    if all(ledger.is_done() for ledger in ledgers.values()):
                        return True
                    if idle is not None:
                        idle(POLL)
                    time.sleep(POLL)
                    continue
                outcomes = run(batch)
                for (name, attempt), outcome in zip(batch, outcomes, strict=True):
                    if outcome.get("timed_out"):
                        continue  # released below
                    ledgers[name].finish(attempt, **outcome)
                    if after is not None:
                        after(name, attempt, outcome)
        finally:
            for ledger in ledgers.values():
                ledger.release()
    return all(ledger.is_done() for ledger in ledgers.values())


def _claim(ledgers, n):
    batch: list = []
    for _ in range(n):
        behind = sorted(ledgers, key=lambda name: len(ledgers[name].pieces()))
        for name in behind:
            attempt = ledgers[name].claim()
            if attempt is not None:
                batch.append((name, attempt))
                break
        else:
            break
    return batch


class Search:
    """The search for the best setting of every method, on the development classes.

    It is given nothing else.

    Parameters
    ----------
    methods : list of Method
    development : tuple of (X, y, groups)
    folds : list of (train, valid)
    storage : optuna.storages.BaseStorage
    study_name : str
    n_trials, seed : int
    descriptions : dict of str to dict
        Of every method, its data and the protocol.
    pruner : optuna.pruners.BasePruner or None, default=None
    """

    def __init__(
        self,
        methods,
        development,
        folds,
        *,
        storage,
        study_name,
        n_trials,
        seed,
        descriptions,
        pruner=None,
    ):
        self.methods = {method.name: method for method in methods}
        self.pruner = pruner
        self.X, self.y, _ = development
        self.folds = folds
        self.seed = seed
        self.n_startup = n_random(n_trials)
        self.ledgers = {
            method.name: Ledger(
                storage,
                f"{study_name}/{method.name}",
                n_trials if method.dimensions else 1,
                window=WINDOW,
                n_free=self.n_startup,
                description=descriptions[method.name],
            )
            for method in methods
        }

    def run(self, batch, *, n_jobs, deadline):
        """Run trials: all folds of all of them at once; with a pruner, fold by fold.

        Parameters
        ----------
        batch : list of (str, Attempt)
        n_jobs : int or None
        deadline : float or None

        Returns
        -------
        list of dict
        """
        trials = [self._begin(name, attempt) for name, attempt in batch]
        n = len(self.folds)
        for folds in [range(n)] if self.pruner is None else [[i] for i in range(n)]:
            going = [trial for trial in trials if not trial.is_over]
            rated = Parallel(n_jobs=n_jobs)(
                delayed(rate_fold)(*self._task(trial, fold), deadline)
                for trial in going
                for fold in folds
            )
            for i, trial in enumerate(going):
                trial.add(rated[i * len(folds) : (i + 1) * len(folds)])
        return [trial.outcome() for trial in trials]

    def _begin(self, name, attempt):
        method, ledger = self.methods[name], self.ledgers[name]
        stored = self._choose(method, ledger, attempt)
        judge = None
        if self.pruner is not None:
            judge = Judge(
                self.pruner,
                ledger.visible(attempt.index),
                method=name,
                index=attempt.index,
            )
        params = method.decode(stored)
        return _Trial(method, ledger, attempt, params, judge, len(self.folds))

    def _task(self, trial, fold):
        seed = make_seed(self.seed, 0, trial.attempt.index, fold)
        estimator = seeded(trial.method.estimator, seed, **trial.params)
        return (estimator, self.X, self.y, *self.folds[fold])

    def _choose(self, method, ledger, attempt):
        proposed = propose(
            method.dimensions,
            ledger.visible(attempt.index),
            seed=self.seed,
            method=method.name,
            index=attempt.index,
            n_startup=self.n_startup,
        )
        distributions = {n: d.distribution for n, d in method.dimensions.items()}
        return ledger.suggest(attempt, proposed, distributions)

    def best(self, name):
        """Find the best trial of a method.

        Parameters
        ----------
        name : str

        Returns
        -------
        optuna.trial.FrozenTrial or None
            The first of those with the highest value; None if none was completed.
        """
        complete = [
            trial
            for trial in self.ledgers[name].pieces().values()
            if trial.state.name == "COMPLETE"
        ]
        return max(complete, key=lambda trial: trial.value, default=None)


@dataclass
class _Trial:
    """A trial that this process is running."""

    method: Method
    ledger: Ledger
    attempt: Attempt
    params: dict
    judge: Judge | None
    n_folds: int
    folds: list = field(default_factory=list)
    is_pruned: bool = False

    @property
    def is_over(self):
        """Whether no other fold is to be run."""
        return self.is_pruned or not all("score" in fold for fold in self.folds)

    def _scores(self):
        return [fold["score"] for fold in self.folds]

    def add(self, rated):
        """Take in what folds came to, and let the judge look at it."""
        self.folds += rated
        if self.judge is None or self.is_over:
            return
        n, mean = len(self.folds), float(np.mean(self._scores()))
        self.ledger.report(self.attempt, n, mean)
        self.is_pruned = self.judge.stops(n, mean) and n < self.n_folds

    def outcome(self):
        """Make one outcome of those of the folds."""
        if any(fold.get("timed_out") for fold in self.folds):
            return {"timed_out": True}
        for i, fold in enumerate(self.folds):
            if "error" in fold:
                return {"error": f"fold {i}: {fold['error']}"}
        scores = self._scores()
        outcome = {"value": float(np.mean(scores)), "fold_scores": scores}
        if self.judge is not None:
            outcome |= {"pruned": self.is_pruned, "pruner": self.judge.attributes}
        return outcome


class Repeats:
    """The training of what was chosen, and its rating on the test classes.

    Parameters
    ----------
    methods : list of Method
        With the parameters that were chosen set.
    development : tuple of (X, y, groups)
    test : tuple of (X, y)
    storage : optuna.storages.BaseStorage
    names : dict of str to str
        The study of every method.
    n_repeats, n_folds, seed : int
    metrics : sequence of str
    descriptions : dict of str to dict
        Of every method, its data and the protocol.
    """

    def __init__(
        self,
        methods,
        development,
        test,
        *,
        storage,
        names,
        n_repeats,
        n_folds,
        metrics,
        seed,
        descriptions,
    ):
        self.methods = {method.name: method for method in methods}
        self.development, self.test = development, test
        self.n_folds, self.metrics, self.seed = n_folds, metrics, seed
        self.ledgers = {
            method.name: Ledger(
                storage,
                names[method.name],
                n_repeats,
                description=descriptions[method.name],
            )
            for method in methods
        }

    def seed_of(self, repeat):
        """Give the seed of a repeat, the same for all methods."""
        return make_seed(self.seed, 1, repeat)

    def run(self, batch, *, n_jobs):
        """Run repeats.

        Parameters
        ----------
        batch : list of (str, Attempt)
        n_jobs : int or None

        Returns
        -------
        list of dict
        """
        rated = Parallel(n_jobs=n_jobs)(
            delayed(rate_repeat)(
                self.methods[name].estimator,
                self.development,
                self.test,
                self.n_folds,
                self.metrics,
                self.seed_of(attempt.index),
            )
            for name, attempt in batch
        )
        first = self.metrics[0]
        return [
            outcome
            if "error" in outcome
            else {"value": outcome["scores"]["concatenated"][first], **outcome}
            for outcome in rated
        ]
