"""What the displays compute from: embeddings, their classes, their neighbours."""

import warnings

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from sk_dml.utils import embed, encode_label_sets, encode_labels


def embed_labelled(estimator, X, y):
    """Embed X, after a look at y: a fault there shows before the work.

    Parameters
    ----------
    estimator : object
        As for :func:`sk_dml.utils.embed`.
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,)

    Returns
    -------
    array-like of shape (n_samples, n_components)
    """
    encode_labels(y, name="y")
    return embed(estimator, X)


def check_embeddings(X, labels, *, min_features=1):
    """Validate embeddings; number their classes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,)
    min_features : int, default=1

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,), int64
    """
    X = check_array(
        X,
        dtype=np.float64,
        input_name="X",
        ensure_min_samples=2,
        ensure_min_features=min_features,
    )
    check_consistent_length(X, labels)
    return X, *encode_labels(labels, name="labels")


def check_search(X, labels, gallery, gallery_labels):
    """Validate queries and what they are searched among.

    Parameters
    ----------
    X, labels : array-like
        The queries.
    gallery, gallery_labels : array-like or None
        None for both searches the queries among each other.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    codes : ndarray of shape (n_samples,), int64
    gallery : ndarray of shape (n_gallery, n_features), float64
        X itself without a gallery.
    gallery_codes : ndarray of shape (n_gallery,), int64
    n_relevant : ndarray of shape (n_samples,), int64
        How many of the gallery are of a query's class, itself not counted.
    """
    if (gallery is None) != (gallery_labels is None):
        given = "gallery" if gallery_labels is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together, got only {given}.")
    if gallery is None:
        X, _, codes = check_embeddings(X, labels)
        return X, codes, X, codes, np.bincount(codes)[codes] - 1
    X = check_array(X, dtype=np.float64, input_name="X")
    gallery = check_array(gallery, dtype=np.float64, input_name="gallery")
    check_consistent_length(X, labels)
    check_consistent_length(gallery, gallery_labels)
    if gallery.shape[1] != X.shape[1]:
        raise ValueError(
            f"gallery has {gallery.shape[1]} features and X has {X.shape[1]}; they "
            "must have the same."
        )
    names = ("labels", "gallery_labels")
    codes, gallery_codes = encode_label_sets(labels, gallery_labels, names=names)
    sizes = np.bincount(gallery_codes, minlength=codes.max() + 1)
    return X, codes, gallery, gallery_codes, sizes[codes]


def draw_sample(n_samples, size, random_state):
    """Draw some of the samples, in their order.

    Parameters
    ----------
    n_samples : int
    size : int or None
        How many at most; None takes all.
    random_state : RandomState instance

    Returns
    -------
    ndarray of shape (min(n_samples, size),), int64
    """
    if size is None or size >= n_samples:
        return np.arange(n_samples)
    return np.sort(random_state.choice(n_samples, size, replace=False))


def warn_left_out(n_left_out, n_samples, reason):
    """Warn of samples that a picture leaves out, if there are any.

    Parameters
    ----------
    n_left_out, n_samples : int
    reason : str
    """
    if n_left_out:
        warnings.warn(
            f"{n_left_out} of {n_samples} samples are left out of the picture: "
            f"{reason}.",
            UserWarning,
            stacklevel=4,
        )


def findable(n_relevant):
    """Find the queries that have something to find, and warn of the others.

    Parameters
    ----------
    n_relevant : ndarray of shape (n_samples,), int64

    Returns
    -------
    ndarray of shape (<= n_samples,), int64
    """
    queries = np.flatnonzero(n_relevant)
    if not len(queries):
        raise ValueError(
            f"None of the {len(n_relevant)} queries has another sample of its class to "
            "find: retrieval needs classes with 2 or more samples."
        )
    n_left_out = len(n_relevant) - len(queries)
    warn_left_out(n_left_out, len(n_relevant), "nothing else is of their class")
    return queries
