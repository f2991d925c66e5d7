"""Clustering metrics: agreement of k-means clusters with the classes."""

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix
from sklearn.utils import check_random_state

from sk_dml._utils._warn import warn
from sk_dml.metrics._validation import check_embeddings, check_names
from sk_dml.neighbors._distances import unit_rows
from sk_dml.neighbors._validation import METRICS, check_choice, check_positive

# Above so many samples, k-means takes mini-batches.
MINI_BATCH_ABOVE = 50_000
# Features of unit rows that differ by less are equal, so that equal directions are.
RESOLUTION = 2.0**-44


def _pairwise_f1(codes, clusters):
    (_, wrong), (missed, right) = pair_confusion_matrix(codes, clusters).tolist()
    return 2 * right / (2 * right + wrong + missed)


CLUSTER_METRICS = {
    "nmi": normalized_mutual_info_score,
    "ami": adjusted_mutual_info_score,
    "pairwise_f1": _pairwise_f1,
}


def clustering_scores(
    X,
    labels,
    *,
    metrics=("nmi", "ami", "pairwise_f1"),
    metric="euclidean",
    n_init=3,
    random_state=None,
):
    """Cluster embeddings by k-means and compare the clusters with the classes.

    There are as many clusters as classes. Up to 50,000 samples,
    :class:`sklearn.cluster.KMeans` finds them; above,
    :class:`sklearn.cluster.MiniBatchKMeans`, which is quicker and slightly worse. With
    thousands of classes, either takes minutes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes, of any sortable kind: two or more, not all of one sample.
    metrics : sequence of str, default=("nmi", "ami", "pairwise_f1")
        Any of "nmi", the mutual information divided by the mean of the two entropies;
        "ami", the same adjusted for chance [1]_; and "pairwise_f1", the harmonic mean
        of precision and recall over pairs of samples, retrieved if they are in the same
        cluster and relevant if they are in the same class [2]_.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" clusters the rows scaled to length one.
    n_init : int, default=3
        Number of starts of k-means, at least 1; the clustering with the least squared
        distances is taken. With mini-batches, the best of so many starting points.
    random_state : int, RandomState instance or None, default=None
        Draws the starting points and the batches.

    Returns
    -------
    dict of str to float
        The scores by name. "nmi" and "pairwise_f1" are in [0, 1], where "nmi" is far
        above 0 for clusters at random if classes are small; "ami" is at most 1 and
        about 0 for clusters at random.

    Raises
    ------
    ValueError
        If shapes, values or parameters do not fit, there is only one class, or all
        classes have one sample.
    TypeError
        If a parameter is of another type, X is sparse, or labels cannot be compared.

    Warns
    -----
    UserWarning
        If X has fewer distinct rows than there are classes; each is then a cluster.

    Notes
    -----
    Scores depend on where k-means starts. Over 20 seeds, the NMI of scikit-learn's
    digits, of raw pixels, is 0.69 to 0.77 with ``n_init=1``, 0.72 to 0.78 with 3 and
    0.74 to 0.75 with 10: compare embeddings with more starts, or over several seeds.

    References
    ----------
    .. [1] N. X. Vinh, J. Epps, J. Bailey. "Information Theoretic Measures for
           Clusterings Comparison: Variants, Properties, Normalization and Correction
           for Chance". JMLR 2010.
    .. [2] H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via
           Lifted Structured Feature Embedding". CVPR 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.metrics import clustering_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = clustering_scores(X, y, random_state=0)
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'nmi': 0.74, 'ami': 0.74, 'pairwise_f1': 0.81}
    """
    names = check_names(metrics, list(CLUSTER_METRICS))
    check_choice(metric, METRICS, "metric")
    check_positive(n_init, "n_init")
    check_random_state(random_state)
    X, classes, codes = check_embeddings(X, labels)
    if len(classes) < 2 or len(classes) == len(X):
        raise ValueError(
            f"labels hold {len(classes)} classes for {len(X)} samples; clustering "
            "metrics need 2 or more classes, one of them with 2 or more samples."
        )
    if metric == "cosine":
        X = np.rint(unit_rows(X)[0] / RESOLUTION) * RESOLUTION
    clusters = _cluster(X, len(classes), n_init, random_state)
    return {name: float(CLUSTER_METRICS[name](codes, clusters)) for name in names}


def _cluster(X, n_clusters, n_init, random_state):
    # By a power of two, so that nothing is rounded and no square overflows.
    largest = float(np.abs(X).max())
    X = X / (2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0) + 0.0  # no -0
    n_distinct = len({row.tobytes() for row in X})
    if n_distinct < n_clusters:
        warn(
            f"X has {n_distinct} distinct rows and labels have {n_clusters} classes; "
            f"there are {n_distinct} clusters, one for each distinct row."
        )
    if n_distinct <= n_clusters:
        return np.unique(X, axis=0, return_inverse=True)[1].ravel()
    kind = KMeans if len(X) <= MINI_BATCH_ABOVE else MiniBatchKMeans
    batches = {} if kind is KMeans else {"batch_size": max(1024, 4 * n_clusters)}
    kmeans = kind(n_clusters, n_init=n_init, random_state=random_state, **batches)
    return kmeans.fit_predict(X)


def nmi_score(X, labels, *, metric="euclidean", n_init=3, random_state=None):
    """Compute the normalized mutual information of classes and k-means clusters.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes: two or more, not all of one sample.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" clusters the rows scaled to length one.
    n_init : int, default=3
        Number of starts of k-means; the best clustering is taken.
    random_state : int, RandomState instance or None, default=None
        Draws the starting points of k-means.

    Returns
    -------
    float
        The score, in [0, 1]; far above 0 for clusters at random if classes are small.

    See Also
    --------
    clustering_scores : Several metrics from one k-means, and how it clusters.

    Examples
    --------
    >>> from sk_dml.metrics import nmi_score
    >>> X = [[0.0], [0.1], [5.0], [5.3], [9.0]]
    >>> nmi_score(X, ["a", "a", "b", "b", "c"], random_state=0)
    1.0
    """
    return _one("nmi", X, labels, metric, n_init, random_state)


def ami_score(X, labels, *, metric="euclidean", n_init=3, random_state=None):
    """Compute the mutual information of classes and clusters, adjusted for chance.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes: two or more, not all of one sample.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" clusters the rows scaled to length one.
    n_init : int, default=3
        Number of starts of k-means; the best clustering is taken.
    random_state : int, RandomState instance or None, default=None
        Draws the starting points of k-means.

    Returns
    -------
    float
        The score, at most 1, and about 0 for clusters at random.

    See Also
    --------
    clustering_scores : Several metrics from one k-means, and how it clusters.

    Examples
    --------
    >>> from sk_dml.metrics import ami_score
    >>> X = [[0.0], [0.1], [5.0], [5.3], [9.0]]
    >>> ami_score(X, ["a", "a", "b", "b", "c"], random_state=0)
    1.0
    """
    return _one("ami", X, labels, metric, n_init, random_state)


def pairwise_f1_score(X, labels, *, metric="euclidean", n_init=3, random_state=None):
    """Compute the harmonic mean of precision and recall over pairs in one cluster.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes: two or more, not all of one sample.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine" clusters the rows scaled to length one.
    n_init : int, default=3
        Number of starts of k-means; the best clustering is taken.
    random_state : int, RandomState instance or None, default=None
        Draws the starting points of k-means.

    Returns
    -------
    float
        The score, in [0, 1].

    See Also
    --------
    clustering_scores : Several metrics from one k-means, and how it clusters.

    Examples
    --------
    >>> from sk_dml.metrics import pairwise_f1_score
    >>> X = [[0.0], [0.1], [0.2], [5.3]]
    >>> pairwise_f1_score(X, ["a", "a", "b", "b"], random_state=0)
    0.4
    """
    return _one("pairwise_f1", X, labels, metric, n_init, random_state)


def _one(name, X, labels, metric, n_init, random_state):
    options = {"metric": metric, "n_init": n_init, "random_state": random_state}
    return clustering_scores(X, labels, metrics=name, **options)[name]
