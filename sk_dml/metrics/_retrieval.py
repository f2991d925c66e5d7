"""Retrieval metrics, all from one search."""

import re
import warnings
from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from sk_dml.metrics import _ranking
from sk_dml.neighbors import similarity_blocks
from sk_dml.utils import encode_label_sets, encode_labels

RANK_METRICS = {
    "precision_at_1": _ranking.precision_at_1,
    "r_precision": _ranking.r_precision,
    "map_at_r": _ranking.map_at_r,
}
RECALL = re.compile(r"recall_at_([1-9][0-9]*)")


def check_metric_names(names):
    """Check names of metrics.

    Parameters
    ----------
    names : sequence of str

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
        if name not in RANK_METRICS and not RECALL.fullmatch(str(name))
    ]
    if unknown or not names:
        raise ValueError(
            f"metrics must name one or more of {[*RANK_METRICS, 'recall_at_<k>']}, got "
            f"{list(names)}."
        )
    return names


def retrieval_scores(
    X,
    labels,
    *,
    metrics=("precision_at_1", "map_at_r"),
    metric="euclidean",
    gallery=None,
    gallery_labels=None,
):
    """Compute several retrieval metrics from one search.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries, of any sortable kind.
    metrics : sequence of str, default=("precision_at_1", "map_at_r")
        Any of "precision_at_1", "r_precision", "map_at_r" and "recall_at_<k>", such as
        "recall_at_10".
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.

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
        says how many.

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
    names = check_metric_names(metrics)
    X, codes, gallery, gallery_codes = _check_data(X, labels, gallery, gallery_labels)
    largest = len(gallery) if gallery is not None else len(X) - 1
    cutoffs = {n: int(m[1]) for n in names if (m := RECALL.fullmatch(n))}
    for name, k in cutoffs.items():
        if k > largest:
            raise ValueError(
                f"{name} needs at least k={k} items to search among, got {largest}."
            )
    is_self = gallery is None
    class_sizes = np.bincount(gallery_codes, minlength=codes.max() + 1)
    n_relevant = class_sizes[codes] - is_self
    kept = n_relevant > 0
    _warn_left_out(kept, is_self)

    totals = dict.fromkeys(names, 0.0)
    depth = max(n_relevant.max(), *cutoffs.values(), 1)
    copies = 4 + int(12 * depth / largest)
    for rows, similarities in similarity_blocks(
        X, gallery, metric=metric, copies=copies
    ):
        use = kept[rows]
        if not use.any():
            continue
        relevant = gallery_codes == codes[rows][use, None]
        if is_self:
            index = np.arange(rows.start, rows.stop)[use]
            relevant[np.arange(len(index)), index] = False
        depth = max(n_relevant[rows][use].max(), 1, *cutoffs.values())
        ranking = _ranking.rank(similarities[use], relevant, depth)
        for name in names:
            if name in cutoffs:
                values = _ranking.recall_at_k(ranking, cutoffs[name])
            else:
                values = RANK_METRICS[name](ranking)
            totals[name] += values.sum()
    return {name: float(total / kept.sum()) for name, total in totals.items()}


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


def _warn_left_out(kept, is_self):
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
            stacklevel=3,
        )


def precision_at_1_score(
    X, labels, *, metric="euclidean", gallery=None, gallery_labels=None
):
    """Share of queries whose nearest neighbour is of their class.

    Also known as recall@1 in the field's papers.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import precision_at_1_score
    >>> precision_at_1_score([[0.0], [0.1], [5.0], [5.3]], ["a", "a", "b", "b"])
    1.0
    """
    return _one("precision_at_1", X, labels, metric, gallery, gallery_labels)


def recall_at_k_score(
    X, labels, *, k=1, metric="euclidean", gallery=None, gallery_labels=None
):
    """Share of queries with a sample of their class among the k nearest neighbours.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries.
    k : int, default=1
        Number of neighbours, at least 1 and at most the size of the gallery.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import recall_at_k_score
    >>> X, labels = [[0.0], [2.0], [1.9], [4.5]], ["a", "a", "b", "b"]
    >>> recall_at_k_score(X, labels, k=1), recall_at_k_score(X, labels, k=2)
    (0.0, 0.75)
    """
    return _one(recall_name(k), X, labels, metric, gallery, gallery_labels)


def r_precision_score(
    X, labels, *, metric="euclidean", gallery=None, gallery_labels=None
):
    """Share of the R nearest neighbours that are of the query's class, averaged.

    R is the number of items of the query's class: a perfect embedding scores 1.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    map_at_r_score : Also asks that the right ones come first.
    retrieval_scores : Several metrics from one search.

    Examples
    --------
    >>> from sk_dml.metrics import r_precision_score
    >>> X, labels = [[0.0], [2.0], [1.9], [1.8], [9.0]], ["a", "a", "a", "b", "b"]
    >>> r_precision_score(X, labels)
    0.3
    """
    return _one("r_precision", X, labels, metric, gallery, gallery_labels)


def map_at_r_score(X, labels, *, metric="euclidean", gallery=None, gallery_labels=None):
    """Mean average precision at R, the Reality Check's measure.

    For a query with R items of its class, the mean over the ranks i up to R of the
    precision among the first i neighbours, counted where the i-th is of the class. It
    rewards an embedding for bringing all of a class to the front, in order.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the queries.
    labels : array-like of shape (n_samples,)
        Classes of the queries.
    metric : {"euclidean", "cosine"}, default="euclidean"
        What orders the neighbours.
    gallery : array-like of shape (n_gallery, n_features) or None, default=None
        Embeddings to search among. None searches each sample of X among all others.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery.

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    r_precision_score : Does not care about the order of the first R.
    retrieval_scores : Several metrics from one search.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> from sk_dml.metrics import map_at_r_score
    >>> map_at_r_score([[0.0], [1.0], [1.1], [1.9]], ["a", "a", "b", "b"])
    0.5
    """
    return _one("map_at_r", X, labels, metric, gallery, gallery_labels)


def recall_name(k):
    """Name recall@k as :func:`retrieval_scores` does.

    Parameters
    ----------
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
    return f"recall_at_{k}"


def _one(name, X, labels, metric, gallery, gallery_labels):
    scores = retrieval_scores(
        X,
        labels,
        metrics=(name,),
        metric=metric,
        gallery=gallery,
        gallery_labels=gallery_labels,
    )
    return scores[name]
