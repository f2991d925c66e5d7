"""Retrieval metrics of every query, from one search."""

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
# These look beyond the R nearest neighbors.
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
    """Results of one search."""

    values: dict  # of str to (n_queries,), NaN where a query is left out
    codes: np.ndarray  # (n_queries,), their classes
    neighbor_recall: float  # share of the true neighbors that the search found


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
    """Return names of metrics as a tuple; check all that needs no data."""
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
    """Return the Evaluation of metrics of single queries, from one search."""
    X, codes, gallery, gallery_codes = check_data(X, labels, gallery, gallery_labels)
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
        # Queries without relevant samples stay in the gallery as distractors.
        queries, items = (
            slice(None) if drawn is None else np.isin(of, drawn)
            for of in (codes, gallery_codes)
        )
        if not kept[queries].any():
            continue
        scores, recall = _search(
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
            totals[name][queries] += scores[name]
        counts[queries] += 1
    counts[~kept] = np.nan
    values = {name: total / counts for name, total in totals.items()}
    return Evaluation(values, codes, float(np.mean(recalls)))


def _search(X, codes, gallery, gallery_codes, names, metric, rng, wants_recall):
    """Return values by metric, (n,), 0 without relevant items, and the recall."""
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

    def score(ranks):
        return tuple(
            AT_K_METRICS[match[1]](ranks, int(match[2]))
            if match
            else (RANK_METRICS | DEEP_METRICS)[name](ranks)
            for name, match in matches.items()
        )

    recall = 1.0
    arguments = X, codes, gallery, gallery_codes
    if rng is None:
        blocks = score_in_blocks(*arguments, metric=metric, depth=depth, score=score)
    else:
        n_neighbors = int(depth.max())
        lists, recall = ranks_of_lists(
            *arguments,
            metric=metric,
            n_neighbors=n_neighbors,
            random_state=rng,
            wants_recall=wants_recall,
        )
        blocks = ((queries, score(ranks)) for queries, ranks in lists)
    values = {name: np.zeros(len(X)) for name in names}
    for queries, scores in blocks:
        for name, value in zip(matches, scores, strict=True):
            values[name][queries] = value
    return values, recall


def _check_n_classes(n_classes, sizes, is_self, names):
    """Refuse galleries larger than the data or too small for the metrics."""
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
    """Yield random partitions of all classes into galleries of ``n_classes``."""
    classes = np.unique(gallery_codes)
    for _ in range(n_repeats):
        order = rng.permutation(classes)
        for start in range(0, len(classes), n_classes):
            # An incomplete last gallery is filled from the first.
            yield order.take(np.arange(start, start + n_classes), mode="wrap")


def check_data(X, labels, gallery, gallery_labels):
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
    """Warn of queries without relevant items; refuse data of no others."""
    n_left_out = int((~kept).sum())
    where = "among the other samples" if is_self else "in the gallery"
    if n_left_out == len(kept):
        reason = (
            "retrieval needs classes with 2 or more samples"
            if is_self
            else "labels and gallery_labels have no class in common"
        )
        raise ValueError(
            f"None of the {len(kept)} queries has a sample of its class {where}: "
            f"{reason}."
        )
    if n_left_out:
        warn(
            f"{n_left_out} of {len(kept)} queries are left out: they have no sample of "
            f"their class {where}."
        )
    if (gallery_codes == gallery_codes[0]).all():
        warn(
            "All items to search among are of one class: nothing can be missed, and "
            "the scores are meaningless."
        )
