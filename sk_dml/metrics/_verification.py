"""Verification metrics: whether two samples are of one class, by distance."""

import numpy as np
from sklearn.metrics import auc, roc_curve
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement

from sk_dml._utils._labels import encode_labels
from sk_dml._utils._warn import warn
from sk_dml.metrics._validation import check_embeddings, check_fraction
from sk_dml.neighbors._distances import Rows, pair_distances
from sk_dml.neighbors._validation import METRICS, check_choice, check_positive


def verification_scores(
    X,
    labels,
    *,
    metric="euclidean",
    far=(1e-2, 1e-3),
    n_pairs=100_000,
    random_state=None,
):
    """Score how well distances tell pairs of one class from pairs of two.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes, of any sortable kind.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance of a pair.
    far : float or sequence of float, default=(1e-2, 1e-3)
        False accept rates at which to report the true accept rate, each in (0, 1).
    n_pairs : int or None, default=100_000
        Number of pairs of either kind, of the same class and of different ones, to draw
        at random without replacement; all of a kind where there are no more. None
        takes all pairs, n (n - 1) / 2 of them.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    dict of str to float
        Each in [0, 1]. "roc_auc" is the area under the curve of the true accept rate
        over the false accept rate, "equal_error_rate" where false accepts and false
        rejects are equally frequent, and ``f"tar_at_far_{rate:g}"`` for every rate of
        ``far``, such as "tar_at_far_0.01" and "tar_at_far_1e-05", the share of
        same-class pairs accepted, when that share of the different-class pairs is.

    Raises
    ------
    ValueError
        If shapes, values or parameters do not fit, or there are no pairs of either
        kind.
    TypeError
        If a parameter is of another type, X is sparse, or labels cannot be compared.

    Warns
    -----
    UserWarning
        If a false accept rate is below one in the number of different-class pairs; its
        true accept rate is then that without any false accept among them.

    See Also
    --------
    verification_threshold : The distance to decide by.

    Notes
    -----
    This is how faces are verified [2]_. All pairs of a kind are equally likely to be
    drawn, so that a class counts by its number of pairs, not of samples. The curve [1]_
    is straight across pairs of equal distance: an embedding that collapsed to one point
    scores an area and an equal error rate of 0.5. With the cosine, a row of zeros is at
    distance 1 from every row.

    References
    ----------
    .. [1] A. Martin, G. Doddington, T. Kamm, M. Ordowski, M. Przybocki. "The DET Curve
           in Assessment of Detection Task Performance". Eurospeech 1997.
    .. [2] G. B. Huang, M. Ramesh, T. Berg, E. Learned-Miller. "Labeled Faces in the
           Wild: A Database for Studying Face Recognition in Unconstrained
           Environments". Technical Report 07-49, University of Massachusetts, Amherst,
           2007.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.metrics import verification_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = verification_scores(X, y, far=0.01)
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'roc_auc': 0.94, 'equal_error_rate': 0.14, 'tar_at_far_0.01': 0.33}
    """
    rates = _check_rates((far,) if np.ndim(far) == 0 else far)
    curve = _curve(X, labels, metric, n_pairs, random_state)
    false_accepts, true_accepts, n_different = curve[1:]
    scores = {"roc_auc": float(auc(false_accepts, true_accepts))}
    # The first point with at least as many false accepts as false rejects.
    excess = false_accepts - (1 - true_accepts)
    i = int(np.argmax(excess >= 0))
    part = excess[i - 1] / (excess[i - 1] - excess[i])
    step = false_accepts[i] - false_accepts[i - 1]
    scores["equal_error_rate"] = float(false_accepts[i - 1] + part * step)
    coarse = [rate for rate in rates.values() if not _resolves(rate, n_different)]
    if coarse:
        warn(
            f"{_too_few(coarse, n_different)} The true accept rate there is the one "
            "without any false accept among these pairs."
        )
    for name, rate in rates.items():
        at = 0.0 if rate in coarse else rate
        scores[name] = _interpolate(at, false_accepts, true_accepts, n_different)
    return scores


def verification_threshold(
    X, labels, *, metric="euclidean", far=None, n_pairs=100_000, random_state=None
):
    """Find the distance up to which two samples count as of one class.

    Calibrate it on classes that are neither trained on nor tested. It compares with the
    distances of :meth:`sk_dml.neighbors.RetrievalIndex.kneighbors` of the same metric.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.
    labels : array-like of shape (n_samples,)
        Their classes, of any sortable kind.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance of a pair.
    far : float or None, default=None
        The largest share of different-class pairs to accept, in (0, 1). None takes the
        equal error rate: false accepts and false rejects as equally frequent as can be.
    n_pairs : int or None, default=100_000
        How many pairs of either kind to draw, as in :func:`verification_scores`.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    float
        The threshold, at least 0: accept pairs with a distance of at most this. It lies
        midway between the last distance accepted and the next one, so that rounding
        changes no decision; at the last one where there is no next.

    Raises
    ------
    ValueError
        If shapes, values or parameters do not fit, there are no pairs of either kind,
        or no distance has the wanted false accept rate: it is below one in the number
        of different-class pairs, or more of them than that are at the smallest
        distance.
    TypeError
        If a parameter is of another type, X is sparse, or labels cannot be compared.

    See Also
    --------
    verification_scores : What can be expected of such a decision.

    References
    ----------
    .. [1] A. Martin, G. Doddington, T. Kamm, M. Ordowski, M. Przybocki. "The DET Curve
           in Assessment of Detection Task Performance". Eurospeech 1997.

    Examples
    --------
    >>> from sk_dml.metrics import verification_threshold
    >>> X, labels = [[0.0], [1.0], [4.0], [6.0]], ["a", "a", "b", "b"]
    >>> verification_threshold(X, labels)
    2.5
    """
    if far is not None:
        check_fraction(far, "far")
    rate = far
    curve = _curve(X, labels, metric, n_pairs, random_state)
    distances, false_accepts, true_accepts, n_different = curve
    if rate is None:
        # Not the first point, at which nothing is accepted.
        difference = np.abs(false_accepts - (1 - true_accepts))[1:]
        last = 1 + int(np.argmin(difference))
    elif _resolves(rate, n_different):
        allowed = false_accepts * n_different <= rate * n_different + 1e-6
        last = int(np.flatnonzero(allowed)[-1])
    else:
        raise ValueError(_too_few([rate], n_different))
    if last == len(distances) - 1:
        return float(distances[last])
    nearest = distances[last] if last > 0 else 0.0
    beyond = distances[last + 1]
    if beyond == 0:
        raise ValueError(
            f"No distance has a false accept rate of at most far={rate}: "
            f"{round(false_accepts[1] * n_different)} of {n_different} different-class "
            "pairs are at distance 0."
        )
    return float((nearest + beyond) / 2)


def _check_rates(rates):
    """Return false accept rates by the names of their scores."""
    named: dict = {}
    for rate in rates:
        check_fraction(rate, "far")
        name = f"tar_at_far_{rate:g}"
        if name in named:
            raise ValueError(f"far must name each rate once, got {rate:g} twice.")
        named[name] = float(rate)
    return named


def _resolves(rate, n_different):
    return rate * n_different >= 1 - 1e-6


def _too_few(rates, n_different):
    needed = int(np.ceil(1 / min(rates) - 1e-6))
    return (
        f"far={', '.join(map(str, rates))} is below 1 in {n_different}, the number of "
        f"different-class pairs; it needs {needed} or more: more samples, or a larger "
        "n_pairs."
    )


def _interpolate(rate, false_accepts, true_accepts, n_different):
    """Return the true accept rate of the curve, at its top where it is vertical."""
    count = rate * n_different
    counts = np.round(false_accepts * n_different)
    i = int(np.searchsorted(counts, count + 1e-6, side="right")) - 1
    rest = count - counts[i]
    if rest <= 0:
        return float(true_accepts[i])
    part = rest / (counts[i + 1] - counts[i])
    return float(true_accepts[i] + part * (true_accepts[i + 1] - true_accepts[i]))


def _curve(X, labels, metric, n_pairs, random_state):
    """Return distances, false and true accept rates, and the number of different pairs.

    The distances (n_distances + 1,) are the distinct ones, ascending, after -inf, which
    accepts nothing; the rates are those of each as the threshold.
    """
    check_choice(metric, METRICS, "metric")
    X, _, codes = check_embeddings(X, labels)
    first, second, is_same = sample_pairs(
        codes, n_pairs=n_pairs, random_state=random_state
    )
    n_same = int(is_same.sum())
    n_different = len(is_same) - n_same
    if not n_same or not n_different:
        kind = "different classes" if n_same else "one class"
        raise ValueError(
            f"labels give no pair of {kind} ({len(codes)} samples in {codes.max() + 1} "
            "classes): verification needs 2 or more classes, one of them with 2 or "
            "more samples."
        )
    rows = Rows(X, metric)
    distances = pair_distances(rows, first, rows, second)
    false_accepts, true_accepts, scores = roc_curve(
        is_same, -distances, drop_intermediate=False
    )
    return -scores, false_accepts, true_accepts, n_different


def sample_pairs(labels, *, n_pairs=100_000, random_state=None):
    """Draw pairs of samples, of the same class and of different ones.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        The classes of the samples, of any sortable kind.
    n_pairs : int or None, default=100_000
        How many pairs of either kind to draw without replacement, each as likely as the
        others; all of a kind where there are no more. None takes all.
    random_state : int, RandomState instance or None, default=None
        Draws the pairs.

    Returns
    -------
    first, second : ndarray of shape (n_drawn,), dtype int64
        The indices of the two samples of every pair, which differ. No pair comes twice,
        in neither order.
    is_same : ndarray of shape (n_drawn,), dtype bool
        Whether the two are of the same class; these come first.

    Raises
    ------
    ValueError
        If n_pairs is below 1, or a label is missing.
    TypeError
        If n_pairs is not an integer, or labels cannot be compared.

    Examples
    --------
    >>> from sk_dml.metrics import sample_pairs
    >>> first, second, is_same = sample_pairs([0, 1, 0, 1], n_pairs=10)
    >>> first, second
    (array([2, 3, 1, 1, 3, 3]), array([0, 1, 0, 2, 0, 2]))
    >>> is_same
    array([ True,  True, False, False, False, False])
    """
    if n_pairs is not None:
        check_positive(n_pairs, "n_pairs")
    _, codes = encode_labels(labels, name="labels")
    rng = check_random_state(random_state)
    # With the samples sorted by class, each pairs with those before it: in its class
    # from the start of the class on, in other classes up to there.
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    indices = np.arange(len(codes))
    same = _draw(indices - starts, n_pairs, rng)
    different = _draw(starts, n_pairs, rng)
    same[1] += starts[same[0]]
    pairs = order[np.concatenate([same, different], axis=1)]
    is_same = np.arange(pairs.shape[1]) < same.shape[1]
    return pairs[0], pairs[1], is_same


def _draw(n_partners, n_pairs, rng):
    """Return samples and the number of a partner of each, (2, n_drawn)."""
    until = np.cumsum(n_partners)
    total = int(n_partners.sum())
    if n_pairs is None or total <= n_pairs:
        drawn = np.arange(total)
    else:
        drawn = sample_without_replacement(total, n_pairs, random_state=rng)
    samples = np.searchsorted(until, drawn, side="right")
    return np.stack([samples, drawn - (until - n_partners)[samples]])
