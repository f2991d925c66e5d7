from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from sk_dml.neighbors._exact import Gallery, unit_rows

rng = np.random.default_rng(0)


def exact_root(number):
    """Take the root of a fraction, to 30 digits more than a double has."""
    shift = 4**200
    scaled = number * shift**8
    return Fraction(isqrt(scaled.numerator // scaled.denominator), 2 ** (400 * 4))


@pytest.mark.parametrize("exponent", [-1040, -500, 0, 500, 995])
def test_distances_keep_their_digits_at_any_scale(exponent):
    rows = np.ldexp(rng.normal(size=(6, 5)) * 10.0 ** rng.integers(-9, 1, 5), exponent)
    found = Gallery(rows, "euclidean").distances(rows, np.tile(np.arange(6), (6, 1)))
    for i in range(6):
        for j in range(6):
            squares = [
                (Fraction(a) - Fraction(b)) ** 2
                for a, b in zip(rows[i].tolist(), rows[j].tolist(), strict=True)
            ]
            expected = float(exact_root(sum(squares)))
            assert found[i, j] == pytest.approx(expected, rel=1e-14, abs=5e-324)


def test_proportional_rows_have_equal_units():
    rows = rng.integers(-9, 10, size=(200, 4)).astype(float)
    units, is_zero = unit_rows(rows)
    np.testing.assert_array_equal(is_zero, ~rows.any(axis=1))
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1)
    for factor in (3, 7, 1001):
        np.testing.assert_array_equal(unit_rows(rows * factor)[0], units)


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1.0, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centred_points_keep_distances(scale, dtype):
    rows = (1e3 + rng.normal(size=(50, 4))) * scale / 2000
    gallery = Gallery(rows, "euclidean")
    points, is_far = gallery.centered(rows, dtype)
    assert points.dtype == dtype
    assert not is_far.any()
    assert 0.25 < np.abs(points).max() <= 1
    distances = gallery.distances(rows[:1], np.arange(50)[None])[0]
    squares = np.square(points.astype(float) - points[0]).sum(axis=1)
    np.testing.assert_allclose(squares, gallery.squared(distances), rtol=1e-5)


def test_far_queries_are_told():
    gallery = Gallery(rng.normal(size=(50, 4)), "euclidean")
    queries = np.array([[1e5] * 4, [1e10] * 4, [-1e300] * 4])
    for dtype, expected in (
        (np.float32, [False, True, True]),
        (np.float64, [False, False, True]),
    ):
        points, is_far = gallery.centered(queries, dtype)
        assert is_far.tolist() == expected
        assert np.isfinite(points).all()
