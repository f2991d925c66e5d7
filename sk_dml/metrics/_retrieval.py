"""Retrieval metrics, all from one search."""

import re
import warnings
from numbers import Integral

import numpy as np
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    check_scalar,
)

from sk_dml.metrics import _ranks
from sk_dml.metrics._counting import count_relevant, ranks_in_blocks
from sk_dml.utils import encode_label_sets, encode_labels

# By name: the function, and whether it looks beyond the R nearest neighbours.
RANK_METRICS = {
    "r_precision": (_ranks.r_precision, False),
    "map_at_r": (_ranks.map_at_r, False),
    "mean_average_precision": (_ranks.average_precision, True),
    "mean_reciprocal_rank": (_ranks.reciprocal_rank, True),
}
AT_K = re.compile(r"(precision|recall)_at_([1-9][0-9]*)")
AT_K_METRICS = {"precision": _ranks.precision_at_k, "recall": _ranks.recall_at_k}
AVERAGES = ("micro", "macro")


def check_metric_names(names):
    """Check names of metrics.

    Parameters
    ----------
    names : str or sequence of str

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If there is none, or one is unknown.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    unknown = [
        name
        for name in names
        if name not in RANK_METRICS and not AT_K.fullmatch(str(name))
    ]
    if unknown or not names:
        raise ValueError(
            "metrics must name one or more of "
            f"{[*RANK_METRICS, 'precision_at_<k>', 'recall_at_<k>']}, got "
            f"{list(names)}."
        )
    return names


def at_k(kind, k):
    """Name precision@k or recall@k as :func:`retrieval_scores` does.

    Parameters
    ----------
    kind : {"precision", "recall"}
    k : int

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If k is not an integer of at least 1.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k!r}.")
    return f"{kind}_at_{k}"


def retrieval_scores(
    X,
    labels,
    *,
    metrics=("precision_at_1", "map_at_r"),
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    average="micro",
    n_classes=None,
    n_repeats=5,
    random_state=None,
):
    """Compute several retrieval metrics from one search.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries, of any sortable kind.
    metrics : sequence of str, default=("precision_at_1", "map_at_r")
        Any of "precision_at_1", "r_precision", "map_at_r", "mean_average_precision"
        (over the whole ranking), "mean_reciprocal_rank", "precision_at_<k>" and
        "recall_at_<k>", such as "recall_at_10".
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    average : {"micro", "macro"}, default="micro"
        The mean over the queries, or over the classes of the means of their queries.
    n_classes : int or None, default=None
        Searches galleries of so many classes, at least 2, instead of one of all. The
        more classes there are to choose from, the lower the scores: those of data with
        different numbers of classes compare only for an equal ``n_classes``.
    n_repeats : int, default=5
        How often the classes are dealt out into galleries of ``n_classes``, at least 1.
        Classes that are left over from a deal sit it out.
    random_state : int, RandomState instance or None, default=None
        Deals out the classes.

    Returns
    -------
    dict of str to float
        The scores by name, each in [0, 1].

    Raises
    ------
    ValueError
        If shapes or values do not fit, or no query has a relevant item.

    Warns
    -----
    UserWarning
        If queries are left out, because the gallery holds nothing of their class; it
        says how many. If all items are of one class, so that nothing can be missed.

    See Also
    --------
    retrieval_values : The values of every query.

    Notes
    -----
    A gallery item is relevant to a query if it is of the same class; R is the number of
    items relevant to a query. Neighbours at equal distance count with the mean over all
    their orders, so that scores do not depend on the order of the rows.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.metrics import retrieval_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = retrieval_scores(X, y, metrics=("precision_at_1", "recall_at_5"))
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'precision_at_1': 0.96, 'recall_at_5': 0.99}
    """
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {AVERAGES}, got {average!r}.")
    values, codes = _values(
        X,
        labels,
        metrics=metrics,
        metric=metric,
        gallery=gallery,
        gallery_labels=gallery_labels,
        n_classes=n_classes,
        n_repeats=n_repeats,
        random_state=random_state,
        stacklevel=4,
    )
    kept = ~np.isnan(next(iter(values.values())))
    if average == "micro":
        return {name: float(found[kept].mean()) for name, found in values.items()}
    sizes = np.bincount(codes[kept])
    return {
        name: float(
            (np.bincount(codes[kept], found[kept])[sizes > 0] / sizes[sizes > 0]).mean()
        )
        for name, found in values.items()
    }


def retrieval_values(
    X,
    labels,
    *,
    metrics=("precision_at_1", "map_at_r"),
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
    n_classes=None,
    n_repeats=5,
    random_state=None,
):
    """Compute retrieval metrics for every query, from one search.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries, of any sortable kind.
    metrics : sequence of str, default=("precision_at_1", "map_at_r")
        As for :func:`retrieval_scores`.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.
    n_classes : int or None, default=None
        Searches galleries of so many classes; a query has the mean of those that it
        was searched in.
    n_repeats : int, default=5
        How often the classes are dealt out into galleries, at least 1.
    random_state : int, RandomState instance or None, default=None
        Deals out the classes.

    Returns
    -------
    dict of str to ndarray of shape (n_samples,), float64
        The values by name, each in [0, 1]; NaN where a query is left out.

    Raises
    ------
    ValueError
        If shapes or values do not fit, or no query has a relevant item.

    Warns
    -----
    UserWarning
        As :func:`retrieval_scores` does.

    See Also
    --------
    class_bootstrap : An interval of their mean.
    retrieval_scores : The means.

    Examples
    --------
    >>> from sk_dml.metrics import retrieval_values
    >>> X, labels = [[0.0], [0.1], [5.0], [0.2], [9.0]], ["a", "a", "a", "b", "b"]
    >>> retrieval_values(X, labels, metrics=["precision_at_1"])["precision_at_1"]
    array([1. , 0.5, 0. , 0. , 0. ])
    """
    return _values(
        X,
        labels,
        metrics=metrics,
        metric=metric,
        gallery=gallery,
        gallery_labels=gallery_labels,
        n_classes=n_classes,
        n_repeats=n_repeats,
        random_state=random_state,
        stacklevel=4,
    )[0]


def _values(
    X, labels, *, metrics, metric, gallery, gallery_labels, n_classes, n_repeats,
    random_state, stacklevel,
):  # fmt: skip
    names = check_metric_names(metrics)
    X, codes, gallery, gallery_codes = _check_data(X, labels, gallery, gallery_labels)
    is_self = gallery is None
    kept = count_relevant(codes, gallery_codes, is_self) > 0
    _warn_left_out(kept, is_self, stacklevel)
    if len(np.unique(gallery_codes)) == 1:
        warnings.warn(
            "All items to search among are of one class: nothing can be missed, and "
            "the scores say nothing.",
            stacklevel=stacklevel,
        )
    draws: list = [None]
    if n_classes is not None:
        draws = _deal(
            codes[kept], n_classes, n_repeats, check_random_state(random_state)
        )
    totals = {name: np.zeros(len(X)) for name in names}
    counts = np.zeros(len(X))
    for drawn in draws:
        queries = kept if drawn is None else kept & np.isin(codes, drawn)
        items = slice(None) if drawn is None else np.isin(gallery_codes, drawn)
        if is_self:
            # Who has nothing to find is still there to be found.
            items = np.ones(len(X), dtype=bool) if drawn is None else items
            found = _search(X[items], codes[items], None, codes[items], names, metric)
            queries = items
        else:
            found = _search(
                X[queries], codes[queries], gallery[items], gallery_codes[items], names,
                metric,
            )  # fmt: skip
        for name in names:
            totals[name][queries] += found[name]
        counts[queries] += 1
    counts[~kept | (counts == 0)] = np.nan
    return {name: total / counts for name, total in totals.items()}, codes


def _search(X, codes, gallery, gallery_codes, names, metric):
    """Compute metrics of queries; 0 for those that have nothing to find."""
    largest = len(X) - 1 if gallery is None else len(gallery)
    cutoffs = {name: AT_K.fullmatch(name) for name in names}
    depth = count_relevant(codes, gallery_codes, gallery is None)
    for name, match in cutoffs.items():
        if match and int(match[2]) > largest:
            raise ValueError(
                f"{name} needs at least k={match[2]} items to search among, got "
                f"{largest}."
            )
        if match:
            depth = np.maximum(depth, int(match[2]))
        elif RANK_METRICS[name][1]:
            depth = np.full(len(X), largest)
    values = {name: np.zeros(len(X)) for name in names}
    for queries, ranks in ranks_in_blocks(
        X, codes, gallery, gallery_codes, metric=metric, depth=np.maximum(depth, 1)
    ):
        for name, match in cutoffs.items():
            if match:
                function = AT_K_METRICS[match[1]]
                values[name][queries] = function(ranks, int(match[2]))
            else:
                values[name][queries] = RANK_METRICS[name][0](ranks)
    return values


def _deal(codes, n_classes, n_repeats, random_state):
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
        order = random_state.permutation(classes)
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


def _warn_left_out(kept, is_self, stacklevel):
    n_left_out = int((~kept).sum())
    where = "among the other samples" if is_self else "in the gallery"
    if n_left_out == len(kept):
        raise ValueError(
            f"None of the {len(kept)} queries has a sample of its class {where}, so "
            "there is nothing to find: retrieval needs classes with 2 or more samples."
        )
    if n_left_out:
        warnings.warn(
            f"{n_left_out} of {len(kept)} queries are left out of the score: there is "
            f"no sample of their class {where}.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
