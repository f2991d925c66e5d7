"""Compare methods fairly on one file, and plot the results.

The file is a .npz with X, rows or images, and y. Half of the classes is for the choice
of parameters, the other half for test. Prints a table and writes it with the trials,
the settings, plots and a report to a folder. A second start continues the first;
several processes at once share the trials.

    python examples/compare_methods.py letter.npz --out letter --max-samples 400
"""

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sk_dml.reality_check import RealityCheck

METHODS = (
    "contrastive,triplet,normalizedsoftmax,proxynca,arcface,multisimilarity,"
    "softtriple,circle"
)
SHOWN = {"precision_at_1": "P@1", "nmi": "NMI", "pairwise_f1": "F1"}


def load(path, max_samples, random_state=0):
    """Read X and y, with at most max_samples samples of each class."""
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"], file["y"]
    if max_samples is None:
        return X, y
    rng = np.random.default_rng(random_state)
    rows = [
        rng.permutation(np.flatnonzero(y == label))[:max_samples]
        for label in np.unique(y)
    ]
    kept = np.sort(np.concatenate(rows))
    return X[kept], y[kept]


def table(result):
    """Write the results as Markdown, the best first.

    The scores are of the models of all folds side by side, those at the end the mean of
    each alone.
    """
    rows = [row for row in result.rows() if row["scoring"] == "concatenated"]
    rows.sort(key=lambda row: -np.nan_to_num(row["map_at_r"]))
    single = {r["method"]: r for r in result.rows() if r["scoring"] == "separated"}
    beyond = f"beyond {result.settings['reference']}"
    names = ["method", "MAP@R", "95 % interval", beyond, "95 % interval", "p (Holm)"]
    names += [*SHOWN.values(), "MAP@R of one model", beyond, "p (Holm)"]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        one = single[row["method"]]
        cells = [row["method"], number(row["map_at_r"]), interval(row, "map_at_r")]
        cells += [
            number(row["difference"], "+.3f"),
            interval(row, "difference", "+.3f"),
            p_value(row),
        ]
        cells += [number(row[name]) for name in SHOWN]
        cells += [number(one["map_at_r"]), number(one["difference"], "+.3f")]
        lines.append([*cells, p_value(one)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value, digits=".3f"):
    """Return a formatted number, or an empty string."""
    return "" if np.isnan(value) else f"{value:{digits}}"


def interval(row, name, digits=".3f"):
    """Return the formatted interval of a value of a row, if there is one."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if np.isnan(low) or low == high else f"{low:{digits}} to {high:{digits}}"


def p_value(row):
    """Return the formatted p-value of a row, corrected for the number of methods."""
    value = row["p_value_holm"]
    return "< 0.001" if value < 0.001 else number(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("data", help=".npz with X and y")
    add("--out", default="comparison", help="the folder (default: comparison)")
    add("--methods", default=METHODS, help=f"default: {METHODS}")
    add("--reference", help="to compare with (default: contrastive, or the first)")
    add("--trials", type=int, default=10, help="settings a method (default: 10)")
    add("--folds", type=int, default=4, help="of the classes (default: 4)")
    add("--repeats", type=int, default=3, help="of the best (default: 3)")
    add("--max-epochs", type=int, default=10, help="of every training (default: 10)")
    add("--max-samples", type=int, help="of a class (default: all)")
    add("--widths", help="of the network's layers, such as 16,32,64 (default: its own)")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    X, y = load(options.data, options.max_samples)
    params = {"max_epochs": options.max_epochs}
    if options.widths:
        layers = "module__hidden" if X.ndim == 2 else "module__widths"
        params["net_params"] = {layers: tuple(map(int, options.widths.split(",")))}
    check = RealityCheck(
        estimators=options.methods.split(","),
        embedder_params=params,
        reference=options.reference,
        n_trials=options.trials,
        n_folds=options.folds,
        n_repeats=options.repeats,
        storage=f"sqlite:///{(out / 'trials.db').resolve()}",
        verbose=1,
    )
    result = check.run(X, y)
    result.to_csv(out / "results.csv")
    result.trials_to_csv(out / "trials.csv")
    with open(out / "repeats.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, result.repeats[0])
        writer.writeheader()
        writer.writerows(result.repeats)
    result.settings_to_json(out / "settings.json")
    result.to_html(out / "report.html")
    for name, plot in (("plot", result.plot), ("trials", result.plot_trials)):
        figure = plot()[0].figure
        figure.savefig(out / f"{name}.png")
        plt.close(figure)
    print(table(result))


if __name__ == "__main__":
    main()
