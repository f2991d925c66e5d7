"""What the embedders reach with default parameters, closed set and open set.

Closed set: accuracy of a 5-fold cross-validated k-NN on wine, breast cancer and digits,
on raw features, on the embedding, and on the embedding behind a StandardScaler. Mean
and standard deviation over seeds.

Open set, with ``--omniglot``: an .npz file with X (n, 28, 28) and y. Trained on the
first half of the classes, scored by retrieval among the second half.
"""

import argparse
import time

import numpy as np
from _report import header
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.metrics import retrieval_scores
from sk_dml.utils import all_embedders


def closed_set(seeds):
    print("| data | k-NN, raw | gradient boosting | Circle + k-NN | scaler first |")
    print("|---|---|---|---|---|")
    for load in (load_wine, load_breast_cancer, load_digits):
        X, y = load(return_X_y=True)
        raw = cross_val_score(KNeighborsClassifier(), X, y).mean()
        boosting = HistGradientBoostingClassifier(random_state=0)
        boosted = cross_val_score(boosting, X, y).mean()
        scores = []
        for seed in range(seeds):
            steps = [
                ("embed", CircleEmbedder(random_state=seed)),
                ("knn", KNeighborsClassifier()),
            ]
            scaled = [("scale", StandardScaler()), *steps]
            scores.append(
                [cross_val_score(Pipeline(s), X, y).mean() for s in (steps, scaled)]
            )
        (plain, scaled), (spread, scaled_spread) = np.mean(scores, 0), np.std(scores, 0)
        print(
            f"| {load.__name__[5:]} | {raw:.4f} | {boosted:.4f} "
            f"| {plain:.4f} ± {spread:.4f} | {scaled:.4f} ± {scaled_spread:.4f} |",
            flush=True,
        )


def open_set(path, epochs, seeds):
    with np.load(path) as data:
        X, y = data["X"], data["y"]
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    raw = retrieval_scores(X_test.reshape(len(X_test), -1).astype(np.float32), y_test)
    print(f"Trained {epochs} epochs on {len(np.unique(y_train))} classes.")
    print()
    print("| embedding | MAP@R | P@1 | seconds |")
    print("|---|---|---|---|")
    print(f"| raw pixels | {raw['map_at_r']:.3f} | {raw['precision_at_1']:.3f} | |")
    for name, cls in all_embedders():
        found, seconds = [], []
        for seed in range(seeds):
            start = time.perf_counter()
            embedder = cls(max_epochs=epochs, random_state=seed).fit(X_train, y_train)
            seconds.append(time.perf_counter() - start)
            scores = retrieval_scores(embedder.transform(X_test), y_test)
            found.append([scores["map_at_r"], scores["precision_at_1"]])
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        print(
            f"| {name} | {mean[0]:.3f} ± {spread[0]:.3f} "
            f"| {mean[1]:.3f} ± {spread[1]:.3f} | {np.median(seconds):.0f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20, help="of the open set")
    parser.add_argument("--omniglot", help=".npz file with X and y")
    arguments = parser.parse_args()
    print(header("quality.py"))
    print()
    if arguments.omniglot:
        open_set(arguments.omniglot, arguments.epochs, arguments.seeds)
    else:
        closed_set(arguments.seeds)


if __name__ == "__main__":
    main()
