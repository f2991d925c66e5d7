"""Command ``reality-check``: its options, its data and its output."""

import re
import zipfile
import zlib
from argparse import ArgumentTypeError
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from sk_dml.datasets import load_glyphs, load_image_folder
from sk_dml.reality_check._check import RealityCheck
from sk_dml.reality_check._report import in_short, interval
from sk_dml.reality_check._search import import_optuna

DESCRIPTION = """\
Compares methods fairly on your data: the same network, budget, folds and seeds for
all; parameters chosen by class-disjoint cross-validation on one part of the classes;
the others looked at once, at the end. Started again, it continues where it stopped;
started several times at once, the processes share the trials.

Writes into a folder: report.html, a page that needs nothing else; results.csv (a row
for every method and baseline and way of scoring), trials.csv and settings.json."""
TABLES = (".csv", ".parquet")
LISTED = 10  # columns of a table that an error names
UNITS = {"h": 3600, "m": 60, "s": 1}


def add_arguments(parser):
    """Add the options to a parser."""
    add = parser.add_argument
    add(
        "--data",
        required=True,
        help="a .npz, .csv or .parquet file, a folder of images with one subfolder a "
        "class, or digits or glyphs, which come with the libraries",
    )
    add("--target", default="y", help="column or array of the classes (default: y)")
    add("--methods", help="such as circle,softtriple (default: all)")
    add("--reference", help="a method or baseline (default: contrastive, or the first)")
    add("--trials", type=int, default=50, help="settings a method (default: 50)")
    add("--folds", type=int, default=4, help="of the classes (default: 4)")
    add("--repeats", type=int, default=10, help="of the best (default: 10)")
    add("--max-epochs", type=int, help="of every training")
    add(
        "--prune",
        action="store_true",
        help="end trials after a fold where they fall behind the median of the others",
    )
    text = "share of the classes for test (.25), or number (3) (default: .5)"
    add("--test-size", type=share_or_number, default=0.5, help=text)
    add("--time-limit", type=seconds, help="of the search, such as 2h, 90m or 1h30m")
    add("--storage", help="a database URL (default: a file in the folder)")
    add("--jobs", type=jobs, help="trials at once in this process (default: 1)")
    add("--random-state", type=int, default=0, help="seed of everything (default: 0)")
    add("--out", default="reality-check", help="the folder (default: reality-check)")


def run(arguments):
    """Compare, write and print; return whether any method has a result."""
    X, y = load(arguments.data, arguments.target)
    out = Path(arguments.out)
    storage = arguments.storage
    if storage is None:
        storage = f"sqlite:///{(out / 'trials.db').resolve()}"
        if not set("?%{}").isdisjoint(storage):
            raise ValueError(
                "out must be a folder without ? % { } in its path, which database URLs "
                f"cannot hold, got {arguments.out!r}. Or choose another storage."
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            "argument --out: must be a folder that exists or can be made, got "
            f"{arguments.out!r} ({error.strerror})"
        ) from error
    epochs = arguments.max_epochs
    check = RealityCheck(
        estimators=arguments.methods and arguments.methods.split(","),
        embedder_params=None if epochs is None else {"max_epochs": epochs},
        reference=arguments.reference,
        n_trials=arguments.trials,
        n_folds=arguments.folds,
        n_repeats=arguments.repeats,
        pruner=import_optuna().pruners.MedianPruner() if arguments.prune else None,
        test_size=arguments.test_size,
        time_limit=arguments.time_limit,
        storage=storage,
        n_jobs=arguments.jobs,
        random_state=arguments.random_state,
        verbose=1,
    )
    result = check.run(X, y)
    result.settings["data"] = arguments.data
    result.to_csv(out / "results.csv")
    result.trials_to_csv(out / "trials.csv")
    result.settings_to_json(out / "settings.json")
    result.to_html(out / "report.html")
    print(show(result))
    print(f"Report: {out / 'report.html'}")
    return any(row["n"] for row in result.rows() if row["kind"] == "method")


def show(result):
    """Return the table as text for a terminal."""
    metric = result.settings["metrics"][0]
    width = max(len(entry["method"]) for entry in result.methods)
    lines = [f"{'':{width}}  {'':12}  {metric:>8}  95 % interval"]
    for row in result.rows():
        figures = f"{'none':>8}"
        if row["n"]:
            figures = f"{row[metric]:8.3f}  {interval(row, metric)}"
        line = f"{row['method']:{width}}  {row['scoring']:12}  {figures}"
        lines.append(f"{line}  {row['reason'][:200]}".rstrip())
    return "\n".join([*lines, "", *in_short(result), *result.notes])


def seconds(text):
    """Return the seconds of a duration such as 2h, 90m, 1h30m or 45."""
    number = r"\d+(?:\.\d+)?"
    message = f"must be a duration above 0 such as 2h, 1h30m or 45s, got {text!r}"
    if not re.fullmatch(rf"({number}[hms])+|{number}", text):
        raise ArgumentTypeError(message)
    parts = re.findall(rf"({number})([hms]?)", text)
    total = sum(float(value) * UNITS.get(unit, 1) for value, unit in parts)
    if not total:
        raise ArgumentTypeError(message)
    return total


def jobs(text):
    """Return a number of jobs, as joblib counts them."""
    if not re.fullmatch(r"-?0*[1-9]\d*", text):
        raise ArgumentTypeError(
            f"must be a number from 1 on, or -1 for all processors, got {text!r}"
        )
    return int(text)


def share_or_number(text):
    """Return 3 as an int and .5 as a float."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"must be a share such as .5 or a number such as 3, got {text!r}"
        ) from error


def load(source, target):
    """Return X and y of a file, a folder, or the data named digits or glyphs."""
    if source == "digits":
        return load_digits(return_X_y=True)
    if source == "glyphs":
        return load_glyphs(random_state=0, return_X_y=True)
    path = Path(source)
    if path.is_dir():
        return load_image_folder(path, return_X_y=True)
    if path.suffix == ".npz":
        return _load_arrays(path, target)
    if path.suffix in TABLES:
        return _load_table(path, target)
    raise ValueError(
        f"data must be 'digits', 'glyphs', a folder, or a file that ends in .npz, "
        f"{' or '.join(TABLES)}, got {source!r}."
    )


def _load_arrays(path, target):
    """Return X and y of a .npz file, without unpickling."""
    try:
        # NumPy itself leaves a damaged file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = file.files
            arrays = {name: file[name] for name in {"X", target}.intersection(names)}
    except (EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole file of np.savez without objects, got "
            f"{type(error).__name__}."
        ) from error
    _check_target(path, target, names)
    if "X" not in names:
        raise ValueError(f"{path} must hold an array 'X', got {names}.")
    return arrays["X"], arrays[target]


def _load_table(path, target):
    """Return the numbers and the target of a table."""
    import pandas as pd

    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    _check_target(path, target, list(table.columns))
    X = table.drop(columns=target)
    others = list(X.select_dtypes(exclude=["number", "bool"]).columns)
    if others:
        raise ValueError(
            f"{path} must hold numbers; encode or leave out the columns {others}."
        )
    return X.to_numpy(dtype=np.float64), table[target].to_numpy()


def _check_target(path, target, names):
    """Check that a file has the target; name similar columns if not."""
    if target not in names:
        close = get_close_matches(target, map(str, names), n=LISTED)
        some = close or [*names[: LISTED - 1], names[-1]]
        shown = names if len(names) <= LISTED else some
        more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
        raise ValueError(
            f"{path} has no {target!r} for the classes, but {shown}{more}. Choose one "
            "with --target."
        )
