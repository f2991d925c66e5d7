"""Nearest neighbors by comparing everything with everything, feature by feature."""

import numpy as np


def rounded(squares):
    """Keep 44 significant bits."""
    digits, powers = np.frexp(squares)
    return np.ldexp(np.rint(np.ldexp(digits, 44)), powers - 44)


def brute_force(queries, gallery=None, *, n_neighbors, metric="euclidean"):
    queries = np.asarray(queries, dtype=np.float64)
    is_self = gallery is None
    gallery = queries if is_self else np.asarray(gallery, dtype=np.float64)
    if metric == "euclidean":
        squares = np.zeros((len(queries), len(gallery)))
        for left, right in zip(queries.T, gallery.T, strict=True):
            squares += (left[:, None] - right) ** 2
        distances = np.sqrt(rounded(squares))
    else:
        lengths = [np.linalg.norm(rows, axis=1) for rows in (queries, gallery)]
        queries, gallery = (
            rows / np.where(length > 0, length, 1)[:, None]
            for rows, length in zip((queries, gallery), lengths, strict=True)
        )
        distances = 1 - queries @ gallery.T
    if is_self:
        np.fill_diagonal(distances, np.inf)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return np.take_along_axis(distances, indices, axis=1), indices
