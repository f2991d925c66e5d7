"""Confidence intervals of means over queries, by bootstrap over classes."""

import numpy as np
from sklearn.utils import check_array, check_random_state

from sk_dml._utils._labels import encode_labels
from sk_dml._utils._warn import warn
from sk_dml.metrics._validation import check_interval, check_length

# Least standard error of a resample, relative to that of the sample. A resample can
# miss every class that differs from the rest; its statistic would be infinite.
LEAST_ERROR = 0.2
# From fewer classes an interval is a guess.
FEW_CLASSES = 10
# Means of classes that differ by less are equal but for rounding.
EQUAL = 1e-9
# How many class draws to hold in memory at once.
DRAWS = 2**22


def class_bootstrap(
    values,
    labels,
    *,
    average="micro",
    confidence_level=0.95,
    n_resamples=2000,
    random_state=None,
):
    """Compute a confidence interval of a mean score by resampling whole classes.

    The queries of one class succeed and fail together, so that an interval from
    independent queries is far too narrow. Here whole classes are drawn with
    replacement: the interval says where the score of many more such classes may lie.

    Parameters
    ----------
    values : array-like of shape (n_queries,), float in [0, 1]
        The score of every query; NaN where it is left out.
    labels : array-like of shape (n_queries,)
        The classes of the queries, of any sortable kind, at least two.
    average : {"micro", "macro"}, default="micro"
        "micro" is the mean over the queries, "macro" the mean over the classes of their
        means.
    confidence_level : float, default=0.95
        How often such intervals are to hold the expected score, in (0, 1).
    n_resamples : int, default=2000
        Bootstrap samples, at least 1. The fewer, the more the bounds depend on
        ``random_state``.
    random_state : int, RandomState instance or None, default=None
        Draws the classes.

    Returns
    -------
    low, high : float
        The bounds, with 0 <= low <= high <= 1.

    Raises
    ------
    ValueError
        If a parameter or a value is out of its range, or there is one class only.
    TypeError
        If a parameter is of another type, or labels cannot be compared.

    Warns
    -----
    UserWarning
        If there are fewer than 10 classes, from which the interval is a rough guess: it
        may hold the expected score far less often than it says.

    Notes
    -----
    The interval is studentized (bootstrap-t [1]_): every resample's deviation is
    divided by its own standard error, linearized, but at least a fifth of that of the
    sample, and the quantiles are scaled by the standard error of the sample from the
    jackknife over the classes [2]_, which is the larger where classes are few and of
    unequal size. ``benchmarks/intervals.py`` measures how often it holds the expected
    score, from 20 classes on: about as often as it says, where percentile and BCa
    intervals do so less often and intervals of independent queries far less. It is
    cautious for scores near 0 or 1 of about 20 classes. With few classes it is wide.

    If the means of all classes are equal, resamples do not vary. Then all that is known
    is that other means are rare: no more frequent than at a share of the classes at
    which a sample would show none in ``(1 - confidence_level) / 2`` of all cases [3]_.
    The bounds are the expected scores if that share had 0, or 1.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani. "An Introduction to the Bootstrap". Chapman &
           Hall, 1993.
    .. [2] A. C. Cameron, D. L. Miller. "A Practitioner's Guide to Cluster-Robust
           Inference". Journal of Human Resources, 2015.
    .. [3] C. J. Clopper, E. S. Pearson. "The Use of Confidence or Fiducial Limits
           Illustrated in the Case of the Binomial". Biometrika, 1934.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml.metrics import class_bootstrap
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(np.arange(40), 10)
    >>> values = rng.binomial(1, rng.beta(8, 2, size=40)[labels])
    >>> low, high = class_bootstrap(values, labels, random_state=0)
    >>> print(f"{values.mean():.3f} in [{low:.3f}, {high:.3f}]")
    0.765 in [0.686, 0.827]
    """
    if confidence_level is None:
        raise TypeError("confidence_level must be a number in (0, 1), got None.")
    check_interval(average, confidence_level, n_resamples, random_state)
    values = check_array(
        values,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite="allow-nan",
        input_name="values",
    )
    if values.ndim != 1:
        raise ValueError(
            "values must be of shape (n_queries,), one score a query, got shape "
            f"{values.shape}."
        )
    outside = (values < 0) | (values > 1)
    if outside.any():
        raise ValueError(
            f"values must be in [0, 1], but {outside.sum()} of {len(values)} are not, "
            f"for example {values[outside][0]}."
        )
    _, codes = encode_labels(labels, name="labels")
    check_length(codes, "labels", values, "values")
    sums, sizes = class_sums(values, codes, average)
    check_number_of_classes(len(sizes))
    return interval(sums, sizes, confidence_level, n_resamples, random_state)


def class_sums(values, codes, average):
    """Return sums and numbers of the values of classes that have any, (n_classes,)."""
    kept = ~np.isnan(values)
    sizes = np.bincount(codes[kept])
    sums = np.bincount(codes[kept], values[kept])[sizes > 0]
    sizes = sizes[sizes > 0].astype(np.float64)
    # For the macro average the sum of a class is its mean, and counts once.
    return (sums, sizes) if average == "micro" else (sums / sizes, np.ones(len(sizes)))


def check_number_of_classes(n_classes):
    """Refuse one class; warn of few."""
    if n_classes < 2:
        raise ValueError(
            f"The scores are of {n_classes} class: a bootstrap over classes needs 2 or "
            "more, and is of use with about 20."
        )
    if n_classes < FEW_CLASSES:
        warn(
            f"An interval from {n_classes} classes is a rough guess and may be far too "
            "narrow; use about 20."
        )


def interval(sums, sizes, confidence_level, n_resamples, random_state):
    """Return the interval of ``class_bootstrap`` from the results of ``class_sums``."""
    score = sums.sum() / sizes.sum()
    tail = (1 - confidence_level) / 2
    if np.ptp(sums / sizes) < EQUAL:
        # Clopper and Pearson: other classes are rarer than this share of all.
        rest = 1 - tail ** (1 / len(sizes))
        return float(score * (1 - rest)), float(score + rest * (1 - score))
    residuals = sums - score * sizes
    # Without a class, the score shifts by so much.
    shifts = residuals / (sizes.sum() - sizes)
    jackknife = np.sqrt(
        (len(sizes) - 1) / len(sizes) * ((shifts - shifts.mean()) ** 2).sum()
    )
    t = _statistics(residuals, sizes, n_resamples, check_random_state(random_state))
    # Large deviations above the score bound it from below: the quantiles change places.
    below, above = np.quantile(t, [1 - tail, tail])
    low, high = np.clip(score - np.array([below, above]) * jackknife, 0, 1)
    return float(low), float(high)


def _statistics(residuals, sizes, n_resamples, rng):
    """Return the studentized deviations of resampled scores, (n_resamples,)."""
    n_classes = len(sizes)
    # The score of a resample is a quotient of sums over its classes, and so is its
    # linearized standard error: sums of squared (residual - shift * size), expanded. So
    # the sums of five columns serve all resamples, as one product of matrices.
    terms = np.column_stack(
        [sizes, residuals, residuals**2, residuals * sizes, sizes**2]
    )
    unbiased = n_classes / (n_classes - 1)
    least = LEAST_ERROR * np.sqrt(unbiased * terms[:, 2].sum()) / sizes.sum()
    statistics = []
    rows = max(1, DRAWS // n_classes)
    for start in range(0, n_resamples, rows):
        n = min(rows, n_resamples - start)
        drawn = rng.randint(n_classes, size=(n, n_classes))
        drawn += np.arange(n)[:, None] * n_classes
        # How often each class is in each resample.
        times = np.bincount(drawn.ravel(), minlength=n * n_classes)
        times = times.reshape(n, n_classes).astype(np.float64)
        total, residual, squares, products, sizes_squared = (times @ terms).T
        shift = residual / total
        squares += shift * (shift * sizes_squared - 2 * products)
        error = np.sqrt(unbiased * np.maximum(squares, 0)) / total
        statistics.append(shift / np.maximum(error, least))
    return np.concatenate(statistics)
