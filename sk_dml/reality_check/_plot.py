"""Pictures of a comparison."""

import base64
import io
import tomllib
import warnings
from importlib import resources

import numpy as np

from sk_dml.inspection import _base

METRICS = {
    "map_at_r": "MAP@R",
    "precision_at_1": "precision@1",
    "r_precision": "R-precision",
    "mean_average_precision": "mean average precision",
    "mean_reciprocal_rank": "mean reciprocal rank",
    "nmi": "NMI",
    "ami": "AMI",
    "pairwise_f1": "pairwise F1",
}
METHOD, BASELINE, FAILED = _base.SAME, "#717581", _base.OTHER
GRID = "0.9"
IN_A_PAGE = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none"),
    "svg.fonttype": "none",
    "svg.hashsalt": "sk_dml",
}
CLAIMS = tomllib.loads(
    resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8")
)


def claims_of(methods):
    """Return the published claims by name of method, found by class of the embedder."""
    return {
        entry["method"]: CLAIMS[entry["estimator"]]
        for entry in methods
        if entry["kind"] == "method" and entry["estimator"] in CLAIMS
    }


def metric_label(name):
    """Return the name of a metric as papers write it."""
    return METRICS.get(name, name.replace("_at_", "@").replace("_", " "))


def ranked(result, metric, scoring):
    """Return the rows of one scoring, the best first, those without a value last."""
    rows = [row for row in result.rows() if row["scoring"] == scoring]
    return sorted(rows, key=lambda row: -np.nan_to_num(row[metric], nan=-np.inf))


def comparison_layout(result):
    """Return the arguments of ``plt.subplots`` for :func:`draw_comparison`."""
    n_panels = 2 if claims_of(result.methods) else 1
    height = 1.6 + 0.3 * len(result.methods)
    return {"ncols": n_panels, "figsize": (2 + 3.6 * n_panels, height)}


def draw_comparison(result, ax, *, metric, scoring):
    """Draw what papers claim beside the means and intervals of the comparison."""
    layout = comparison_layout(result)
    claims = claims_of(result.methods)
    rows = ranked(result, metric, scoring)
    with _base.axes_for(result, ax, squeeze=False, **layout) as axes:
        axes = _base.check_axes(axes, layout["ncols"])
        names = [_base.plain(row["method"], 30) for row in rows]
        for panel in axes:
            panel.set_yticks(range(len(rows)), names)
            panel.set_ylim(len(rows) - 0.4, -0.6)
            panel.grid(color=GRID)
            panel.set_axisbelow(True)
            panel.tick_params(axis="y", length=0, labelleft=panel is axes[0])
            panel.margins(x=0.08)
        for label, name in zip(axes[0].get_yticklabels(), names, strict=True):
            _base.write(label, name)
        if claims:
            _draw_claims(axes[0], rows, claims)
        _draw_rows(axes[-1], rows, metric, scoring, result.settings)
    return axes


def _draw_claims(ax, rows, claims):
    """Draw the published figures."""
    points = [
        (claims[row["method"]]["recall"], index)
        for index, row in enumerate(rows)
        if row["method"] in claims
    ]
    ax.plot(*zip(*points, strict=True), "D", color=METHOD, markersize=6)
    ax.set_xlabel("recall@1 on CUB-200-2011")
    note = "Every paper with its own network, width and tuning; no intervals"
    _base.describe(ax, "What papers claim", note)


def _draw_rows(ax, rows, metric, scoring, settings):
    """Draw the means and intervals of a metric."""
    style = {"markersize": 6, "linewidth": 1.6, "capsize": 3}
    for index, row in enumerate(rows):
        mean, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
        if np.isnan(mean):
            where = {"transform": ax.get_yaxis_transform(), "va": "center"}
            none = {"color": _base.QUIET, "fontsize": "small", **where}
            ax.text(0.02, index, "no result", **none)
            continue
        width = None if np.isnan(low) else [[mean - low], [high - mean]]
        if row["kind"] == "method":
            own = {"marker": "o", "color": METHOD}
        else:
            own = {"marker": "s", "color": BASELINE, "markerfacecolor": "none"}
        ax.errorbar(mean, index, xerr=width, linestyle="", **own, **style)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(f"{metric_label(metric)} on the test classes, {scoring}")
    note = "Mean and 95 % t-interval over the repeats"
    if any(row["kind"] == "baseline" for row in rows):
        note += "; hollow: baselines"
    reference = settings["reference"]
    means = {row["method"]: row[metric] for row in rows}
    if np.isfinite(means[reference]):
        line = {"color": METHOD, "linestyle": ":", "linewidth": 1, "zorder": 1}
        ax.axvline(means[reference], **line)
        note += f"; dotted: {_base.plain(reference, 30)}"
    _base.describe(ax, "The fair comparison", note)


def trials_layout(result):
    """Return the arguments of ``plt.subplots`` for :func:`draw_trials`."""
    n_methods = sum(entry["kind"] == "method" for entry in result.methods)
    n_columns = min(n_methods, 4)
    n_rows = -(-n_methods // n_columns)
    size = {"figsize": (1.4 + 2.2 * n_columns, 0.6 + 1.7 * n_rows)}
    return {"nrows": n_rows, "ncols": n_columns, "sharex": True, "sharey": True, **size}


def draw_trials(result, ax):
    """Draw the validation score of every trial, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    names = [e["method"] for e in result.methods if e["kind"] == "method"]
    with _base.axes_for(result, ax, squeeze=False, **trials_layout(result)) as axes:
        if ax is None:
            axes = first_panels(axes, len(names))
        axes = _base.check_axes(axes, len(names), " for the methods")
        for panel, name in zip(axes, names, strict=True):
            own = [trial for trial in result.trials if trial["method"] == name]
            best = _draw_method(panel, own)
            panel.grid(color=GRID)
            panel.set_axisbelow(True)
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            title = panel.set_title("", fontsize="medium", loc="left")
            best = "" if best is None else f", best {best:.3f}"
            _base.write(title, _base.plain(name, 22) + best)
        is_pruned = any(trial["state"] == "pruned" for trial in result.trials)
        marks = "crosses: failed" + (", bars: pruned" if is_pruned else "")
        axes[0].figure.supxlabel(f"trial ({marks})", fontsize="medium")
        axes[0].figure.supylabel("mean validation MAP@R", fontsize="medium")
    return axes


def _draw_method(ax, trials):
    """Draw the trials of a method; return the best score or None."""
    done = [t for t in trials if t["state"] == "complete"]
    pruned = [t for t in trials if t["state"] == "pruned"]
    failed = [t["trial"] + 1 for t in trials if t["state"] == "failed"]
    if pruned:  # means over some of the folds, which cannot be the best
        stopped = [t["trial"] + 1 for t in pruned], [t["value"] for t in pruned]
        ax.plot(*stopped, "|", color=BASELINE, markersize=6)
    low = ax.get_xaxis_transform()
    ax.plot(failed, [0.06] * len(failed), "x", color=FAILED, transform=low)
    if not done:
        where = {"transform": ax.transAxes, "ha": "center", "va": "center"}
        ax.text(0.5, 0.5, "none completed", color=_base.QUIET, **where)
        return None
    x = [trial["trial"] + 1 for trial in done]
    values = np.array([trial["value"] for trial in done])
    ax.plot(x, values, "o", color=BASELINE, markersize=4, markerfacecolor="none")
    best = np.maximum.accumulate(values)
    ax.step(x, best, where="post", color=METHOD, linewidth=1.6)
    ax.plot(x[values.argmax()], values.max(), "o", color=METHOD, markersize=6)
    return values.max()


def first_panels(axes, n):
    """Remove all but the first n axes of a grid; label the lowest of each column."""
    for panel in axes.ravel()[n:]:
        panel.remove()
    for column in range(axes.shape[1]):
        lowest = (n - 1 - column) // axes.shape[1]
        axes[lowest, column].tick_params(labelbottom=True)
    return axes.ravel()[:n]


def data_uri(draw, layout):
    """Return a picture of ``draw(axes)`` as the address of an SVG image."""
    import matplotlib.style
    from matplotlib.figure import Figure

    layout = dict(layout)
    with (
        matplotlib.style.context(["default", IN_A_PAGE]),
        warnings.catch_warnings(),
    ):
        # Browsers draw the text with fonts of their own, so a missing glyph is no loss.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=layout.pop("figsize"), layout="constrained")
        draw(figure.subplots(squeeze=False, **layout))
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
