"""The command line: a demonstration on scikit-learn's data, and the reality check."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    SoftTripleEmbedder,
    class_disjoint_split,
    map_at_r,
)
from sk_dml.metrics import retrieval_scores
from sk_dml.reality_check import _command as reality_check

DESCRIPTION = """\
Shows what sk_dml does, on data that come with scikit-learn, in about two minutes:
the same classes at test time (k-NN accuracy), classes never seen in training
(retrieval), and a grid search scored on unseen classes."""


def demonstrate(random_state=0, out=sys.stdout):
    """Run the demonstration.

    Parameters
    ----------
    random_state : int, default=0
        Seeds everything.
    out : file, default=sys.stdout
        Where the tables go; progress goes to stderr.

    Returns
    -------
    dict of str to float
        The figures shown, by a name for each.
    """
    figures = {}
    start = time.perf_counter()

    def show(line=""):
        progress("")  # clears what a progress line left behind
        print(line, file=out, flush=True)

    show("1. The same classes at test time: accuracy, 5-fold cross-validation")
    show(f"   {'':24}{'k-NN on raw features':>22}{'CircleEmbedder + k-NN':>24}")
    for name, load in (("wine", load_wine), ("digits", load_digits)):
        X, y = load(return_X_y=True)
        embed = CircleEmbedder(random_state=random_state)
        pipeline = Pipeline([("embed", embed), ("knn", KNeighborsClassifier())])
        accuracies = []
        for what, model in (("raw", KNeighborsClassifier()), ("circle", pipeline)):
            progress(f"{name}: cross-validating {what}")
            accuracies.append(cross_val_score(model, X, y, cv=5).mean())
            figures[f"accuracy {name} {what}"] = accuracies[-1]
        shape = f"{name} {X.shape[0]} x {X.shape[1]}"
        show(f"   {shape:24}{accuracies[0]:22.3f}{accuracies[1]:24.3f}")
    show("   No scaler anywhere: the embedder standardises its inputs itself.")

    show()
    show("2. Classes never seen in training: retrieval among digits 5 to 9, after")
    show("   training on digits 0 to 4 (each of eight orientations a class)")
    show(f"   {'':24}{'P@1':>8}{'MAP@R':>8}")
    for name, width in (("centred as scanned", 8), ("moved about 12 x 12", 12)):
        X, y, X_unseen, y_unseen, _ = unseen_digits(width, random_state)
        show(f"   {name}")
        for method in (None, CircleEmbedder, SoftTripleEmbedder):
            if method is None:
                label, embedding = "raw pixels", X_unseen.reshape(len(X_unseen), -1)
            else:
                label = method.__name__
                progress(f"digits {name}: training {label}")
                embedder = method(max_epochs=5, random_state=random_state)
                embedding = embedder.fit(X, y).transform(X_unseen)
            scores = retrieval_scores(embedding, y_unseen)
            p_at_1, map_at_r_score = scores["precision_at_1"], scores["map_at_r"]
            figures[f"P@1 {width} {label}"] = p_at_1
            figures[f"MAP@R {width} {label}"] = map_at_r_score
            show(f"     {label:22}{p_at_1:8.3f}{map_at_r_score:8.3f}")
    show("   Raw pixels do well as long as every digit stands in the same place; once")
    show("   digits move, only what was learned still brings a class together.")

    show()
    show(
        "3. Grid search on unseen classes: mean validation MAP@R over 3 class-disjoint"
    )
    show("   folds of the moved training digits")
    X, y, _, _, digit = unseen_digits(12, random_state)
    grid = {"margin": [0.25, 0.4], "gamma": [32, 80]}
    embedder = CircleEmbedder(max_epochs=3, random_state=random_state)
    progress("grid search: 12 fits")
    search = GridSearchCV(embedder, grid, scoring=map_at_r, cv=ClassDisjointKFold(3))
    search.fit(X[::4], y[::4], groups=digit[::4])
    results = search.cv_results_
    for params, score in zip(
        results["params"], results["mean_test_score"], strict=True
    ):
        best = "  <- best" if params == search.best_params_ else ""
        show(
            f"   margin={params['margin']:<5} gamma={params['gamma']:<4}"
            f"{score:8.3f}{best}"
        )
    figures["grid search"] = search.best_score_

    progress("")
    show()
    seconds = time.perf_counter() - start
    show(
        f"Seen in {seconds:.0f} s: samples of one class became neighbours, inside "
        "Pipeline and GridSearchCV."
    )
    return figures


def unseen_digits(width, random_state):
    """Place scikit-learn's digits on a larger canvas; keep 5 to 9 for testing.

    Parameters
    ----------
    width : int
        Width and height of the canvas, at least 8.
    random_state : int
        Seeds the places.

    Returns
    -------
    X, y : ndarrays
        Training images of digits 0 to 4 in eight orientations, and their classes.
    X_unseen, y_unseen : ndarrays
        Test images of digits 5 to 9, upright, and their classes.
    digit : ndarray
        The digit of every training image.
    """
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8)
    seen, unseen, y_seen, y_unseen = class_disjoint_split(images, y=y)
    turned = [np.rot90(seen, k, axes=(1, 2)) for k in range(4)]
    oriented = [*turned, *(image[:, :, ::-1] for image in turned)]
    classes = np.concatenate([10 * i + y_seen for i in range(8)])
    rng = np.random.default_rng(random_state)
    X_seen = place(np.concatenate(oriented), width, rng)
    return X_seen, classes, place(unseen, width, rng), y_unseen, classes % 10


def place(images, width, rng):
    """Put every image at a random place on an empty canvas.

    Parameters
    ----------
    images : ndarray of shape (n, 8, 8)
    width : int
        Width and height of the canvas.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, width, width)
    """
    canvas = np.zeros((len(images), width, width))
    tops, lefts = rng.integers(0, width - 8 + 1, size=(2, len(images), 1, 1))
    rows, columns = np.arange(8)[:, None], np.arange(8)
    canvas[np.arange(len(images))[:, None, None], tops + rows, lefts + columns] = images
    return canvas


def progress(text):
    """Show what is going on, on a line of its own that the next one overwrites.

    Parameters
    ----------
    text : str
    """
    end = "\r" if sys.stderr.isatty() else "\n" if text else ""
    print(
        f"{text and '... ' + text:72}" if end == "\r" else text,
        end=end,
        file=sys.stderr,
        flush=True,
    )


def main(arguments=None):
    """Parse the command line and run.

    Parameters
    ----------
    arguments : list of str or None, default=None
        None takes the command line's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sk_dml",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--random-state", type=int, default=0, help="seed of everything (default: 0)"
    )
    commands = parser.add_subparsers(dest="command", title="instead")
    check = commands.add_parser(
        "reality-check",
        help="compare methods fairly on your own data",
        description=reality_check.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reality_check.add_arguments(check)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        demonstrate(parsed.random_state)
        return
    try:
        result = reality_check.run(parsed)
    except (ImportError, OSError, TypeError, ValueError) as error:
        check.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    print(reality_check.show(result))
    print(f"All of it: {Path(parsed.out, 'report.html')}")
    if not any(row["n"] for row in result.rows() if row["kind"] == "method"):
        sys.exit(1)


if __name__ == "__main__":
    main()
