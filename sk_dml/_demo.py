"""Demonstration on data that come with scikit-learn."""

import sys
import time

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

DESCRIPTION = """\
Shows what sk_dml does, on data that come with scikit-learn, in about two minutes:
the same classes at test time (k-NN accuracy), classes never seen in training
(retrieval), and a grid search scored on unseen classes."""


def demonstrate(random_state=0, out=None, *, share=1.0):
    """Print the tables to ``out``; return their figures by name.

    ``share`` scales the numbers of images and epochs, so that tests take seconds.
    """
    step = round(1 / share)
    figures = {}
    start = time.perf_counter()

    def show(line=""):
        progress("")  # clears the progress line
        print(line, file=out, flush=True)  # None is stdout

    show("1. The same classes at test time: accuracy, 5-fold cross-validation")
    show(f"   {'':24}{'k-NN on raw features':>22}{'CircleEmbedder + k-NN':>24}")
    for name, load in (("wine", load_wine), ("digits", load_digits)):
        X, y = load(return_X_y=True)
        if name == "digits":
            X, y = X[::step], y[::step]
        embed = CircleEmbedder(random_state=random_state)
        embed.set_params(max_epochs=max(1, round(share * embed.max_epochs)))
        pipeline = Pipeline([("embed", embed), ("knn", KNeighborsClassifier())])
        accuracies = []
        for kind, model in (("raw", KNeighborsClassifier()), ("circle", pipeline)):
            progress(f"{name}: cross-validating {kind}")
            accuracies.append(cross_val_score(model, X, y, cv=5).mean())
            figures[f"accuracy {name} {kind}"] = accuracies[-1]
        shape = f"{name} {X.shape[0]} x {X.shape[1]}"
        show(f"   {shape:24}{accuracies[0]:22.3f}{accuracies[1]:24.3f}")
    show("   No scaler anywhere: the embedder standardizes its inputs itself.")

    show()
    show("2. Classes never seen in training: retrieval among digits 5 to 9, after")
    show("   training on digits 0 to 4 (each of eight orientations a class)")
    show(f"   {'':24}{'P@1':>8}{'MAP@R':>8}")
    for name, width in (("centered as scanned", 8), ("moved about 12 x 12", 12)):
        X, y, X_unseen, y_unseen, _ = unseen_digits(width, random_state)
        show(f"   {name}")
        for method in (None, CircleEmbedder, SoftTripleEmbedder):
            if method is None:
                label, embedding = "raw pixels", X_unseen.reshape(len(X_unseen), -1)
            else:
                label = method.__name__
                progress(f"digits {name}: training {label}")
                embedder = method(
                    max_epochs=max(1, round(5 * share)), random_state=random_state
                )
                embedding = embedder.fit(X[::step], y[::step]).transform(X_unseen)
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
    embedder = CircleEmbedder(
        max_epochs=max(1, round(3 * share)), random_state=random_state
    )
    progress("grid search: 12 fits")
    search = GridSearchCV(embedder, grid, scoring=map_at_r, cv=ClassDisjointKFold(3))
    part = slice(None, None, min(20, 4 * step))  # a class needs some images
    search.fit(X[part], y[part], groups=digit[part])
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
        f"Seen in {seconds:.0f} s: samples of one class became neighbors, inside "
        "Pipeline and GridSearchCV."
    )
    return figures


def unseen_digits(width, random_state):
    """Return digits 0 to 4 in eight orientations, and 5 to 9 upright, on a canvas.

    X (n, width, width) and y (n,) are for training, X_unseen and y_unseen for testing;
    ``digit`` (n,) is the digit of every training image.
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
    """Return images (n, 8, 8) at random positions of canvases (n, width, width)."""
    canvas = np.zeros((len(images), width, width))
    tops, lefts = rng.integers(0, width - 8 + 1, size=(2, len(images), 1, 1))
    rows, columns = np.arange(8)[:, None], np.arange(8)
    canvas[np.arange(len(images))[:, None, None], tops + rows, lefts + columns] = images
    return canvas


def progress(text):
    """Print what is running on stderr, on one line in a terminal."""
    end = "\r" if sys.stderr.isatty() else "\n" if text else ""
    print(
        f"{text and '... ' + text:72}" if end == "\r" else text,
        end=end,
        file=sys.stderr,
        flush=True,
    )
