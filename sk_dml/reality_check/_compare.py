"""From prepared methods and data to a result."""

import json
import time
import zlib
from dataclasses import replace

import numpy as np
from sklearn.base import clone

from sk_dml._training._checkpoint import describe
from sk_dml.reality_check import _settings
from sk_dml.reality_check._fold import last_step
from sk_dml.reality_check._progress import Progress, duration
from sk_dml.reality_check._result import RealityCheckResult
from sk_dml.reality_check._run import Repeats, Search, work
from sk_dml.reality_check._search_space import describe_space, is_plain
from sk_dml.reality_check._storage import hide_password, import_optuna, opened_storage
from sk_dml.reality_check._tasks import SCORINGS
from sk_dml.reality_check._tuning import describe_pruner, n_random

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
}
NO_TRIAL = "the time limit came before the end of its first trial"


def compare(check, *parts, **settings):
    """Search, repeat, and collect, in the storage of the settings.

    Parameters
    ----------
    check : RealityCheck
        The settings.
    *parts, **settings : object
        As for :func:`compare_in`.

    Returns
    -------
    RealityCheckResult
    """
    with opened_storage(check.storage) as storage:
        return compare_in(storage, check, *parts, **settings)


def compare_in(
    storage,
    check,
    methods,
    baselines,
    development,
    folds,
    test,
    *,
    metrics,
    reference,
):
    """Search, repeat, and collect.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    check : RealityCheck
        The settings.
    methods, baselines : list of Method
    development : tuple of (X, y, groups)
    folds : list of (train, valid)
    test : tuple of (X, y)
    metrics : tuple of str
    reference : str

    Returns
    -------
    RealityCheckResult
    """
    shared = check.storage is not None
    deadline = None if check.time_limit is None else time.time() + check.time_limit
    described = {
        method.name: _plain(
            {
                "estimator": method.estimator,
                "data": [_content(part) for part in development],
                "n_folds": check.n_folds,
                "random_state": check.random_state,
            }
        )
        for method in [*methods, *baselines]
    }
    pruner = describe_pruner(check.pruner)
    pruning = {} if pruner is None else {"pruner": pruner}
    search = Search(
        methods,
        development,
        folds,
        storage=storage,
        study_name=check.study_name,
        n_trials=check.n_trials,
        seed=check.random_state,
        descriptions={
            method.name: {
                **described[method.name],
                "search space": _identify(method.space),
                **pruning,
            }
            for method in methods
        },
        pruner=check.pruner,
    )
    n_searched = sum(ledger.n_pieces for ledger in search.ledgers.values())
    progress = Progress(check.verbose)
    progress.begin(
        f"Search: {n_searched} trials of {len(methods)} methods",
        _n_finished(search),
        n_searched,
        # Those of baselines take next to no time.
        n_after=len(methods) * check.n_repeats,
        deadline=deadline,
    )

    def after_trial(name, attempt, outcome):
        best = search.best(name)
        value = "none completed" if best is None else f"{best.value:.4f}"
        ledger = search.ledgers[name]
        progress.show(
            f"{name}: trial {attempt.index + 1} of {ledger.n_pieces}, "
            f"best MAP@R {value}",
            _n_finished(search),
        )

    in_time = work(
        search.ledgers,
        lambda batch: search.run(batch, n_jobs=check.n_jobs, deadline=deadline),
        n_jobs=check.n_jobs,
        shared=shared,
        deadline=deadline,
        after=after_trial,
        idle=progress.wait,
    )
    chosen, entries, best_of = _choose(search, methods)
    entries += [_entry(method) for method in baselines]
    best_of |= {method.name: {} for method in baselines}
    on_test = {"test data": [_content(part) for part in test], "metrics": metrics}
    ready = [*chosen, *baselines]
    prefixes = {name: f"{check.study_name}/{name}/repeats " for name in best_of}
    rated_before = _completed(storage)
    repeats = Repeats(
        ready,
        development,
        test,
        storage=storage,
        # A search that goes on may choose otherwise: its repeats are others.
        names={
            name: f"{prefixes[name]}{zlib.crc32(repr(best).encode()):08x}"
            for name, best in best_of.items()
        },
        n_repeats=check.n_repeats,
        n_folds=check.n_folds,
        metrics=metrics,
        seed=check.random_state,
        descriptions={
            method.name: _plain({**described[method.name], **on_test})
            for method in ready
        },
    )

    n_repeated = len(ready) * check.n_repeats
    progress.begin(
        f"Test: {n_repeated} repeats of {len(ready)} methods and baselines",
        _n_finished(repeats),
        n_repeated,
    )

    def after_repeat(name, attempt, outcome):
        progress.show(
            f"{name}: repeat {attempt.index + 1} of {check.n_repeats}",
            _n_finished(repeats),
        )

    work(
        repeats.ledgers,
        lambda batch: repeats.run(batch, n_jobs=check.n_jobs),
        n_jobs=check.n_jobs,
        shared=shared,
        after=after_repeat,
        idle=progress.wait,
    )
    progress.close()
    result = RealityCheckResult(entries, _trials(search), _repeats(repeats))
    _give_reasons(result, repeats)
    result.settings = _describe_all(
        check, methods, development, test, metrics=metrics, reference=reference
    )
    if not in_time:
        result.notes.append(_time_note(check, search))
    now = {ledger.study.study_name for ledger in repeats.ledgers.values()}
    others = {
        name
        for name, prefix in prefixes.items()
        if any(study.startswith(prefix) for study in rated_before - now)
    }
    if others:
        result.notes.append(
            "The test classes were looked at before, when another search had chosen "
            f"other settings for {', '.join(sorted(others))}."
        )
    return result


def _completed(storage):
    """Name the studies in which something is complete."""
    complete = (import_optuna().trial.TrialState.COMPLETE,)
    names = [study.study_name for study in storage.get_all_studies()]
    ids = map(storage.get_study_id_from_name, names)
    return {
        name
        for name, number in zip(names, ids, strict=True)
        if storage.get_all_trials(number, deepcopy=False, states=complete)
    }


def _n_finished(half):
    return sum(ledger.n_finished() for ledger in half.ledgers.values())


def _plain(value):
    return json.loads(json.dumps(describe(value)))


def _content(part):
    is_described = part is None or hasattr(part, "fingerprint")
    return part if is_described else np.asarray(part)


def _identify(space):
    """Describe a search space; what is in lists and no plain value by its content."""
    described = describe_space(space)
    for name, values in space.items():
        if isinstance(values, list | tuple) and not all(map(is_plain, values)):
            described[name] = [described[name], _plain(values)]
    return described


def _entry(method):
    return {
        "method": method.name,
        "kind": method.kind,
        "estimator": type(last_step(method.estimator)[1]).__name__,
        "best_params": {},
        "best_score": None,
        "reason": "",
    }


def _choose(search, methods):
    """Give every method its best setting; tell of those that have none."""
    chosen, entries, best_of = [], [], {}
    for method in methods:
        entry = _entry(method)
        entries.append(entry)
        best = search.best(method.name)
        if best is None:
            entry["reason"] = _why_no_trial(search.ledgers[method.name])
            continue
        entry["best_params"] = method.show(best.params)
        entry["best_score"] = best.value
        best_of[method.name] = best.params
        params = method.decode(best.params)
        estimator = clone(method.estimator).set_params(**params)
        chosen.append(replace(method, estimator=estimator))
    return chosen, entries, best_of


def _why_no_trial(ledger):
    pieces = ledger.pieces().values()
    errors = [t.user_attrs["error"] for t in pieces if "error" in t.user_attrs]
    n_pruned = sum(trial.state.name == "PRUNED" for trial in pieces)
    n = ledger.n_pieces
    if len(errors) == n == 1:
        return f"its only trial failed with {errors[0]}"
    reasons = []
    if errors:
        reasons.append(
            f"{len(errors)} of {n} trials failed, the first with {errors[0]}"
        )
    if n_pruned:
        reasons.append(f"{n_pruned} of {n} trials were pruned")
    return "; ".join(reasons) or NO_TRIAL


def _trials(search):
    rows = []
    for name, ledger in search.ledgers.items():
        for index, trial in ledger.pieces().items():
            begun, ended = trial.datetime_start, trial.datetime_complete
            rows.append(
                {
                    "method": name,
                    "trial": index,
                    "state": STATES.get(trial.state.name, "waiting"),
                    "value": trial.value,
                    "fold_scores": trial.user_attrs.get("fold_scores"),
                    "params": search.methods[name].show(trial.params),
                    "error": trial.user_attrs.get("error"),
                    "start": begun and begun.isoformat(),
                    "duration": (ended - begun).total_seconds() if ended else None,
                }
            )
    return rows


def _repeats(repeats):
    rows = []
    for name, ledger in repeats.ledgers.items():
        for index, trial in ledger.pieces().items():
            scores = trial.user_attrs.get("scores", {})
            rows += [
                {
                    "method": name,
                    "kind": repeats.methods[name].kind,
                    "scoring": scoring,
                    "repeat": index,
                    "seed": repeats.seed_of(index),
                    **scores[scoring],
                }
                for scoring in SCORINGS
                if scoring in scores
            ]
    return rows


def _give_reasons(result, repeats):
    """Say in the table which repeats failed, and which methods some trials of."""
    for entry in result.methods:
        name = entry["method"]
        if name not in repeats.ledgers:
            continue
        failed = [
            trial.user_attrs["error"]
            for trial in repeats.ledgers[name].pieces().values()
            if "error" in trial.user_attrs
        ]
        own = [row for row in result.trials if row["method"] == name]
        n_failed = sum(row["state"] == "failed" for row in own)
        reasons = []
        if n_failed:
            reasons.append(f"{n_failed} of {len(own)} trials failed")
        if failed:
            n_repeats = repeats.ledgers[name].n_pieces
            reasons.append(
                f"{len(failed)} of {n_repeats} repeats failed, the first with "
                f"{failed[0]}"
            )
        entry["reason"] = "; ".join(reasons)


def _time_note(check, search):
    done = {name: ledger.n_finished() for name, ledger in search.ledgers.items()}
    of = {name: ledger.n_pieces for name, ledger in search.ledgers.items()}
    fewest, most = min(done.values()), max(done.values())
    n_trials = max(of.values())
    span = str(fewest) if fewest == most else f"{fewest} to {most}"
    return (
        f"The time limit of {duration(check.time_limit)} ended the search after "
        f"{span} of {n_trials} trials a method; every method has its best so far, and "
        "trials that were cut short do not count."
    )


def _describe_all(check, methods, development, test, *, metrics, reference):
    names = ("study_name", "n_trials", "n_folds", "n_repeats", "test_size", "n_jobs")
    settings = {name: getattr(check, name) for name in (*names, "random_state")}
    given = check.test_classes
    return settings | {
        "n_random_trials": n_random(check.n_trials),
        "pruner": describe_pruner(check.pruner),
        "time_limit": check.time_limit,
        "storage": check.storage and hide_password(check.storage),
        "test_classes": given
        if isinstance(given, str)
        else [str(label) for label in given],
        "metrics": list(metrics),
        "reference": reference,
        "n_development_samples": len(development[1]),
        "n_development_classes": len(np.unique(development[1])),
        "n_test_samples": len(test[1]),
        "n_test_classes": len(np.unique(test[1])),
        "groups": development[2] is not None,
        "estimators": {method.name: repr(method.estimator) for method in methods},
        "search_spaces": {m.name: describe_space(m.space) for m in methods},
        "versions": _settings.versions(),
        "hardware": _settings.hardware(),
        "date": _settings.today(),
    }
