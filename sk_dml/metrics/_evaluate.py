"""One search for all metrics of all queries."""

import re
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state

from sk_dml._utils._labels import encode_label_sets
from sk_dml._utils._warn import warn
from sk_dml.metrics import _ranks
from sk_dml.metrics._counting import count_relevant, score_in_blocks
from sk_dml.metrics._listing import ranks_of_lists
from sk_dml.metrics._validation import (
    check_embeddings,
    check_interval,
    check_length,
    check_names,
    check_rows,
)
from sk_dml.neighbors._validation import (
    METRICS,
    SEARCHES,
    check_choice,
    check_positive,
    check_same_width,
)

RANK_METRICS = {
    "r_precision": _ranks.r_precision,
    "map_at_r": _ranks.map_at_r,
}
# These look beyond the R nearest neighbours.
DEEP_METRICS = {
    "mean_average_precision": _ranks.average_precision,
    "mean_reciprocal_rank": _ranks.reciprocal_rank,
}
# Items to search among from which search="auto" is approximate. At 118,898 of width 128
# both take as long, without the 20 seconds or more that pynndescent compiles in every
# process (benchmarks/results/retrieval.md); the exact time grows with the square.
AUTO_APPROXIMATE = 250_000
AT_K = re.compile(r"(precision|recall)_at_([1-9][0-9]*)")
AT_K_METRICS = {"precision": _ranks.precision_at_k, "recall": _ranks.recall_at_k}


@dataclass
class Evaluation:
    """What one search tells.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n_queries,)
        The metrics of every query by name; NaN where it is left out.
    codes : ndarray of shape (n_queries,), int
        The classes of the queries.
    neighbor_recall : float
        Share of the true neighbours that the search found.
    """

    values: dict
    codes: np.ndarray
    neighbor_recall: float


def check_options(
    names,
    *,
    metric="euclidean",
    average="micro",
    n_classes=None,
    n_repeats=5,
    search="exact",
    confidence_level=None,
    n_resamples=2000,
    random_state=None,
    extra=("neighbor_recall",),
):
    """Check all that can be checked without data.

    Parameters
    ----------
    names : str or iterable of str
        Metrics.
    metric, average, n_classes, n_repeats, search, confidence_level : object
        As for :func:`sk_dml.metrics.retrieval_scores`.
    n_resamples, random_state : object
        As for :func:`sk_dml.metrics.retrieval_scores`.
    extra : sequence of str, default=("neighbor_recall",)
        Metrics that are none of single queries.

    Returns
    -------
    tuple of str
        The names.
    """
    names = check_names(names, [*RANK_METRICS, *DEEP_METRICS, *extra], AT_K)
    check_choice(metric, METRICS, "metric")
    check_choice(search, SEARCHES, "search")
    check_interval(average, confidence_level, n_resamples, random_state)
    check_positive(n_repeats, "n_repeats")
    if n_classes is not None:
        check_positive(n_classes, "n_classes")
        if n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {n_classes}.")
    deep = [name for name in names if name in DEEP_METRICS]
    if deep and search == "approximate":
        raise ValueError(
            f"metrics {deep} need the whole ranking, which search={search!r} does not "
            "know; use search='exact'."
        )
    return names


def evaluate(
    X,
    labels,
    names,
    *,
    metric,
    gallery,
    gallery_labels,
    n_classes,
    n_repeats,
    search,
    random_state,
    wants_recall=False,
):
    """Search every query, and rate what is found.

    Parameters
    ----------
    X, labels, metric, gallery, gallery_labels : object
        As for :func:`sk_dml.metrics.retrieval_scores`.
    names : sequence of str
        Metrics of single queries.
    n_classes, n_repeats, search, random_state : object
        As for :func:`sk_dml.metrics.retrieval_scores`.
    wants_recall : bool, default=False
        Whether to measure the recall of the neighbours.

    Returns
    -------
    Evaluation
    """
    X, codes, gallery, gallery_codes = _check_data(X, labels, gallery, gallery_labels)
    is_self = gallery is None
    if n_classes is not None:
        _check_n_classes(n_classes, np.bincount(gallery_codes), is_self, names)
    kept = count_relevant(codes, gallery_codes, is_self) > 0
    _check_kept(kept, gallery_codes, is_self)
    rng = check_random_state(random_state)
    if search == "auto":
        is_large = len(gallery_codes) >= AUTO_APPROXIMATE
        is_deep = any(name in DEEP_METRICS for name in names)
        search = "approximate" if is_large and not is_deep else "exact"
    draws = (
        [None] if n_classes is None else _deal(gallery_codes, n_classes, n_repeats, rng)
    )
    totals = {name: np.zeros(len(X)) for name in names}
    counts, recalls = np.zeros(len(X)), []
    for drawn in draws:
        # Who has nothing to find is still there to be found.
        queries, items = (
            slice(None) if drawn is None else np.isin(of, drawn)
            for of in (codes, gallery_codes)
        )
        if not kept[queries].any():
            continue
        found, recall = _search(
            X[queries],
            codes[queries],
            None if is_self else gallery[items],
            gallery_codes[items],
            names,
            metric,
            rng if search == "approximate" else None,
            wants_recall,
        )
        recalls.append(recall)
        for name in names:
            totals[name][queries] += found[name]
        counts[queries] += 1
    counts[~kept] = np.nan
    values = {name: total / counts for name, total in totals.items()}
    return Evaluation(values, codes, float(np.mean(recalls)))


def _search(X, codes, gallery, gallery_codes, names, metric, rng, wants_recall):
    """Compute metrics of queries; 0 for those that have nothing to find."""
    largest = len(X) - 1 if gallery is None else len(gallery)
    matches = {name: AT_K.fullmatch(name) for name in names}
    depth = np.maximum(count_relevant(codes, gallery_codes, gallery is None), 1)
    for name, match in matches.items():
        k = int(match[2]) if match else 1
        if k > largest:
            raise ValueError(
                f"{name} needs at least k={k} items to search among, got {largest}."
            )
        depth = np.maximum(depth, largest if name in DEEP_METRICS else k)

    def rate(ranks):
        found = []
        for name, match in matches.items():
            if match:
                found.append(AT_K_METRICS[match[1]](ranks, int(match[2])))
            else:
                found.append((RANK_METRICS | DEEP_METRICS)[name](ranks))
        return tuple(found)

    recall = 1.0
    arguments = X, codes, gallery, gallery_codes
    if rng is None:
        blocks = score_in_blocks(*arguments, metric=metric, depth=depth, score=rate)
    else:
        n_neighbors = int(depth.max())
        lists, recall = ranks_of_lists(
            *arguments,
            metric=metric,
            n_neighbors=n_neighbors,
            random_state=rng,
            wants_recall=wants_recall,
        )
        blocks = ((queries, rate(ranks)) for queries, ranks in lists)
    values = {name: np.zeros(len(X)) for name in names}
    for queries, found in blocks:
        for name, value in zip(matches, found, strict=True):
            values[name][queries] = value
    return values, recall


def _check_n_classes(n_classes, sizes, is_self, names):
    """Refuse galleries that are larger than the data or too small for the metrics."""
    sizes = np.sort(sizes[sizes > 0])
    if n_classes > len(sizes):
        raise ValueError(
            f"n_classes must be at most {len(sizes)}, the number of classes to search "
            f"among, got {n_classes}."
        )
    smallest = int(sizes[:n_classes].sum()) - is_self
    for name in names:
        match = AT_K.fullmatch(name)
        if match and int(match[2]) > smallest:
            raise ValueError(
                f"{name} needs at least k={match[2]} items to search among; with "
                f"n_classes={n_classes} there may be as few as {smallest}."
            )


def _deal(gallery_codes, n_classes, n_repeats, rng):
    """Deal out all classes into galleries of equal numbers of them, time and again."""
    classes = np.unique(gallery_codes)
    for _ in range(n_repeats):
        order = rng.permutation(classes)
        for start in range(0, len(classes), n_classes):
            # The last one is filled up with those that were dealt first.
            yield order.take(np.arange(start, start + n_classes), mode="wrap")


def _check_data(X, labels, gallery, gallery_labels):
    if (gallery is None) != (gallery_labels is None):
        given = "gallery" if gallery_labels is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together, got only {given}.")
    if gallery is None:
        X, _, codes = check_embeddings(X, labels)
        return X, codes, None, codes
    X, gallery = check_rows(X, "X"), check_rows(gallery, "gallery")
    check_same_width(X, "X", gallery)
    names = "labels", "gallery_labels"
    codes, gallery_codes = encode_label_sets(labels, gallery_labels, names=names)
    check_length(codes, "labels", X, "X")
    check_length(gallery_codes, "gallery_labels", gallery, "gallery")
    return X, codes, gallery, gallery_codes


def _check_kept(kept, gallery_codes, is_self):
    """Tell of queries that have nothing to find, and refuse to go on without others."""
    n_left_out = int((~kept).sum())
    where = "among the other samples" if is_self else "in the gallery"
    if n_left_out == len(kept):
        reason = (
            "retrieval needs classes with 2 or more samples"
            if is_self
            else "labels and gallery_labels have no class in common"
        )
        raise ValueError(
            f"None of the {len(kept)} queries has a sample of its class {where}, so "
            f"there is nothing to find: {reason}."
        )
    if n_left_out:
        warn(
            f"{n_left_out} of {len(kept)} queries are left out of the score: there is "
            f"no sample of their class {where}."
        )
    if (gallery_codes == gallery_codes[0]).all():
        warn(
            "All items to search among are of one class: nothing can be missed, and "
            "the scores say nothing."
        )
