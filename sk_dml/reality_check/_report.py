"""A comparison as one page of HTML that needs nothing else."""

import base64
import hashlib
from importlib import resources, util

import numpy as np

from sk_dml.reality_check._claims import claims_of
from sk_dml.reality_check._html import element, text
from sk_dml.reality_check._plot import (
    as_svg,
    comparison_layout,
    draw_comparison,
    draw_trials,
    first_panels,
    metric_label,
    ranked,
    trials_layout,
)
from sk_dml.reality_check._tables import (
    NONE,
    cell,
    head,
    interval,
    listed,
    number,
    p_value,
    pairs,
    setting,
    table,
    wide,
)
from sk_dml.reality_check._workers import CLUSTERING

SCORINGS = {
    "concatenated": "The embeddings of all folds' models side by side.",
    "separated": "The mean of the scores of the folds' models, each on its own.",
}
SIGNIFICANT = 0.05


def make_page(result):
    """Make the page.

    Parameters
    ----------
    result : RealityCheckResult

    Returns
    -------
    str
    """
    s = result.settings
    data = s.get("data")
    title = "Reality check" + (f" on {data}" if data else "")
    sections = {
        "Results": _results(result),
        "Failures": _failures(result),
        "Search": _search(result),
        "Protocol": _paragraphs(result.describe().split("\n")),
        "Settings": _settings(result),
    }
    sections = {name: content for name, content in sections.items() if content}
    links = [
        element("li", element("a", name, href=f"#{name.lower()}")) for name in sections
    ]
    body = element(
        "main",
        element("h1", title),
        element("p", _facts(s), class_="quiet"),
        element("div", _paragraphs(in_short(result)), class_="lead"),
        [element("div", element("p", note), class_="note") for note in result.notes],
        element("nav", element("ul", links), aria_label="Contents"),
        [
            element("section", element("h2", name), content, id=name.lower())
            for name, content in sections.items()
        ],
    )
    style, script = (_packaged(f"_report.{kind}") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _packaged(name):
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _paragraphs(lines):
    return [element("p", line) for line in lines]


def _facts(s):
    return (
        f"{s['n_test_classes']:,} test classes with {s['n_test_samples']:,} samples, "
        f"{s['n_development_classes']:,} classes for development; {s['n_trials']} "
        f"trials a method, {s['n_folds']} folds, {s['n_repeats']} repeats; "
        f"{s['date']}, sk_dml {s['versions']['sk_dml']}"
    )


def in_short(result):
    """Say in words what the table shows, and no more than that."""
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
        apart = [row for row in tested if row["p_value_holm"] < SIGNIFICANT]
        better = [row["method"] for row in apart if row["difference"] > 0]
        worse = [row["method"] for row in apart if row["difference"] < 0]
        undecided = [row["method"] for row in tested if row not in apart]
        lines.append(
            f"Compared with {reference} at corrected p-values below {SIGNIFICANT}: "
            f"better: {listed(better)}; worse: {listed(worse)}; undecided: "
            f"{listed(undecided)}. P-values tell the noise of seeds, not that of the "
            "search or of the choice of classes."
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


def _picture(draw, layout, *, name, label):
    if util.find_spec("matplotlib") is None:
        return element("p", "Plots need matplotlib, which is missing.", class_="note")
    return wide(as_svg(draw, layout, name=name, label=label), label)


def _results(result):
    metrics = result.settings["metrics"]
    labels = [metric_label(metric) for metric in metrics]
    scoring = "concatenated"
    parts = [
        _picture(
            lambda ax: draw_comparison(result, ax, metric=metrics[0], scoring=scoring),
            comparison_layout(result),
            name="comparison",
            label="What papers claim, and the fair comparison, as in the tables",
        )
    ]
    if any(metric in CLUSTERING for metric in metrics):
        names = listed(metric_label(m) for m in metrics if m in CLUSTERING)
        parts.append(
            element(
                "p",
                f"{names}: papers used such clustering metrics; they depend on the "
                "clustering and hardly tell methods apart.",
                class_="quiet",
            )
        )
    parts.append(
        element(
            "p",
            "In the tables, 95 % intervals stand below the means and differences, not "
            "corrected for the number of methods; what is constant is the same in all "
            "repeats. The difference is of "
            f"{labels[0]} to {result.settings['reference']}, with the p-value of the "
            "paired t-test, as it is and corrected for the number of methods. Press a "
            "header to sort by its column.",
        )
    )
    for scoring, meaning in SCORINGS.items():
        parts += [
            element("h3", scoring.capitalize()),
            element("p", meaning),
            wide(_result_table(result, scoring), f"Results, {scoring}"),
        ]
    claims = claims_of(result.methods)
    if claims:
        rows = sorted(claims.items(), key=lambda item: -item[1].recall)
        parts += [
            element("h3", "What papers claim"),
            element(
                "p",
                "Recall@1 on CUB-200-2011 as published, the first 100 classes for "
                "training and the others for test, without a validation set. Networks, "
                "widths and tuning differ: these figures cannot be compared with each "
                "other, nor with those above.",
            ),
            wide(
                table(
                    {
                        "method": False,
                        "recall@1": True,
                        "network": False,
                        "width": True,
                        "paper": False,
                    },
                    [
                        (
                            head(name),
                            cell(claim.recall),
                            element("td", claim.network),
                            cell(claim.n_components, digits=0),
                            element("td", claim.paper),
                        )
                        for name, claim in rows
                    ],
                    by="recall@1",
                ),
                "What papers claim",
            ),
        ]
    return parts


def _result_table(result, scoring):
    metrics, reference = result.settings["metrics"], result.settings["reference"]
    labels = [metric_label(metric) for metric in metrics]
    numbers = [*labels, "difference", "p", "corrected p", "repeats"]
    rows = []
    for row in ranked(result, metrics[0], scoring):
        note = "baseline" if row["kind"] == "baseline" else None
        if row["method"] == reference:
            note = "reference" if note is None else f"{note}, reference"
        rows.append(
            [
                head(row["method"], note),
                *(cell(row[metric], interval(row, metric)) for metric in metrics),
                cell(row["difference"], interval(row, "difference")),
                *(p_value(row[key]) for key in ("p_value", "p_value_holm")),
                cell(row["n"], digits=0),
            ]
        )
    columns = {"method": False, **dict.fromkeys(numbers, True)}
    return table(columns, rows, by=labels[0])


def _search(result):
    methods = [entry for entry in result.methods if entry["kind"] == "method"]
    ends = {"complete": "completed", "pruned": "pruned", "failed": "failed"}
    if result.settings["pruner"] is None:
        del ends["pruned"]
    columns = {
        "method": False,
        "validation MAP@R": True,
        **dict.fromkeys(ends.values(), True),
        "chosen setting": False,
    }
    rows = []
    for entry in sorted(methods, key=lambda e: -(e["best_score"] or 0)):
        states = [t["state"] for t in result.trials if t["method"] == entry["method"]]
        nothing = NONE if entry["best_score"] is None else "default"
        chosen = setting(entry["best_params"]) or nothing
        rows.append(
            (
                head(entry["method"]),
                cell(entry["best_score"]),
                *(cell(states.count(end), digits=0) for end in ends),
                element("td", element("code", chosen)),
            )
        )
    return [
        element(
            "p",
            "Every trial is one setting, rated by cross-validation on the development "
            "classes; the line is the best so far. The setting with the highest score "
            "was chosen. These scores are no estimate of those on the test classes.",
        ),
        _picture(
            lambda ax: draw_trials(result, first_panels(ax, len(methods))),
            trials_layout(result),
            name="trials",
            label="Validation scores by trial",
        ),
        wide(table(columns, rows, by="validation MAP@R"), "Chosen settings"),
    ]


def _failures(result):
    """List what has no result or not all of it, and why."""
    entries = [
        element("li", element("b", entry["method"]), ": ", entry["reason"])
        for entry in result.methods
        if entry["reason"]
    ]
    failed = [trial for trial in result.trials if trial["error"]]
    parts = [element("ul", entries)] if entries else []
    if failed:
        columns = {"method": False, "trial": True, "setting": False, "error": False}
        rows = [
            (
                head(trial["method"]),
                cell(trial["trial"] + 1, digits=0),
                element("td", element("code", setting(trial["params"]))),
                element("td", trial["error"]),
            )
            for trial in failed
        ]
        parts += [element("h3", "Trials"), wide(table(columns, rows), "Failed trials")]
    return parts


def _settings(result):
    s = dict(result.settings)
    folded = {
        "Estimators": s.pop("estimators"),
        "Search spaces": {
            name: listed(f"{parameter}: {space}" for parameter, space in spaces.items())
            for name, spaces in s.pop("search_spaces").items()
        },
    }
    shown = {"Versions": s.pop("versions"), "Hardware": s.pop("hardware")}
    seeds = {row["repeat"]: row["seed"] for row in result.repeats}
    s["seeds of the repeats"] = [seeds[repeat] for repeat in sorted(seeds)]
    return [
        pairs(s),
        [[element("h3", name), pairs(rows)] for name, rows in shown.items()],
        [
            element("details", element("summary", name), pairs(rows))
            for name, rows in folded.items()
        ],
    ]
