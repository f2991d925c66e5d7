"""
Why MAP@R, and not only P@1?
============================

Three embeddings with equal P@1, NMI and F1, but different MAP@R, after the toy example
of "A Metric Learning Reality Check" (Musgrave, Belongie, Lim, ECCV 2020): three classes
in two dimensions, in pieces, side by side, and apart.

P@1, also called recall@1, needs one neighbor of the right class only. NMI and F1
measure the clusters of k-means, which splits the wide class and merges the other two in
all three embeddings. MAP@R considers as many neighbors as a class has samples, in their
order.
"""

# %%
# Three embeddings
# ----------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans

from sk_dml.metrics import clustering_scores, retrieval_scores

N_CLASSES, N_SAMPLES = 3, 120  # of a class
NAMES = {
    "precision_at_1": "P@1",
    "nmi": "NMI",
    "pairwise_f1": "F1",
    "map_at_r": "MAP@R",
}
COLORS, MARKERS = ("#0072b2", "#d55e00", "#009e73"), ("o", "s", "^")


def discs(rng, centers, radius):
    """Draw the samples of a class from discs, as many from each."""
    n = N_SAMPLES
    angle = rng.uniform(0, 2 * np.pi, n)
    distance = radius * np.sqrt(rng.uniform(0, 1, n))
    moves = np.column_stack([np.cos(angle), np.sin(angle)]) * distance[:, None]
    return np.asarray(centers)[np.arange(n) % len(centers)] + moves


def rectangle(rng, left, right, low, high):
    """Draw the samples of a class from a rectangle."""
    return rng.uniform((left, low), (right, high), (N_SAMPLES, 2))


def make_spaces(random_state=0):
    """Return the embeddings, the worst first, and their common labels."""
    rng = np.random.default_rng(random_state)
    squares = [(i, j) for i in range(4) for j in range(4)]
    board = [
        [(3 + 0.9 * i, 0.9 * j - 1.35) for i, j in squares if (i + j) % 2 == color]
        for color in (0, 1)
    ]
    spaces = {
        "in pieces": [
            discs(rng, [(-0.5, 0), (9.2, 0)], 0.6),
            *(discs(rng, centers, 0.22) for centers in board),
        ],
        "side by side": [
            rectangle(rng, -2.6, 2.2, -0.5, 0.5),
            rectangle(rng, 3.2, 5.4, -1.0, -0.05),
            rectangle(rng, 3.2, 5.4, 0.05, 1.0),
        ],
        "apart": [
            discs(rng, [(0, 0)], 2),
            discs(rng, [(4.6, -0.6)], 0.25),
            discs(rng, [(4.6, 0.6)], 0.25),
        ],
    }
    labels = np.repeat(np.arange(N_CLASSES), N_SAMPLES)
    return {name: np.concatenate(parts) for name, parts in spaces.items()}, labels


# %%
# Four scores of each
# -------------------


def rate(embedding, labels):
    """Return the four scores of an embedding."""
    scores = clustering_scores(embedding, labels, n_init=10, random_state=0)
    scores |= retrieval_scores(embedding, labels)
    return {name: float(scores[name]) for name in NAMES}


spaces, labels = make_spaces()
scores = {name: rate(embedding, labels) for name, embedding in spaces.items()}
for name, row in scores.items():
    print(f"{name:14}", row)

# %%
# The pictures
# ------------


def draw(spaces, labels, scores):
    """Draw every embedding above its scores."""
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 4.3), layout="constrained")
    figure.suptitle("P@1, NMI and F1 rate three embeddings alike; MAP@R does not")
    for ax, (name, embedding) in zip(axes, spaces.items(), strict=True):
        for k in range(N_CLASSES):
            ax.plot(
                *embedding[labels == k].T, MARKERS[k], color=COLORS[k], markersize=2.5
            )
        found = KMeans(N_CLASSES, n_init=10, random_state=0).fit(embedding)
        ax.plot(*found.cluster_centers_.T, "kX", markersize=9, markeredgecolor="w")
        ax.set(title=f"Three classes, {name}", xticks=[], yticks=[])
        ax.axis("equal")
        table = [f"{NAMES[m]:<6}{value:5.2f}" for m, value in scores[name].items()]
        ax.set_xlabel("\n".join(table), family="monospace", fontsize=12)
        ax.xaxis.label.set_linespacing(1.4)
    figure.supxlabel(
        "Black crosses: the centers of k-means, which NMI and F1 are based on.",
        fontsize=9,
    )
    return figure


draw(spaces, labels, scores)
