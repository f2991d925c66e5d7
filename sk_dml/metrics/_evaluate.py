"""One search for all metrics of all queries."""

import re
import warnings
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    check_scalar,
)

from sk_dml.metrics import _ranks
from sk_dml.metrics._counting import count_relevant, rate_in_blocks
from sk_dml.metrics._listing import ranks_of_lists
from sk_dml.utils import encode_label_sets, encode_labels

RANK_METRICS = {
    "r_precision": _ranks.r_precision,
    "map_at_r": _ranks.map_at_r,
}
# These look beyond the R nearest neighbours.
DEEP_METRICS = {
    "mean_average_precision": _ranks.average_precision,
    "mean_reciprocal_rank": _ranks.reciprocal_rank,
}
AT_K = re.compile(r"(precision|recall)_at_([1-9][0-9]*)")
AT_K_METRICS = {"precision": _ranks.precision_at_k, "recall": _ranks.recall_at_k}
SEARCHES = ("exact", "approximate")


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


def check_metric_names(names, *, extra=()):
    """Check names of metrics.

    Parameters
    ----------
    names : str or sequence of str
    extra : sequence of str
        More names to allow.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If there is none, or one is unknown.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    known = [*RANK_METRICS, *DEEP_METRICS, *extra]
    unknown = [n for n in names if n not in known and not AT_K.fullmatch(str(n))]
    if unknown or not names:
        raise ValueError(
            "metrics must name one or more of "
            f"{[*known, 'precision_at_<k>', 'recall_at_<k>']}, got {list(names)}."
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
    if search not in SEARCHES:
        raise ValueError(f"search must be one of {SEARCHES}, got {search!r}.")
    deep = [name for name in names if name in DEEP_METRICS]
    if deep and search != "exact":
        raise ValueError(
            f"metrics {deep} need the whole ranking, which search={search!r} does not "
            "know; use search='exact'."
        )
    X, codes, gallery, gallery_codes = _check_data(X, labels, gallery, gallery_labels)
    is_self = gallery is None
    kept = count_relevant(codes, gallery_codes, is_self) > 0
    _warn(kept, gallery_codes, is_self)
    rng = check_random_state(random_state)
    draws: list = [None]
    if n_classes is not None:
        draws = _deal(codes[kept], n_classes, n_repeats, rng)
    totals = {name: np.zeros(len(X)) for name in names}
    counts, recalls = np.zeros(len(X)), []
    for drawn in draws:
        # Who has nothing to find is still there to be found.
        queries, items = (
            slice(None) if drawn is None else np.isin(of, drawn)
            for of in (codes, gallery_codes)
        )
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
    counts[~kept | (counts == 0)] = np.nan
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
        blocks = rate_in_blocks(*arguments, metric=metric, depth=depth, rate=rate)
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


def _deal(codes, n_classes, n_repeats, rng):
    """Deal out the classes that have something to find into equal galleries."""
    classes = np.unique(codes)
    check_scalar(n_repeats, "n_repeats", Integral, min_val=1)
    check_scalar(n_classes, "n_classes", Integral, min_val=2)
    if n_classes > len(classes):
        raise ValueError(
            f"n_classes must be at most {len(classes)}, the number of classes with "
            f"something to find, got {n_classes}."
        )
    for _ in range(n_repeats):
        order = rng.permutation(classes)
        for start in range(0, len(classes) - n_classes + 1, n_classes):
            yield order[start : start + n_classes]


def _check_data(X, labels, gallery, gallery_labels):
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    check_consistent_length(X, labels)
    if (gallery is None) != (gallery_labels is None):
        given = "gallery" if gallery_labels is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together, got only {given}.")
    if gallery is None:
        _, codes = encode_labels(labels, name="labels")
        return X, codes, None, codes
    gallery = check_array(gallery, dtype=[np.float64, np.float32], input_name="gallery")
    check_consistent_length(gallery, gallery_labels)
    if gallery.shape[1] != X.shape[1]:
        raise ValueError(
            f"gallery has {gallery.shape[1]} features and X has {X.shape[1]}; they "
            "must have the same."
        )
    codes = encode_label_sets(
        labels, gallery_labels, names=("labels", "gallery_labels")
    )
    return X, codes[0], gallery, codes[1]


def _warn(kept, gallery_codes, is_self):
    n_left_out = int((~kept).sum())
    where = "among the other samples" if is_self else "in the gallery"
    if n_left_out == len(kept):
        raise ValueError(
            f"None of the {len(kept)} queries has a sample of its class {where}, so "
            "there is nothing to find: retrieval needs classes with 2 or more samples."
        )
    messages = []
    if n_left_out:
        messages.append(
            f"{n_left_out} of {len(kept)} queries are left out of the score: there is "
            f"no sample of their class {where}."
        )
    if (gallery_codes == gallery_codes[0]).all():
        messages.append(
            "All items to search among are of one class: nothing can be missed, and "
            "the scores say nothing."
        )
    for message in messages:
        warnings.warn(message, UserWarning, stacklevel=4)
