import numpy as np
import pytest
from scipy import stats

from sk_dml.reality_check._result import holm, mean_interval, paired_p_value


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=7)
    mean, low, high = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(expected))
    assert mean == pytest.approx(values.mean())
    # Values that differ by rounding alone raise no warning.
    mean, low, high = mean_interval([0.5, 0.5, np.nextafter(0.5, 1)])
    assert low <= mean <= high


def test_interval_covers_the_mean_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    draws = rng.normal(3, 2, size=(1000, 4))
    covered = [low < 3 < high for _, low, high in map(mean_interval, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_too_few_values():
    assert np.isnan(mean_interval([])).all()
    mean, low, high = mean_interval([2.0])
    assert mean == 2
    assert np.isnan([low, high]).all()
    assert np.isnan(paired_p_value([1.0]))


def test_equal_differences_are_not_tested():
    assert np.isnan(paired_p_value([0.25, 0.25, 0.25]))
    assert np.isnan(paired_p_value([0.0, 0.0]))
    for value in np.random.default_rng(0).uniform(size=50):
        assert mean_interval([value] * 10) == (value,) * 3


def test_paired_test_is_that_of_scipy():
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    assert paired_p_value(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_holm_rejects_step_by_step():
    p_values = np.random.default_rng(0).uniform(size=9) ** 3
    p_values[4] = np.nan
    corrected = holm(p_values)
    assert np.isnan(corrected[4])
    known = np.delete(p_values, 4)
    for level in np.linspace(0.01, 1, 60):
        # The definition: compare the smallest with level / n, the next with / (n - 1).
        rejected, left = set(), len(known)
        for p_value in sorted(known):
            if p_value > level / left:
                break
            rejected.add(p_value)
            left -= 1
        below = {p for p, q in zip(p_values, corrected, strict=True) if q <= level}
        assert below == rejected
