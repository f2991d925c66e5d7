"""Displays of an embedding of scikit-learn's digits
=================================================

Trains on five of the ten digits and draws the embedding of all ten, five of which it
has not seen. Shows the pictures, or writes them with ``--save``.

    python examples/plot_digits.py --save pictures
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sk_dml import CircleEmbedder
from sk_dml.inspection import (
    EmbeddingDisplay,
    RecallCurveDisplay,
    RetrievalDisplay,
    SimilarityDisplay,
    TrainingDisplay,
)


def displays(max_epochs):
    """Train, and draw one display of each kind."""
    digits = load_digits()
    X, y, images = digits.data, digits.target, digits.images
    known = y < 5
    embedder = CircleEmbedder(max_epochs=max_epochs, random_state=0)
    embedder.fit(X[known], y[known])
    new, names = ~known, ("five digits seen in training", "five new digits")

    yield "training", TrainingDisplay.from_estimator(embedder)
    yield (
        "map",
        EmbeddingDisplay.from_estimator(
            embedder,
            X,
            y,
            images=images,
            method="tsne",
            max_samples=600,
            random_state=0,
        ),
    )
    yield (
        "retrieval",
        RetrievalDisplay.from_estimator(
            embedder, X[new], y[new], items=images[new], random_state=0
        ),
    )
    _, axes = plt.subplots(2, figsize=(6.5, 8), sharex=True, layout="constrained")
    for ax, part, name in zip(axes, (known, new), names, strict=True):
        ax.set_title(name)
        display = SimilarityDisplay.from_estimator(
            embedder, X[part], y[part], random_state=0, ax=ax
        )
    yield "similarity", display
    ax = None
    for part, name in zip((known, new), names, strict=True):
        display = RecallCurveDisplay.from_estimator(
            embedder, X[part], y[part], k=[1, 2, 3, 5, 10], name=name, ax=ax
        )
        ax = display.ax_
    yield "recall_curve", display


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--save", metavar="DIR", help="write PNG files there, show none"
    )
    parser.add_argument("--max-epochs", type=int, default=30)
    arguments = parser.parse_args()
    for name, display in displays(arguments.max_epochs):
        if arguments.save:
            Path(arguments.save).mkdir(parents=True, exist_ok=True)
            display.figure_.savefig(Path(arguments.save, f"digits_{name}.png"))
    if not arguments.save:
        plt.show()


if __name__ == "__main__":
    main()
