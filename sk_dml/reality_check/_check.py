"""The protocol of the Reality Check: its settings, and what they are applied to."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sk_dml._utils._labels import as_labels, encode_labels
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.metrics._evaluate import check_options
from sk_dml.model_selection import ClassDisjointKFold, class_disjoint_split
from sk_dml.reality_check._baselines import BASELINES, make_baselines
from sk_dml.reality_check._compare import compare
from sk_dml.reality_check._fold import last_step
from sk_dml.reality_check._naming import name_estimators, plain
from sk_dml.reality_check._run import Method
from sk_dml.reality_check._search_space import default_space, translate_space
from sk_dml.reality_check._storage import import_optuna
from sk_dml.reality_check._tasks import CLUSTERING

METRICS = ("map_at_r", "precision_at_1", "r_precision", "nmi", "pairwise_f1")
REFERENCE = "Contrastive"


@dataclass(eq=False, repr=False)
class RealityCheck(BaseEstimator):
    """Compare methods fairly on your own data, by the protocol of the Reality Check.

    "A Metric Learning Reality Check" [1]_ found that the progress that papers reported
    came mostly from unequal comparisons. Here every method has the same network,
    budget, seeds and folds; its parameters are chosen by class-disjoint
    cross-validation on one part of the classes; and the others are looked at once, at
    the end.

    Parameters
    ----------
    estimators : dict, list or None, default=None
        The methods: a dict of names to embedders, Pipelines that end in one, or other
        transformers; or a list of such, and of names of embedders ("CircleEmbedder", or
        "circle"). None takes every embedder. All their ``random_state`` are set, and
        embedders stop early, by the fold's validation part.
    search_spaces : dict or None, default=None
        What to search, by the name of the method: a dict of its parameters to
        distributions of scipy.stats or lists. Methods that it does not name are
        searched over their ``search_space()``; other transformers have none.
    embedder_params : dict or None, default=None
        Set on every embedder, such as ``{"max_epochs": 50}``.
    reference : str or None, default=None
        The method or baseline to compare the methods with. None takes "Contrastive" if
        it takes part, and the first otherwise; for one method alone, the first
        baseline.
    baselines : sequence of str or None, default=None
        Any of "raw features", "scaled features", "untrained network" (that of the first
        method, with its ``module``; of a pretrained one, the principal axes of its
        features), "PCA", "LDA" and "linear NCA" (scikit-learn's, on 2,000 samples at
        most). None takes those that the data allow: images are not
        scaled by the pixel, and files of images are no features. Linear methods get
        scaled features, LDA and NCA at most 256 principal components.
    n_trials : int, default=50
        Settings to try for every method. A method with nothing to search has one.
    n_folds : int, default=4
        Folds of the class-disjoint cross-validation, at least 2; each needs two
        classes.
    n_repeats : int, default=10
        How often the best setting is trained again on the folds.
    pruner : optuna.pruners.BasePruner or None, default=None
        May stop a trial after any of its folds, by the mean validation score so far:
        ``optuna.pruners.MedianPruner()``, say. A trial is compared with those that it
        learns from, and one drawn at random with none. None runs all folds of every
        trial, at once if ``n_jobs`` allows.
    test_classes : {"last", "random"} or array-like, default="last"
        The classes for test: the last of the sorted ones, random ones, or these.
    test_size : float or int, default=0.5
        Share or number of the classes (of the groups where there are any) for test.
        Without effect where ``test_classes`` lists them.
    metrics : sequence of str, default=("map_at_r", "precision_at_1", "r_precision", \
"nmi", "pairwise_f1")
        What to rate the test classes by: metrics of
        :func:`sk_dml.metrics.retrieval_scores`, and "nmi", "ami" and "pairwise_f1",
        which papers used, and which hardly tell methods apart. By the first, methods
        are compared with the reference.
    time_limit : float or None, default=None
        Seconds of this call after which the search ends, above 0. Trials that it cuts
        short do not count; every method goes on with its best so far, and the result
        says so. The repeats come after it.
    storage : str or None, default=None
        A database URL, such as "sqlite:///check.db", that keeps trials and repeats.
        Called again with the same data and settings, it goes on where it stopped:
        after 60 seconds without a sign of life, what a killed process was running is
        run again; what failed stays so. Several processes, or machines, may work on one
        at once. None keeps them in memory.
    study_name : str, default="reality-check"
        Tells several comparisons in one storage apart.
    n_jobs : int or None, default=None
        How many trials to run at once in this process, as joblib counts them, in
        whatever backend is set: ``with joblib.parallel_config("dask")`` for a
        dask.distributed client, and ``"ray"`` after ``register_ray()``.
    random_state : int, default=0
        Seeds everything. Results are the same to the bit where networks compute with
        the same number of threads on the same CPU, however the trials are shared out.
    verbose : int, default=0
        1 shows on the standard error the method, the trial, the best so far and the
        time left.

    See Also
    --------
    ConcatenatedEmbedder : The models of the folds as one transformer.
    RealityCheckResult : What :meth:`run` returns.

    Notes
    -----
    Trial i of a method learns from the trials up to i - 2, so that two may run at once
    with the same outcome. The first ten, or half of all where these are fewer than
    20, are drawn at random.

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
        """Compare.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the kind that the methods take.
        y : array-like of shape (n_samples,)
            Their classes.
        groups : array-like of shape (n_samples,) or None, default=None
            Superclasses, whose classes stay on one side of every split.

        Returns
        -------
        RealityCheckResult
            Methods of which all trials failed are in it, with the reason.

        Raises
        ------
        ImportError
            If Optuna is missing.
        ValueError
            If there are too few classes, a search space names a parameter that does not
            exist, the storage cannot be opened or holds another comparison of this
            name, or a setting does not fit.
        TypeError
            If a setting or a label is of another type.
        """
        self._validate_params()
        import_optuna()
        metrics = check_options(self.metrics, extra=CLUSTERING)
        methods = self._methods()
        names = [method.name for method in methods]
        X, y, groups = indexable(X, as_labels(y), groups)
        development, test = self._split(X, y, groups)
        baselines = self._baselines(names, methods[0].estimator, development[0])
        return compare(
            self,
            methods,
            baselines,
            development,
            self._folds(*development),
            test,
            metrics=metrics,
            reference=self._reference(names, [method.name for method in baselines]),
        )

    def _reference(self, names, baselines):
        """Choose what the methods are compared with."""
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
                estimator.set_params(**{f"{prefix}{n}": v for n, v in params.items()})
            space = spaces.pop(name, None)
            space = default_space(estimator) if space is None else space
            dimensions = translate_space(name, estimator, space)
            methods.append(Method(name, "method", estimator, space, dimensions))
        if spaces:
            raise ValueError(
                f"search_spaces names {sorted(spaces)}, which take no part. Methods "
                f"are {[method.name for method in methods]}."
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
            raise ValueError(f"estimators must not be named as baselines: {double}.")
        made = make_baselines(names, estimator, X)
        return [Method(n, "baseline", baseline, {}, {}) for n, baseline in made.items()]

    def _split(self, X, y, groups):
        """Split into the classes for development and those for test."""
        classes, codes = encode_labels(y)
        if len(classes) < 4:
            raise ValueError(
                f"y has {len(classes)} classes; there must be two or more for "
                "development and two or more for test."
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
                        f"test_classes must list all classes of a group or none, but "
                        f"{len(split)} groups are on both sides: {', '.join(split)}."
                    )
        parts = []
        for part in (develop, held):
            of_part = [None if a is None else _safe_indexing(a, part) for a in (X, y)]
            parts.append(of_part)
            n_classes = len(np.unique(codes[part]))
            if n_classes < 2:
                which = "development" if part is develop else "test"
                raise ValueError(
                    f"test_classes={self.test_classes!r} and test_size="
                    f"{self.test_size} leave {n_classes} classes for {which}, which "
                    "takes two or more."
                )
        superclasses = None if groups is None else _safe_indexing(groups, develop)
        return (*parts[0], superclasses), tuple(parts[1])

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
                raise ValueError(f"{message} Groups keep classes together.")
        return folds
