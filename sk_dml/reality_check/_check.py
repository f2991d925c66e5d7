"""The protocol of the Reality Check."""

import datetime
import importlib
import json
import os
import platform
import time
import zlib
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sk_dml._training._checkpoint import describe
from sk_dml._utils._labels import as_labels, encode_labels
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.metrics._evaluate import check_options
from sk_dml.model_selection import ClassDisjointKFold, class_disjoint_split
from sk_dml.reality_check._baselines import BASELINES, make_baselines
from sk_dml.reality_check._concatenated import last_step
from sk_dml.reality_check._result import RealityCheckResult
from sk_dml.reality_check._search import (
    Method,
    TrialQueue,
    count_random,
    default_space,
    describe_pruner,
    describe_space,
    hide_password,
    import_optuna,
    is_plain,
    method_seed,
    name_estimators,
    opened_storage,
    plain,
    translate_space,
)
from sk_dml.reality_check._workers import (
    CLUSTERING,
    SCORINGS,
    Repeats,
    Search,
    progress_bar,
    work,
)

METRICS = ("map_at_r", "precision_at_1", "r_precision", "nmi", "pairwise_f1")
REFERENCE = "Contrastive"
PACKAGES = ("sk_dml", "numpy", "scipy", "sklearn", "torch", "skorch", "optuna")
NO_TRIAL = "the time limit came before the end of its first trial"


@dataclass(eq=False, repr=False)
class RealityCheck(BaseEstimator):
    """Compare methods fairly on your own data, by the protocol of the Reality Check.

    "A Metric Learning Reality Check" [1]_ found that the progress reported in papers
    came mostly from unequal comparisons. Here every method has the same network,
    budget, seeds and folds; its parameters are chosen by class-disjoint
    cross-validation on one part of the classes; the other classes are used once, at
    the end, to test it.

    Parameters
    ----------
    estimators : dict, list or None, default=None
        The methods: a dict of names to embedders, Pipelines that end in one, or other
        transformers; or a list of these and of names of embedders ("CircleEmbedder" or
        "circle"). None takes every embedder. Their ``random_state`` is set, and
        embedders stop early, by the fold's validation part.
    search_spaces : dict or None, default=None
        Search spaces by the name of the method: each a dict of its parameters to
        distributions of scipy.stats or lists. Embedders without an entry are searched
        over their ``search_space()``; other transformers are not searched.
    embedder_params : dict or None, default=None
        Set on every embedder, such as ``{"max_epochs": 50}``.
    reference : str or None, default=None
        The method or baseline to compare the methods with. None takes "Contrastive" if
        it takes part, else the first method; if there is only one, the first baseline.
    baselines : sequence of str or None, default=None
        Any of "raw features", "scaled features", "untrained network" (that of the first
        method, with its ``module``; for a pretrained one, the principal axes of its
        features), "PCA", "LDA" and "linear NCA" (scikit-learn's, on at most 2,000
        samples). None takes those that the data allow: images are not scaled pixel by
        pixel, and image files are no features. Linear methods get scaled features, LDA
        and NCA at most 256 principal components.
    n_trials : int, default=50
        Number of settings to try for every method; one where nothing is searched.
    n_folds : int, default=4
        Number of folds of the class-disjoint cross-validation, at least 2, each of two
        or more classes.
    n_repeats : int, default=10
        Number of times that the best setting is trained on the folds again.
    pruner : optuna.pruners.BasePruner or None, default=None
        May stop a trial after any of its folds, by the mean validation score so far,
        compared with the trials before it; for example
        ``optuna.pruners.MedianPruner()``. None runs all folds of every trial, at once
        if ``n_jobs`` allows.
    test_classes : {"last", "random"} or array-like, default="last"
        The test classes: the last of the sorted classes, random ones, or those listed.
    test_size : float or int, default=0.5
        Fraction in (0, 1) or number of the classes (of the groups, if given) for test.
        Ignored if ``test_classes`` lists them.
    metrics : sequence of str, default=("map_at_r", "precision_at_1", "r_precision", \
"nmi", "pairwise_f1")
        Scores on the test classes: metrics of :func:`sk_dml.metrics.retrieval_scores`,
        and "nmi", "ami" and "pairwise_f1", which papers used and which hardly
        distinguish methods. Methods are compared with the reference by the first.
    time_limit : float or None, default=None
        Seconds of this call after which the search ends, above 0. Unfinished trials do
        not count; every method continues with its best so far, and a note in the result
        says so. The repeats follow and are not limited.
    storage : str or None, default=None
        A database URL, such as "sqlite:///check.db", that keeps trials and repeats.
        Called again with the same data and settings, the comparison continues: finished
        trials are kept, failed ones too, and trials of a killed process are run again
        after 60 seconds without its heartbeat. Several processes, or machines, may
        share one storage. None keeps everything in memory.
    study_name : str, default="reality-check"
        Name of this comparison in the storage, which may hold several.
    n_jobs : int or None, default=None
        Number of trials to run at once in this process, as joblib counts them, in the
        backend that is set: ``with joblib.parallel_config("dask")`` for a
        dask.distributed client, and ``"ray"`` after ``register_ray()``.
    random_state : int, default=0
        Seeds everything. One process with ``n_jobs=1`` gives the same results to the
        bit, also if it is killed and started again, as long as networks compute with
        the same number of threads on the same CPU. Several processes or jobs do not:
        the parameters of a trial depend on which trials were finished before it. The
        seeds and folds are the same in any case.
    verbose : int, default=0
        1 shows a progress bar with the last trial and the best score so far, in
        terminals and notebooks.

    See Also
    --------
    ConcatenatedEmbedder : The models of the folds as one transformer.
    RealityCheckResult : The result of :meth:`run`.

    Notes
    -----
    The parameters of the first ten trials of a method (half of them, if there are fewer
    than 20) are drawn at random, the others by Optuna's tree-structured Parzen
    estimator from the trials that are finished; trials that run at the same time count
    as bad ones, so that their parameters differ.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.reality_check import RealityCheck
    >>> X, y = load_digits(return_X_y=True)
    >>> check = RealityCheck(
    ...     estimators=["softmax", "proxy-nca"],
    ...     embedder_params={"max_epochs": 2},
    ...     baselines=["raw features"],
    ...     n_trials=2,
    ...     n_folds=2,
    ...     n_repeats=2,
    ...     metrics=["map_at_r"],
    ... )
    >>> result = check.run(X, y)
    >>> for row in result.rows()[:4]:
    ...     print(row["method"], row["scoring"], row["n"])
    Softmax separated 2
    Softmax concatenated 2
    ProxyNCA separated 2
    ProxyNCA concatenated 2
    """

    estimators: Any = None
    _: KW_ONLY
    search_spaces: dict | None = None
    embedder_params: dict | None = None
    reference: str | None = None
    baselines: Any = None
    n_trials: int = 50
    n_folds: int = 4
    n_repeats: int = 10
    pruner: Any = None
    test_classes: Any = "last"
    test_size: float = 0.5
    metrics: Any = METRICS
    time_limit: float | None = None
    storage: str | None = None
    study_name: str = "reality-check"
    n_jobs: int | None = None
    random_state: int = 0
    verbose: int = 0

    _parameter_constraints = {
        "estimators": [dict, list, tuple, None],
        "search_spaces": [dict, None],
        "embedder_params": [dict, None],
        "reference": [str, None],
        "baselines": [list, tuple, None],
        "n_trials": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "pruner": [HasMethods(["prune"]), None],
        "test_classes": [StrOptions({"last", "random"}), "array-like"],
        "test_size": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "metrics": ["array-like"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "storage": [str, None],
        "study_name": [str],
        "n_jobs": [Integral, None],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
        "verbose": ["verbose"],
    }

    def run(self, X, y, groups=None):
        """Search, repeat the best settings, and score them on the test classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the kind that the methods take.
        y : array-like of shape (n_samples,)
            The classes, four or more.
        groups : array-like of shape (n_samples,) or None, default=None
            Superclasses; the classes of one stay on the same side of every split.

        Returns
        -------
        RealityCheckResult
            It lists methods without a successful trial too, with the reason.

        Raises
        ------
        ImportError
            If Optuna is missing.
        ValueError
            If there are too few classes, a search space has an unknown parameter, the
            storage cannot be opened or holds another comparison of this name, or a
            parameter is not allowed.
        TypeError
            If a search space or a label is of a wrong type.
        KeyboardInterrupt
            If Ctrl-C came; with a storage, the next call continues.
        """
        self._validate_params()
        import_optuna()
        metrics = check_options(self.metrics, extra=CLUSTERING)
        methods = self._methods()
        names = [method.name for method in methods]
        X, y, groups = indexable(X, as_labels(y), groups)
        development, test = self._split(X, y, groups)
        baselines = self._baselines(names, methods[0].estimator, development[0])
        reference = self._reference(names, [method.name for method in baselines])
        folds = self._folds(*development)
        with opened_storage(self.storage) as storage:
            return compare(
                self,
                storage,
                methods,
                baselines,
                development,
                folds,
                test,
                metrics=metrics,
                reference=reference,
            )

    def _reference(self, names, baselines):
        """Return the method or baseline that the methods are compared with."""
        if self.reference is None:
            if len(names) == 1:
                return [*baselines, *names][0]
            return REFERENCE if REFERENCE in names else names[0]
        allowed = [*names, *baselines]
        alike = [name for name in allowed if plain(name) == plain(self.reference)]
        if self.reference in allowed:
            return self.reference
        if len(alike) == 1:
            return alike[0]
        raise ValueError(
            f"reference must be one of the methods {names} or baselines {baselines}, "
            f"got {self.reference!r}."
        )

    def _methods(self):
        spaces = dict(self.search_spaces or {})
        methods = []
        for name, estimator in name_estimators(self.estimators).items():
            prefix, embedder = last_step(estimator)
            estimator = clone(estimator)
            if isinstance(embedder, BaseEmbedder):
                params = {**(self.embedder_params or {}), "early_stopping": True}
                params = {f"{prefix}{n}": v for n, v in params.items()}
                try:
                    estimator.set_params(**params)
                except ValueError as error:
                    raise ValueError(
                        f"embedder_params do not fit {name}: {error}"
                    ) from error
            space = spaces.pop(name, None)
            space = default_space(estimator) if space is None else space
            dimensions = translate_space(name, estimator, space)
            methods.append(Method(name, "method", estimator, space, dimensions))
        if spaces:
            raise ValueError(
                f"search_spaces has the unknown methods {sorted(spaces)}. Allowed are "
                f"{[method.name for method in methods]}."
            )
        return methods

    def _baselines(self, taken, estimator, X):
        names = BASELINES if self.baselines is None else self.baselines
        unknown = [name for name in names if name not in BASELINES]
        if unknown:
            raise ValueError(
                f"baselines must be of {list(BASELINES)}, got {unknown!r}."
            )
        double = [name for name in names if name in taken]
        if double:
            raise ValueError(f"estimators must not have names of baselines: {double}.")
        made = make_baselines(names, estimator, X)
        return [Method(n, "baseline", baseline, {}, {}) for n, baseline in made.items()]

    def _split(self, X, y, groups):
        """Return development (X, y, groups) and test (X, y), of different classes."""
        classes, codes = encode_labels(y)
        if len(classes) < 4:
            raise ValueError(
                f"y must have 4 classes or more, two for development and two for test, "
                f"got {len(classes)}."
            )
        if isinstance(self.test_classes, str):
            shuffle = self.test_classes == "random"
            develop, held, _, _ = class_disjoint_split(
                np.arange(len(codes)),
                y=y,
                test_size=self.test_size,
                groups=groups,
                shuffle=shuffle,
                random_state=self.random_state if shuffle else None,
            )
        else:
            wanted = set(as_labels(self.test_classes).tolist())
            known = classes.tolist()
            unknown = sorted(map(repr, wanted - set(known)))
            if unknown:
                raise ValueError(f"test_classes are not in y: {', '.join(unknown)}.")
            is_test = np.array([label in wanted for label in known])[codes]
            develop, held = np.flatnonzero(~is_test), np.flatnonzero(is_test)
            if groups is not None:
                sides = [set(np.asarray(groups)[p].tolist()) for p in (develop, held)]
                if split := sorted(map(repr, set.intersection(*sides))):
                    raise ValueError(
                        f"test_classes must list all classes of a group or none; "
                        f"{len(split)} groups are on both sides: {', '.join(split)}."
                    )
        parts = []
        for part in (develop, held):
            parts.append((_safe_indexing(X, part), _safe_indexing(y, part)))
            n_classes = len(np.unique(codes[part]))
            if n_classes < 2:
                which = "development" if part is develop else "test"
                raise ValueError(
                    f"test_classes={self.test_classes!r} and test_size="
                    f"{self.test_size} leave {n_classes} classes for {which}; there "
                    "must be two or more."
                )
        superclasses = None if groups is None else _safe_indexing(groups, develop)
        return (*parts[0], superclasses), parts[1]

    def _folds(self, X, y, groups):
        _, codes = encode_labels(y)
        n_classes = codes.max() + 1
        most = n_classes // 2
        advice = "" if most < 2 else f"n_folds (--folds of the command) up to {most}, "
        message = (
            f"n_folds={self.n_folds} takes two classes or more in every fold; there "
            f"are {n_classes} classes for development. Choose {advice}a smaller "
            "test_size, or data with more classes."
        )
        if n_classes < 2 * self.n_folds:
            raise ValueError(message)
        folds = list(ClassDisjointKFold(self.n_folds).split(X, y, groups))
        for parts in folds:
            if min(len(np.unique(codes[part])) for part in parts) < 2:
                raise ValueError(f"{message} Classes of a group stay together.")
        return folds


# From methods and data to a result ---------------------------------------------------


def compare(
    check, storage, methods, baselines, development, folds, test, *, metrics, reference
):
    """Search and repeat by the settings of a RealityCheck; return the result."""
    descriptions = {
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
    search, in_time = _search(check, storage, methods, development, folds, descriptions)
    entries, chosen, best_params = _choose(search, methods)
    entries += [_entry(method) for method in baselines]
    best_params |= {method.name: {} for method in baselines}
    prefixes = {name: f"{check.study_name}/{name}/repeats " for name in best_params}
    tested_before = _completed(storage)
    on_test = {"test data": [_content(part) for part in test], "metrics": metrics}
    repeats = Repeats(
        methods={method.name: method for method in [*chosen, *baselines]},
        queues={
            name: TrialQueue(
                storage,
                # A search that goes on may choose otherwise: its repeats are others.
                f"{prefixes[name]}{zlib.crc32(repr(best).encode()):08x}",
                check.n_repeats,
                _plain({**descriptions[name], **on_test}),
            )
            for name, best in best_params.items()
        },
        development=development,
        test=test,
        n_folds=check.n_folds,
        metrics=metrics,
        seed=check.random_state,
        n_jobs=check.n_jobs,
    )
    with progress_bar(check.verbose, "test", repeats) as bar:
        work(
            repeats,
            bar,
            lambda name, trial: f"{name}: repeat {trial.number + 1}",
        )
    result = RealityCheckResult(entries, _trial_rows(search), _repeat_rows(repeats))
    _add_reasons(result, repeats)
    result.settings = _describe_settings(
        check, methods, development, test, metrics=metrics, reference=reference
    )
    if not in_time:
        result.notes.append(_time_note(check, search))
    now = {queue.study.study_name for queue in repeats.queues.values()}
    others = {
        name
        for name, prefix in prefixes.items()
        if any(study.startswith(prefix) for study in tested_before - now)
    }
    if others:
        result.notes.append(
            "The test classes were used before, when another search had chosen other "
            f"settings for {', '.join(sorted(others))}."
        )
    return result


def _search(check, storage, methods, development, folds, descriptions):
    """Run the search; return it, and whether it ended before the time limit."""
    limit = check.time_limit
    deadline = None if limit is None else time.time() + limit
    pruner = describe_pruner(check.pruner)
    search = Search(
        methods={method.name: method for method in methods},
        queues={
            method.name: TrialQueue(
                storage,
                f"{check.study_name}/{method.name}",
                check.n_trials if method.dimensions else 1,
                {
                    **descriptions[method.name],
                    "search space": _identify(method.space),
                    **({} if pruner is None else {"pruner": pruner}),
                },
                dimensions=method.dimensions,
                n_random=count_random(check.n_trials),
                seed=method_seed(check.random_state, method.name),
                pruner=check.pruner,
            )
            for method in methods
        },
        X=development[0],
        y=development[1],
        folds=folds,
        seed=check.random_state,
        n_jobs=check.n_jobs,
        prunes=check.pruner is not None,
        deadline=deadline,
    )

    def describe_trial(name, trial):
        best = search.queues[name].best()
        score = "" if best is None else f", best MAP@R {best.value:.4f}"
        return f"{name}: trial {trial.number + 1}{score}"

    with progress_bar(check.verbose, "search", search) as bar:
        return search, work(search, bar, describe_trial)


def _completed(storage):
    """Return the names of the studies in which a trial is complete."""
    complete = (import_optuna().trial.TrialState.COMPLETE,)
    names = [study.study_name for study in storage.get_all_studies()]
    ids = map(storage.get_study_id_from_name, names)
    return {
        name
        for name, number in zip(names, ids, strict=True)
        if storage.get_all_trials(number, deepcopy=False, states=complete)
    }


def _plain(value):
    return json.loads(json.dumps(describe(value)))


def _content(part):
    is_described = part is None or hasattr(part, "fingerprint")
    return part if is_described else np.asarray(part)


def _identify(space):
    """Describe a search space; lists of other than plain values by their content."""
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
    """Return entries of the result, methods with their best setting, and these."""
    entries, chosen, best_params = [], [], {}
    for method in methods:
        entry = _entry(method)
        entries.append(entry)
        best = search.queues[method.name].best()
        if best is None:
            entry["reason"] = _why_no_trial(search.queues[method.name])
            continue
        entry["best_params"] = method.show(best.params)
        entry["best_score"] = best.value
        best_params[method.name] = best.params
        params = method.decode(best.params)
        estimator = clone(method.estimator).set_params(**params)
        chosen.append(replace(method, estimator=estimator))
    return entries, chosen, best_params


def _errors(queue):
    attributes = [trial.user_attrs for trial in queue.trials()]
    return [of_trial["error"] for of_trial in attributes if "error" in of_trial]


def _why_no_trial(queue):
    errors, n = _errors(queue), queue.n_trials
    n_pruned = sum(trial.state.name == "PRUNED" for trial in queue.trials())
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


def _trial_rows(search):
    rows = []
    for name, queue in search.queues.items():
        for trial in queue.trials():
            state = trial.state.name.lower()
            begun, ended = trial.datetime_start, trial.datetime_complete
            rows.append(
                {
                    "method": name,
                    "trial": trial.number,
                    "state": "failed" if state == "fail" else state,
                    "value": trial.value,
                    "fold_scores": trial.user_attrs.get("fold_scores"),
                    "params": search.methods[name].show(trial.params),
                    "error": trial.user_attrs.get("error"),
                    "start": begun and begun.isoformat(),
                    "duration": (ended - begun).total_seconds() if ended else None,
                }
            )
    return rows


def _repeat_rows(repeats):
    return [
        {
            "method": name,
            "kind": repeats.methods[name].kind,
            "scoring": scoring,
            "repeat": trial.number,
            "seed": repeats.seed_of(trial.number),
            **trial.user_attrs["scores"][scoring],
        }
        for name, queue in repeats.queues.items()
        for trial in queue.trials()
        if "scores" in trial.user_attrs
        for scoring in SCORINGS
    ]


def _add_reasons(result, repeats):
    """Add to the entries how many of their trials and repeats failed."""
    for entry in result.methods:
        name = entry["method"]
        if name not in repeats.queues:
            continue
        states = [row["state"] for row in result.trials if row["method"] == name]
        reasons = []
        if n_failed := states.count("failed"):
            reasons.append(f"{n_failed} of {len(states)} trials failed")
        if errors := _errors(repeats.queues[name]):
            reasons.append(
                f"{len(errors)} of {repeats.queues[name].n_trials} repeats failed, the "
                f"first with {errors[0]}"
            )
        entry["reason"] = "; ".join(reasons)


def _time_note(check, search):
    done = [queue.n_finished() for queue in search.queues.values()]
    fewest, most = min(done), max(done)
    span = str(fewest) if fewest == most else f"{fewest} to {most}"
    n_trials = max(queue.n_trials for queue in search.queues.values())
    return (
        f"The time limit of {check.time_limit:g} s ended the search after {span} of "
        f"{n_trials} trials a method. Every method has its best so far; unfinished "
        "trials do not count."
    )


def _describe_settings(check, methods, development, test, *, metrics, reference):
    names = ("study_name", "n_trials", "n_folds", "n_repeats", "test_size", "n_jobs")
    settings = {name: getattr(check, name) for name in (*names, "random_state")}
    listed = check.test_classes
    versions = {n: importlib.import_module(n).__version__ for n in PACKAGES}
    return settings | {
        "n_random_trials": count_random(check.n_trials),
        "pruner": describe_pruner(check.pruner),
        "time_limit": check.time_limit,
        "storage": check.storage and hide_password(check.storage),
        "test_classes": listed if isinstance(listed, str) else [*map(str, listed)],
        "metrics": list(metrics),
        "reference": reference,
        "n_development_samples": len(development[1]),
        "n_development_classes": len(np.unique(development[1])),
        "n_test_samples": len(test[1]),
        "n_test_classes": len(np.unique(test[1])),
        "groups": development[2] is not None,
        "estimators": {method.name: repr(method.estimator) for method in methods},
        "search_spaces": {m.name: describe_space(m.space) for m in methods},
        "versions": {"python": platform.python_version(), **versions},
        "hardware": _describe_hardware(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _describe_hardware():
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "n_cpus": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(n_gpus)],
    }
