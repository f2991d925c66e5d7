"""Retrieval metrics by brute force: every order of tied neighbors, one by one."""

from collections import Counter
from fractions import Fraction
from itertools import groupby, permutations, product

import numpy as np

NAMES = (
    "precision_at_1",
    "precision_at_2",
    "r_precision",
    "map_at_r",
    "recall_at_1",
    "recall_at_3",
    "mean_average_precision",
    "mean_reciprocal_rank",
)


def orders(distances):
    """All rankings of the gallery that sort the distances."""
    ranked = sorted(range(len(distances)), key=lambda j: distances[j])
    groups = [list(g) for _, g in groupby(ranked, key=lambda j: distances[j])]
    for choice in product(*(permutations(group) for group in groups)):
        yield [j for group in choice for j in group]


def score_ranking(relevant, name):
    """Score one ranking, a list of bools over the whole gallery."""
    n_relevant = sum(relevant)
    if name == "precision_at_1":
        return Fraction(relevant[0])
    if name == "r_precision":
        return Fraction(sum(relevant[:n_relevant]), n_relevant)
    if name == "map_at_r":
        total = sum(
            Fraction(sum(relevant[: i + 1]), i + 1)
            for i in range(n_relevant)
            if relevant[i]
        )
        return total / n_relevant
    ranks = [i + 1 for i, is_hit in enumerate(relevant) if is_hit]
    if name == "mean_average_precision":
        return sum(Fraction(n + 1, rank) for n, rank in enumerate(ranks)) / n_relevant
    if name == "mean_reciprocal_rank":
        return Fraction(1, ranks[0])
    kind, _, k = name.partition("_at_")
    hits = sum(relevant[: int(k)])
    return Fraction(hits, int(k)) if kind == "precision" else Fraction(hits > 0)


def scores(distances, query_labels, gallery_labels, names, *, leave_one_out):
    """Average each metric over the queries that have something to find.

    ``distances[i][j]`` must be exact, so that equal distances are equal.
    """
    values = {name: [] for name in names}
    for i, label in enumerate(query_labels):
        gallery = [
            j for j in range(len(gallery_labels)) if not (leave_one_out and i == j)
        ]
        is_relevant = [bool(gallery_labels[j] == label) for j in gallery]
        if not any(is_relevant):
            continue
        # Many orders differ in items only that are relevant both, or neither.
        rankings = Counter(
            tuple(is_relevant[j] for j in order)
            for order in orders([distances[i][j] for j in gallery])
        )
        for name in names:
            total = sum(
                score_ranking(list(ranking), name) * n
                for ranking, n in rankings.items()
            )
            values[name].append(total / rankings.total())
    return {name: float(sum(each) / len(each)) for name, each in values.items()}


def exact_distances(queries, gallery):
    """Squared distances of integer points, as integers."""
    return ((queries[:, None] - gallery[None]) ** 2).sum(axis=2).astype(int).tolist()


def points(rng, n, spread):
    """Points on an integer grid: duplicates and equal distances abound."""
    return rng.integers(-spread, spread + 1, size=(n, 2)).astype(np.float64)


def random_data(n=90, n_classes=7):
    """Overlapping classes of unequal sizes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, size=n)
    return rng.normal(size=(n, 3)) + labels[:, None] * 0.3, labels
