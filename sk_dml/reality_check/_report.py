"""Report of a comparison: one page of HTML that needs nothing else."""

import base64
import hashlib
from functools import cache
from importlib import util
from typing import NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

from sk_dml.reality_check import _plot
from sk_dml.reality_check._plot import claims_of, metric_label, ranked
from sk_dml.reality_check._workers import CLUSTERING

SCORINGS = {
    "concatenated": "The embeddings of all folds' models side by side.",
    "separated": "The mean of the scores of the folds' models, each on its own.",
}
SIGNIFICANT = 0.05
NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


class Cell(NamedTuple):
    """A cell of a table: its text, a note below, and the value that it is sorted by."""

    text: str
    note: str = ""
    value: str | None = None


@cache
def _templates():
    """Return the templates; they escape all text and replace what does not print."""

    def printable(value):
        if isinstance(value, Markup):
            return value
        return "".join(
            c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}"
            for c in str(value)
        )

    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def make_page(result):
    """Return the report of a :class:`RealityCheckResult` as HTML."""
    templates, settings = _templates(), dict(result.settings)
    metrics = settings["metrics"]
    methods = [entry for entry in result.methods if entry["kind"] == "method"]
    by_repeat = {row["repeat"]: row["seed"] for row in result.repeats}
    seeds = [by_repeat[repeat] for repeat in sorted(by_repeat)]
    tables = {name: settings.pop(name) for name in ("versions", "hardware")}
    folded = {"Estimators": settings.pop("estimators")}
    folded["Search spaces"] = {
        name: listed(f"{parameter}: {space}" for parameter, space in spaces.items())
        for name, spaces in settings.pop("search_spaces").items()
    }
    script = Markup(templates.get_template("_report.js").render())
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template("report.html.jinja").render(
        script=script,
        script_hash=f"sha256-{digest}",
        s=result.settings,
        in_short=in_short(result),
        notes=result.notes,
        comparison=_picture(
            lambda ax: _plot.draw_comparison(
                result, ax, metric=metrics[0], scoring="concatenated"
            ),
            _plot.comparison_layout(result),
        ),
        metric=metric_label(metrics[0]),
        clustering=listed(metric_label(m) for m in metrics if m in CLUSTERING),
        results=[
            (scoring, meaning, *_results(result, scoring))
            for scoring, meaning in SCORINGS.items()
        ],
        claims=_claims(result),
        reasons=[entry for entry in result.methods if entry["reason"]],
        failures=_failed_trials(result),
        trials=_picture(
            lambda ax: _plot.draw_trials(result, _plot.first_panels(ax, len(methods))),
            _plot.trials_layout(result),
        ),
        search=_search(result, methods),
        protocol=result.describe().split("\n"),
        tables={"": {**settings, "seeds of the repeats": seeds}, **tables},
        folded=folded,
    )


def _picture(draw, layout):
    """Return the address of a picture, or "" without matplotlib."""
    if util.find_spec("matplotlib") is None:
        return ""
    return _plot.data_uri(draw, layout)


def _results(result, scoring):
    """Return columns and rows of the table of results."""
    metrics, reference = result.settings["metrics"], result.settings["reference"]
    numbers = [*map(metric_label, metrics), "difference", "p", "corrected p", "repeats"]
    rows = []
    for row in ranked(result, metrics[0], scoring):
        note = ["baseline"] if row["kind"] == "baseline" else []
        note += ["reference"] if row["method"] == reference else []
        rows.append(
            [
                Cell(row["method"], ", ".join(note), row["method"]),
                *(cell(row[name], note=interval(row, name)) for name in metrics),
                cell(row["difference"], note=interval(row, "difference")),
                *(cell(row[name], 4) for name in ("p_value", "p_value_holm")),
                cell(row["n"], 0),
            ]
        )
    return {"method": "head", **dict.fromkeys(numbers, "number")}, rows


def _claims(result):
    """Return the rows of the table of published figures, the highest first."""
    claims = sorted(claims_of(result.methods).items(), key=lambda c: -c[1]["recall"])
    return [
        [
            Cell(name),
            cell(claim["recall"]),
            Cell(claim["network"]),
            cell(claim.get("n_components"), 0),
            Cell(claim["paper"]),
        ]
        for name, claim in claims
    ]


def _search(result, methods):
    """Return columns and rows of the table of chosen settings."""
    ends = {"complete": "completed", "pruned": "pruned", "failed": "failed"}
    if result.settings["pruner"] is None:
        del ends["pruned"]
    rows = []
    for entry in sorted(methods, key=lambda entry: -(entry["best_score"] or 0)):
        states = [t["state"] for t in result.trials if t["method"] == entry["method"]]
        default = NONE if entry["best_score"] is None else "default"
        rows.append(
            [
                Cell(entry["method"]),
                cell(entry["best_score"]),
                *(cell(states.count(end), 0) for end in ends),
                Cell(setting(entry["best_params"]) or default),
            ]
        )
    numbers = ["validation MAP@R", *ends.values()]
    columns = {"method": "head", **dict.fromkeys(numbers, "number")}
    return {**columns, "chosen setting": "code"}, rows


def _failed_trials(result):
    """Return the rows of the table of failed trials."""
    return [
        [
            Cell(trial["method"]),
            cell(trial["trial"] + 1, 0),
            Cell(setting(trial["params"])),
            Cell(trial["error"]),
        ]
        for trial in result.trials
        if trial["error"]
    ]


def in_short(result):
    """Return what the table shows, in words and no more than that: a list of lines."""
    metric, scoring = result.settings["metrics"][0], "concatenated"
    label, reference = metric_label(metric), result.settings["reference"]
    rows = [row for row in ranked(result, metric, scoring) if row["n"]]
    methods = [row for row in rows if row["kind"] == "method"]
    baselines = [row for row in rows if row["kind"] == "baseline"]
    lines = []
    for kind, of_kind in (("method", methods), ("baseline", baselines)):
        if not of_kind:
            lines.append(f"No {kind} has a result.")
            continue
        best = of_kind[0]
        lines.append(
            f"The {kind} with the highest {label} on the test classes ({scoring}) is "
            f"{best['method']}, with {number(best[metric])} ({interval(best, metric)})."
        )
    tested = [row for row in methods if np.isfinite(row["p_value_holm"])]
    untested = [
        row["method"]
        for row in methods
        if np.isfinite(row["difference"]) and np.isnan(row["p_value_holm"])
    ]
    if tested:
        differing = [row for row in tested if row["p_value_holm"] < SIGNIFICANT]
        better = [row["method"] for row in differing if row["difference"] > 0]
        worse = [row["method"] for row in differing if row["difference"] < 0]
        undecided = [row["method"] for row in tested if row not in differing]
        lines.append(
            f"Compared with {reference} at corrected p-values below {SIGNIFICANT}: "
            f"better: {listed(better)}; worse: {listed(worse)}; undecided: "
            f"{listed(undecided)}. P-values measure the noise of seeds, not that of "
            "the search or of the choice of classes."
        )
        if untested:
            lines.append(
                "Not tested, as there is one difference or all are the same: "
                f"{listed(untested)}."
            )
    elif reference not in [row["method"] for row in rows]:
        lines.append(f"Nothing is compared with {reference}, which has no result.")
    elif methods:
        lines.append(
            f"Nothing is compared with {reference}: a test takes two repeats or more, "
            "with differences that are not all the same."
        )
    if methods and baselines:
        best = baselines[0][metric]
        n_above = sum(row[metric] > best for row in methods)
        lines.append(
            "Methods with a higher mean than the best baseline: "
            f"{n_above} of {len(methods)}."
        )
    return lines


def cell(value, digits=3, note=""):
    """Return the cell of a number, or of a dash; it sorts by all its digits."""
    is_known = value is not None and not np.isnan(value)
    key = repr(float(value)) if is_known else ""
    return Cell(number(value, digits), note.replace("-", MINUS), key)


def number(value, digits=3):
    """Return a number as text, or a dash for None and NaN."""
    if value is None or np.isnan(value):
        return NONE
    if digits == 4 and value < 1e-4:  # a p-value is never 0
        return "< 0.0001"
    return f"{value:.{digits}f}".replace("-", MINUS)


def interval(row, metric):
    """Return the interval of a metric as text, or "" without a value."""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    if np.isnan(row[metric]):
        return ""
    if np.isnan(low):
        return "one repeat"
    return "constant" if low == high else f"{low:.3f} to {high:.3f}"


def listed(names):
    """Return names separated by commas, or "none"."""
    return ", ".join(names) or "none"


def setting(params):
    """Return parameters and their values as text."""
    values = {n: f"{v:.4g}" if isinstance(v, float) else v for n, v in params.items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())
