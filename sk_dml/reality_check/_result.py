"""What came out of a comparison."""

import csv
import json
from dataclasses import dataclass, field

import numpy as np

from sk_dml.reality_check._plot import draw_comparison, draw_trials
from sk_dml.reality_check._report import make_page
from sk_dml.reality_check._statistics import holm, mean_interval, paired_p_value
from sk_dml.reality_check._workers import SCORINGS

COMPARED = (
    *("difference", "difference_low", "difference_high"),
    *("p_value", "p_value_holm"),
)


@dataclass
class RealityCheckResult:
    """The outcome of a :class:`RealityCheck`.

    Plain data: strings, numbers, lists and dicts.

    Parameters
    ----------
    methods : list of dict
        One for every method and baseline, in the order of the table: ``method``, its
        name; ``kind``, "method" or "baseline"; ``estimator``, the name of its class, or
        of that which its Pipeline ends in; ``best_params``, the setting that was
        chosen, by parameter, what is no plain value as text; ``best_score``, its mean
        validation MAP@R, or None; ``reason``, why there is no result or not all of it,
        or "".
    trials : list of dict
        One for every trial that was begun: ``method``, ``trial`` (from 0), ``state``
        ("complete", "pruned", "failed", "running" by another process or "waiting"),
        ``value`` (mean validation MAP@R; of a pruned one, over the folds up to there),
        ``fold_scores`` (list of float), ``params`` (dict), ``error``, ``start`` and
        ``duration`` in seconds; None where there is none.
    repeats : list of dict
        One for every repeat that was completed and way of scoring: ``method``,
        ``kind``, ``scoring`` ("separated" or "concatenated"), ``repeat`` (from 0),
        ``seed``, and the value of every metric by its name.
    settings : dict
        All settings, seeds, versions and the hardware.
    notes : list of str
        What a reader must know, such as a time limit that ended the search.

    See Also
    --------
    RealityCheck : Makes it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.reality_check import RealityCheck
    >>> check = RealityCheck(
    ...     estimators=["triplet", "circle"],
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
    >>> "Compared with Triplet at corrected p-values" in page
    True
    """

    methods: list = field(default_factory=list)
    trials: list = field(default_factory=list)
    repeats: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def values(self, method, scoring, metric):
        """Give the scores of the repeats.

        Parameters
        ----------
        method : str
            A method or baseline.
        scoring : {"separated", "concatenated"}
            The mean over the models of the folds, or all of them side by side.
        metric : str
            One of those that were computed.

        Returns
        -------
        dict of int to float
            By repeat.

        Raises
        ------
        ValueError
            If there is no such method, metric or way of scoring.
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
        """Refuse what was not computed; give the metric, the first if it is None."""
        metrics = self.settings["metrics"]
        metric = metrics[0] if metric is None else metric
        if metric not in metrics:
            raise ValueError(
                f"metric must be one of those that were computed, {list(metrics)}, "
                f"got {metric!r}."
            )
        if scoring not in SCORINGS:
            raise ValueError(
                f"scoring must be one of {list(SCORINGS)}, got {scoring!r}."
            )
        return metric

    def rows(self):
        """Make the table: a row for every method or baseline and way of scoring.

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

        The models of a repeat have the same seeds and folds whatever the method.

        Parameters
        ----------
        scoring : {"separated", "concatenated"}, default="concatenated"
            What is compared.
        metric : str or None, default=None
            None takes the first of those that were computed.

        Returns
        -------
        dict of str to dict
            ``difference``, ``difference_low``, ``difference_high``, ``p_value`` and
            ``p_value_holm``, as in :meth:`rows`, for every method but the reference and
            the baselines.

        Raises
        ------
        ValueError
            If the metric was not computed, or there is no such way of scoring.
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
        """Make a data frame of the table; it needs pandas.

        Returns
        -------
        pandas.DataFrame
            The columns of :meth:`rows`.
        """
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_csv(self, path):
        """Write the table.

        Parameters
        ----------
        path : str or path-like
            The file; it is overwritten.
        """
        _write(path, self.rows())

    def trials_to_csv(self, path):
        """Write all trials; folds and parameters as JSON.

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
        """Write the settings, the chosen parameters and the notes.

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
            None takes the first of those that were computed.
        scoring : {"separated", "concatenated"}, default="concatenated"
            The mean over the models of the folds, or all of them side by side.

        Returns
        -------
        ndarray of matplotlib Axes
            Those that were drawn on; the figure is not shown.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the metric was not computed, there is no such way of scoring, or there
            are fewer or more axes than needed.
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
            If there are fewer or more axes than methods.
        """
        return draw_trials(self, ax)

    def to_html(self, path=None):
        """Make a report: one page of HTML that needs nothing else.

        It holds the table, to be sorted by a press on a header, the plots, what failed
        and why, the protocol in words, and all settings, seeds, versions and the
        hardware. It loads nothing, and its browser is told to refuse to. Without
        matplotlib it has no plots, and says so.

        Parameters
        ----------
        path : str, path-like or None, default=None
            The file; it is overwritten. None returns the page.

        Returns
        -------
        str or None
            The page, if no path is given.
        """
        page = make_page(self)
        if path is None:
            return page
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
        return None

    def describe(self):
        """Tell the protocol in words.

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
            "validation score stood still."
            + (f" {s['pruner']} could stop a trial early." if s["pruner"] else ""),
            f"With it, the {s['n_folds']} models of the folds were trained "
            f"{s['n_repeats']} times with other seeds, the same for all methods, and "
            "rated on the test classes: separated (the mean of the models' scores) and "
            "concatenated (their embeddings side by side). The search knew nothing of "
            "the test classes.",
            "Intervals hold the mean over the repeats with 95 % confidence "
            "(t-distribution). Of few repeats they are wide, and may reach beyond what "
            "the metric can be. Methods are compared with "
            f"{s['reference']} by paired t-tests over the repeats, with p-values "
            "corrected by Holm's method. All this tells the noise of seeds: not what "
            "another search, other classes or another split would change.",
        ]
        return "\n".join([*lines, *self.notes])


def _write(path, rows):
    names: list = []
    for row in rows:
        names += [name for name in row if name not in names]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
