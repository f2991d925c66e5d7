"""Work on trials and repeats: training, scoring, time limit and progress."""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import _safe_indexing
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from sk_dml._training._callbacks import can_draw
from sk_dml._utils._embed import embed
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.metrics import clustering_scores, retrieval_scores
from sk_dml.model_selection import ClassDisjointKFold
from sk_dml.reality_check._concatenated import (
    ConcatenatedEmbedder,
    concatenate,
    fit_fold,
    last_step,
    seeded,
)
from sk_dml.reality_check._search import make_seed
from sk_dml.scorers import map_at_r, without_missing

CLUSTERING = ("nmi", "ami", "pairwise_f1")
SCORINGS = ("separated", "concatenated")
# Seconds between two looks at the queues where other processes run all that is left.
POLL = 0.2


# In worker processes, which are sent nothing else -------------------------------------


class Deadline(Callback):
    """End a training with a TimeoutError after a time, as ``time.time()`` counts."""

    def __init__(self, deadline):
        self.deadline = deadline

    def on_batch_end(self, net, **kwargs):
        """Check the time."""
        if time.time() > self.deadline:
            raise TimeoutError("The time limit ended the training.")


def with_deadline(estimator, deadline):
    """Return the estimator, whose embedder ends its training at the deadline."""
    prefix, embedder = last_step(estimator)
    if deadline is None or not isinstance(embedder, BaseEmbedder):
        return estimator
    callbacks = [*(embedder.callbacks or []), Deadline(deadline)]
    return estimator.set_params(**{f"{prefix}callbacks": callbacks})


def score_fold(estimator, X, y, train, valid, deadline=None):
    """Train on one fold; return a dict of its ``score``, ``error`` or ``timed_out``.

    X: (n_samples, ...); y: (n_samples,); train, valid: indices.
    """
    if deadline is not None and time.time() > deadline:
        return {"timed_out": True}
    try:
        model = fit_fold(with_deadline(estimator, deadline), X, y, train, valid)
        score = map_at_r(model, _safe_indexing(X, valid), _safe_indexing(y, valid))
    except Exception as error:
        if deadline is not None and time.time() > deadline:
            return {"timed_out": True}
        return {"error": describe_error(error)}
    return {"score": float(score)}


def train_models(estimator, X, y, groups, n_folds, seed):
    """Return a ConcatenatedEmbedder of the models of all folds."""
    cv = ClassDisjointKFold(n_folds)
    model = ConcatenatedEmbedder(estimator, cv=cv, random_state=seed)
    return model.fit(X, y, groups=groups)


def score_repeat(estimator, development, test, n_folds, metrics, seed):
    """Train on all folds and score on the test classes.

    Returns a dict of ``scores``, for "separated" (the mean over the models) and
    "concatenated" a dict of metrics, or of ``error``.
    """
    try:
        X, y, groups = development
        model = train_models(estimator, X, y, groups, n_folds, seed)
        X, y = test
        parts = [np.asarray(embed(fitted, X)) for fitted in model.estimators_]
        separated = [score_embedding(part, y, metrics, seed) for part in parts]
        mean = {
            name: float(np.mean([scores[name] for scores in separated]))
            for name in metrics
        }
        concatenated = score_embedding(concatenate(parts), y, metrics, seed)
    except Exception as error:
        return {"error": describe_error(error)}
    return {
        "value": concatenated[metrics[0]],
        "scores": dict(zip(SCORINGS, (mean, concatenated), strict=True)),
    }


def score_embedding(embedding, y, metrics, seed):
    """Return a dict of metrics of (n_samples, n_components), without rows of NaN."""
    clustering = [name for name in metrics if name in CLUSTERING]
    retrieval = [name for name in metrics if name not in CLUSTERING]
    embedding, y = without_missing(embedding, y)
    scores: dict = {}
    if retrieval:
        scores |= retrieval_scores(embedding, y, metrics=retrieval)
    if clustering:
        scores |= clustering_scores(embedding, y, metrics=clustering, random_state=seed)
    return {name: float(scores[name]) for name in metrics}


def describe_error(error):
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]


# In the process that was called -------------------------------------------------------


@dataclass
class Search:
    """Trials of all methods on the development classes, the only data it is given."""

    methods: dict  # of Method, by name
    queues: dict  # of TrialQueue, by name
    X: Any
    y: Any
    folds: list  # of (train, valid)
    seed: int
    n_jobs: int | None
    prunes: bool
    deadline: float | None

    def run(self, batch):
        """Return the outcomes of trials, a list of (name, trial).

        All folds of all trials run at once; with a pruner, fold by fold.
        """
        done: list[list] = [[] for _ in batch]
        pruned = [False] * len(batch)
        n_folds = len(self.folds)
        for folds in [[i] for i in range(n_folds)] if self.prunes else [range(n_folds)]:
            going = [
                i
                for i in range(len(batch))
                if not pruned[i] and all("score" in fold for fold in done[i])
            ]
            scored = Parallel(n_jobs=self.n_jobs)(
                delayed(score_fold)(*self._task(batch[i], fold), self.deadline)
                for i in going
                for fold in folds
            )
            for k, i in enumerate(going):
                done[i] += scored[k * len(folds) : (k + 1) * len(folds)]
                if self.prunes:
                    pruned[i] = self._is_pruned(batch[i], done[i])
        return [_trial_outcome(*outcome) for outcome in zip(done, pruned, strict=True)]

    def _task(self, item, fold):
        name, trial = item
        method = self.methods[name]
        seed = make_seed(self.seed, 0, trial.number, fold)
        estimator = seeded(method.estimator, seed, **method.decode(trial.params))
        return (estimator, self.X, self.y, *self.folds[fold])

    def _is_pruned(self, item, folds):
        name, trial = item
        if "score" not in folds[-1]:
            return False
        mean = float(np.mean([fold["score"] for fold in folds]))
        stops = self.queues[name].is_pruned(trial, len(folds), mean)
        return stops and len(folds) < len(self.folds)


def _trial_outcome(folds, pruned):
    """Return the outcome of a trial, from those of its folds."""
    if any("timed_out" in fold for fold in folds):
        return {"timed_out": True}
    for i, fold in enumerate(folds):
        if "error" in fold:
            return {"error": f"fold {i}: {fold['error']}"}
    scores = [fold["score"] for fold in folds]
    return {"value": float(np.mean(scores)), "fold_scores": scores, "pruned": pruned}


@dataclass
class Repeats:
    """Trainings of the chosen settings, scored on the test classes."""

    methods: dict  # of Method with the chosen parameters, by name
    queues: dict  # of TrialQueue, by name
    development: tuple  # X, y, groups
    test: tuple  # X, y
    n_folds: int
    metrics: tuple
    seed: int
    n_jobs: int | None
    deadline: None = None

    def seed_of(self, repeat):
        """Return the seed of a repeat, the same for all methods."""
        return make_seed(self.seed, 1, repeat)

    def run(self, batch):
        """Return the outcomes of repeats, a list of (name, trial)."""
        return Parallel(n_jobs=self.n_jobs)(
            delayed(score_repeat)(
                self.methods[name].estimator,
                self.development,
                self.test,
                self.n_folds,
                self.metrics,
                self.seed_of(trial.number),
            )
            for name, trial in batch
        )


def n_finished(stage):
    """Return how many trials of a Search or Repeats are finished, by any process."""
    return sum(queue.n_finished() for queue in stage.queues.values())


def work(stage, bar, describe):
    """Run what is left of a Search or Repeats, with other processes if there are any.

    ``describe(name, trial)`` is shown beside the bar. Returns whether all is done;
    otherwise the deadline came first.
    """
    queues = stage.queues.values()
    try:
        while stage.deadline is None or time.time() < stage.deadline:
            batch = _next_batch(stage.queues, effective_n_jobs(stage.n_jobs))
            if not batch:
                if all(queue.is_done() for queue in queues):
                    return True
                bar.set_postfix_str("waiting for other processes")
                time.sleep(POLL)
                continue
            with _heartbeats(batch):
                outcomes = stage.run(batch)
            for (name, trial), outcome in zip(batch, outcomes, strict=True):
                if "timed_out" not in outcome:  # otherwise it is released below
                    stage.queues[name].tell(trial, **outcome)
            if not bar.disable:
                bar.set_postfix_str(describe(name, trial), refresh=False)
                bar.update(n_finished(stage) - bar.n)
    finally:
        for queue in queues:
            queue.release()
    return all(queue.is_done() for queue in queues)


def _next_batch(queues, n):
    """Return up to n trials as (name, trial), of the methods with the fewest first."""
    batch: list = []
    for _ in range(n):
        for name in sorted(queues, key=lambda name: len(queues[name].trials())):
            trial = queues[name].ask()
            if trial is not None:
                batch.append((name, trial))
                break
        else:
            break
    return batch


def _heartbeats(batch):
    """Return a context in which Optuna records heartbeats of trials that run."""
    from optuna.storages._heartbeat import get_heartbeat_thread

    stack: Any = contextlib.ExitStack()
    for _, trial in batch:
        stack.enter_context(get_heartbeat_thread(trial._trial_id, trial.storage))
    return stack


def progress_bar(verbose, title, stage):
    """Return a progress bar, shown in terminals and notebooks only."""
    total = sum(queue.n_trials for queue in stage.queues.values())
    done = n_finished(stage)
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        disable=not (verbose and can_draw() and done < total),
    )
