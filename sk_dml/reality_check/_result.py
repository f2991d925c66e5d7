"""Result of a comparison: its tables, statistics, plots and files."""

import csv
import json
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from sk_dml.reality_check._plot import draw_comparison, draw_trials
from sk_dml.reality_check._report import make_page
from sk_dml.reality_check._workers import SCORINGS

COMPARED = (
    *("difference", "difference_low", "difference_high"),
    *("p_value", "p_value_holm"),
)


@dataclass
class RealityCheckResult:
    """Result of a :class:`RealityCheck`.

    It holds plain data: strings, numbers, lists and dicts.

    Parameters
    ----------
    methods : list of dict
        One for every method and baseline, in the order of the table: ``method``, its
        name; ``kind``, "method" or "baseline"; ``estimator``, the name of its class, or
        of the class of the last step of its Pipeline; ``best_params``, the chosen
        parameters, as plain values or text; ``best_score``, their mean validation
        MAP@R, or None; ``reason``, why results are missing, or "".
    trials : list of dict
        One for every trial that was started: ``method``, ``trial`` (from 0), ``state``
        ("complete", "pruned", "failed", "running" by another process or "waiting"),
        ``value`` (mean validation MAP@R; of a pruned trial, over its folds so far),
        ``fold_scores`` (list of float), ``params`` (dict), ``error``, ``start`` and
        ``duration`` in seconds; None where there is none.
    repeats : list of dict
        One for every completed repeat and scoring: ``method``, ``kind``, ``scoring``
        ("separated" or "concatenated"), ``repeat`` (from 0), ``seed``, and the value of
        every metric by its name.
    settings : dict
        All settings, seeds, versions and the hardware.
    notes : list of str
        Remarks for the reader, such as that a time limit ended the search.

    See Also
    --------
    RealityCheck : Runs the comparison.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.reality_check import RealityCheck
    >>> check = RealityCheck(
    ...     estimators=["softmax", "proxy-nca"],
    ...     embedder_params={"max_epochs": 2},
    ...     baselines=["raw features"],
    ...     n_trials=1,
    ...     n_folds=2,
    ...     n_repeats=2,
    ... )
    >>> result = check.run(*load_digits(return_X_y=True))
    >>> claims, fair = result.plot(metric="precision_at_1")
    >>> fair.get_xlabel()
    'precision@1 on the test classes, concatenated'
    >>> len(result.plot_trials())
    2
    >>> page = result.to_html()
    >>> "Compared with Softmax at corrected p-values" in page
    True
    """

    methods: list = field(default_factory=list)
    trials: list = field(default_factory=list)
    repeats: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def values(self, method, scoring, metric):
        """Return the scores of the repeats.

        Parameters
        ----------
        method : str
            Name of a method or baseline.
        scoring : {"separated", "concatenated"}
            The mean over the models of the folds, or all of them side by side.
        metric : str
            One of the computed metrics.

        Returns
        -------
        dict of int to float
            By repeat.

        Raises
        ------
        ValueError
            If the method, metric or scoring is unknown.
        """
        self._check(scoring, metric)
        names = [entry["method"] for entry in self.methods]
        if method not in names:
            raise ValueError(f"method must be one of {names}, got {method!r}.")
        return {
            row["repeat"]: row[metric]
            for row in self.repeats
            if row["method"] == method and row["scoring"] == scoring
        }

    def _check(self, scoring, metric):
        """Check metric and scoring; return the metric, the first one for None."""
        metrics = self.settings["metrics"]
        metric = metrics[0] if metric is None else metric
        if metric not in metrics:
            raise ValueError(
                f"metric must be one of the computed {list(metrics)}, got {metric!r}."
            )
        if scoring not in SCORINGS:
            raise ValueError(
                f"scoring must be one of {list(SCORINGS)}, got {scoring!r}."
            )
        return metric

    def rows(self):
        """Return the table: a row for every method or baseline and scoring.

        Returns
        -------
        list of dict
            ``method``, ``kind``, ``scoring``, ``n`` (repeats), for every metric
            ``<metric>``, ``<metric>_low`` and ``<metric>_high`` (mean and 95 %
            t-interval over the repeats; NaN where there are too few), for methods other
            than the reference ``difference``, ``difference_low`` and
            ``difference_high`` (of the first metric to the reference's, over the
            repeats that both have, and its 95 % t-interval, which is not corrected for
            the number of methods), ``p_value`` (paired t-test) and ``p_value_holm``
            (corrected, by Holm), NaN for others; ``validation``, the mean validation
            MAP@R; and ``reason``.
        """
        metrics = self.settings["metrics"]
        compared = {
            scoring: self.comparisons(scoring=scoring, metric=metrics[0])
            for scoring in SCORINGS
        }
        rows = []
        for entry in self.methods:
            for scoring in SCORINGS:
                name = entry["method"]
                row = {key: entry[key] for key in ("method", "kind")}
                row |= {"scoring": scoring, "n": 0}
                for metric in metrics:
                    values = [*self.values(name, scoring, metric).values()]
                    row["n"] = len(values)
                    names = metric, f"{metric}_low", f"{metric}_high"
                    row |= zip(names, mean_interval(values), strict=True)
                row |= compared[scoring].get(name, dict.fromkeys(COMPARED, np.nan))
                row["validation"] = entry["best_score"]
                row["reason"] = entry["reason"]
                rows.append(row)
        return rows

    def comparisons(self, *, scoring="concatenated", metric=None):
        """Compare every method with the reference, repeat by repeat.

        In one repeat, the models of all methods have the same seeds and folds.

        Parameters
        ----------
        scoring : {"separated", "concatenated"}, default="concatenated"
            Scores to compare.
        metric : str or None, default=None
            None takes the first of the computed metrics.

        Returns
        -------
        dict of str to dict
            ``difference``, ``difference_low``, ``difference_high``, ``p_value`` and
            ``p_value_holm``, as in :meth:`rows`, for every method but the reference and
            the baselines.

        Raises
        ------
        ValueError
            If the metric was not computed, or the scoring is unknown.
        """
        metric = self._check(scoring, metric)
        reference = self.settings["reference"]
        base = self.values(reference, scoring, metric)
        names = [
            entry["method"]
            for entry in self.methods
            if entry["kind"] == "method" and entry["method"] != reference
        ]
        differences = []
        for name in names:
            own = self.values(name, scoring, metric)
            differences.append([own[i] - base[i] for i in sorted(own.keys() & base)])
        p_values = [paired_p_value(values) for values in differences]
        corrected = holm(p_values).tolist()
        return {
            name: dict(zip(COMPARED, (*mean_interval(values), *p), strict=True))
            for name, values, *p in zip(
                names, differences, p_values, corrected, strict=True
            )
        }

    def to_frame(self):
        """Return the table as a data frame, which needs pandas.

        Returns
        -------
        pandas.DataFrame
            The columns of :meth:`rows`.
        """
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_csv(self, path):
        """Write the table as CSV.

        Parameters
        ----------
        path : str or path-like
            The file; it is overwritten.
        """
        _write(path, self.rows())

    def trials_to_csv(self, path):
        """Write all trials as CSV, with folds and parameters as JSON.

        Parameters
        ----------
        path : str or path-like
            The file; it is overwritten.
        """
        as_json = ("fold_scores", "params")
        _write(
            path,
            [
                {k: json.dumps(v) if k in as_json else v for k, v in row.items()}
                for row in self.trials
            ],
        )

    def settings_to_json(self, path):
        """Write the settings, the chosen parameters and the notes as JSON.

        Parameters
        ----------
        path : str or path-like
            The file; it is overwritten.
        """
        content = {
            "settings": self.settings,
            "methods": self.methods,
            "notes": self.notes,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")

    def plot(self, ax=None, *, metric=None, scoring="concatenated"):
        """Draw what papers claim for the methods beside the fair comparison.

        On the left, recall@1 on CUB-200-2011 as published, where a method's paper gives
        it; on the right, the mean of every method and baseline with its 95 %
        t-interval over the repeats, the best on top.

        Parameters
        ----------
        ax : array-like of matplotlib Axes or None, default=None
            Two axes; one, if no method has a claim. None makes a figure.
        metric : str or None, default=None
            None takes the first of the computed metrics.
        scoring : {"separated", "concatenated"}, default="concatenated"
            The mean over the models of the folds, or all of them side by side.

        Returns
        -------
        ndarray of matplotlib Axes
            The axes drawn on; the figure is not shown.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the metric was not computed, the scoring is unknown, or the number of
            axes is wrong.
        """
        metric = self._check(scoring, metric)
        return draw_comparison(self, ax, metric=metric, scoring=scoring)

    def plot_trials(self, ax=None):
        """Draw the validation score of every trial, and the best so far.

        Parameters
        ----------
        ax : array-like of matplotlib Axes or None, default=None
            One axes for every method. None makes a figure.

        Returns
        -------
        ndarray of matplotlib Axes
            One for every method, in the order of the table; the figure is not shown.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of axes is not that of the methods.
        """
        return draw_trials(self, ax)

    def to_html(self, path=None):
        """Write a report: one page of HTML that needs nothing else.

        It holds the tables, which a press on a header sorts, the plots, all failures
        with their reasons, the protocol in words, and all settings, seeds, versions and
        the hardware. It makes no request, and its content security policy forbids any.
        Without matplotlib it has no plots and states so.

        Parameters
        ----------
        path : str, path-like or None, default=None
            The file; it is overwritten. None returns the page.

        Returns
        -------
        str or None
            The page, or None if a path is given.
        """
        page = make_page(self)
        if path is None:
            return page
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        return None

    def describe(self):
        """Return the protocol in words.

        Returns
        -------
        str
            One paragraph a line.
        """
        s = self.settings
        lines = [
            f"{s['n_development_classes']} classes with "
            f"{s['n_development_samples']} samples are for development, "
            f"{s['n_test_classes']} others with {s['n_test_samples']} samples for test "
            f"({s['test_classes']}).",
            f"For every method up to {s['n_trials']} settings were tried, proposed by "
            "the tree-structured Parzen estimator of Optuna after "
            f"{s['n_random_trials']} at random, and the one with the highest mean "
            f"validation MAP@R of {s['n_folds']}-fold class-disjoint cross-validation "
            "on the development classes was chosen. Embedders stopped where the "
            "validation score stopped rising."
            + (f" {s['pruner']} could stop a trial early." if s["pruner"] else ""),
            f"With it, the {s['n_folds']} models of the folds were trained "
            f"{s['n_repeats']} times with other seeds, the same for all methods, and "
            "scored on the test classes: separated (the mean of the models' scores) "
            "and concatenated (their embeddings side by side). The search never saw "
            "the test classes.",
            "Intervals hold the mean over the repeats with 95 % confidence "
            "(t-distribution). With few repeats they are wide, and may leave the range "
            "of the metric. Where there are two repeats or more, methods are "
            f"compared with {s['reference']} by paired t-tests over them; p-values are "
            "corrected by Holm's method. All this measures the noise of seeds, not "
            "what another search, other classes or another split would change.",
        ]
        return "\n".join([*lines, *self.notes])


def mean_interval(values):
    """Return the mean and the ends of its 95 % t-interval.

    All are NaN without values; with one value, the ends are.

    Examples
    --------
    >>> from sk_dml.reality_check._result import mean_interval
    >>> [round(value, 2) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    if not len(values):
        return (np.nan,) * 3
    if len(values) == 1:
        return float(values[0]), np.nan, np.nan
    if np.ptp(values) == 0:  # without the rounding of a mean
        return (float(values[0]),) * 3
    mean, error = float(np.mean(values)), stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error)
    return mean, float(low), float(high)


def paired_p_value(differences):
    """Return the p-value of the t-test; NaN for one difference or equal ones.

    Methods without any randomness have equal differences, which are no sample.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return np.nan
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values):
    """Return p-values corrected for their number by Holm (1979); NaN is not counted.

    Examples
    --------
    >>> from sk_dml.reality_check._result import holm
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    corrected = np.array(p_values, dtype=float)
    factors = np.arange(np.sum(~np.isnan(corrected)), 0, -1)
    known = np.argsort(corrected)[: len(factors)]  # NaN comes last
    steps = np.maximum.accumulate(corrected[known] * factors)
    corrected[known] = np.minimum(steps, 1)
    return corrected


def _write(path, rows):
    """Write rows as CSV; the columns are the keys of all rows, in order."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
