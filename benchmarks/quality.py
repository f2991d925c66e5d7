"""Accuracy of CircleEmbedder with default parameters on its training classes.

Accuracy of a 5-fold cross-validated k-NN on wine, breast cancer and digits, on raw
features, on the embedding, and on the embedding behind a StandardScaler. Mean and
standard deviation over seeds. For classes never seen in training, see methods.py.
"""

import argparse

import numpy as np
from _report import header
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import CircleEmbedder


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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print(header("quality.py"))
    print()
    closed_set(arguments.seeds)


if __name__ == "__main__":
    main()
