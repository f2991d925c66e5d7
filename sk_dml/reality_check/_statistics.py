"""Intervals over repeats, and comparisons with a reference."""

import numpy as np
from scipy import stats


def mean_interval(values, confidence_level=0.95):
    """Compute a mean and its t-interval.

    Parameters
    ----------
    values : sequence of float
    confidence_level : float, default=0.95

    Returns
    -------
    mean, low, high : float
        NaN where there are too few values: none, or one for the interval.

    Examples
    --------
    >>> from sk_dml.reality_check._statistics import mean_interval
    >>> [round(value, 2) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if not n:
        return np.nan, np.nan, np.nan
    if n == 1:
        return float(values[0]), np.nan, np.nan
    if np.ptp(values) == 0:  # without the rounding of a mean
        return (float(values[0]),) * 3
    mean = float(values.mean())
    width = stats.t.ppf((1 + confidence_level) / 2, n - 1)
    width *= values.std(ddof=1) / np.sqrt(n)
    return mean, float(mean - width), float(mean + width)


def paired_p_value(differences):
    """Test whether the mean of paired differences is zero, by the t-test.

    Parameters
    ----------
    differences : sequence of float

    Returns
    -------
    float
        In [0, 1]; NaN for fewer than two, and where all are equal: methods that leave
        nothing to chance are no sample.
    """
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return np.nan
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values):
    """Correct p-values for their number, by Holm's method.

    Parameters
    ----------
    p_values : sequence of float
        NaN stays NaN and is not counted.

    Returns
    -------
    ndarray of float

    References
    ----------
    .. [1] S. Holm. "A Simple Sequentially Rejective Multiple Test Procedure".
           Scandinavian Journal of Statistics 1979.

    Examples
    --------
    >>> from sk_dml.reality_check._statistics import holm
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    corrected = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    steps = np.maximum.accumulate(p_values[order] * factors)
    corrected[order] = np.minimum(steps, 1)
    return corrected
