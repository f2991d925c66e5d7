import numpy as np
import pytest
import torch

from sk_dml import CircleEmbedder
from sk_dml._inputs import _rows, find_kind
from sk_dml._inputs._rows import Rows


@pytest.mark.parametrize(
    "X",
    [np.zeros((3, 2)), [[1, 2]], [], np.array(["a"])[:0], np.arange(3), None, [[""]]],
)
def test_rows_are_what_no_other_kind_accepts(X):
    assert find_kind(X) is Rows


def test_arrays_of_many_axes_are_refused():
    with pytest.raises(ValueError, match=r"dim 5 for X; Circle.*2 axes.*3 or 4 axes"):
        CircleEmbedder().fit(np.zeros((4, 2, 2, 2, 2)), [0, 0, 1, 1])


def test_statistics_of_rows():
    X = np.random.default_rng(0).normal(3, 2, size=(50, 4))
    X[:, 1] += 1e9
    X[:, 2] = 7
    mean, scale = Rows.from_array(X).statistics()
    assert mean.dtype == scale.dtype == torch.float64
    np.testing.assert_allclose(mean, X.mean(axis=0))
    np.testing.assert_allclose(scale, [*X.std(axis=0)[:2], 1, X.std(axis=0)[3]])


def test_statistics_of_many_rows_are_taken_in_blocks(monkeypatch):
    X = np.random.default_rng(0).normal(3, 2, size=(500, 4))
    X[:, 1] += 1e3
    source = Rows.from_array(X)
    whole = source.statistics()
    taken = []

    class Spy(_rows.StandardScaler):
        def partial_fit(self, X):
            taken.append(len(X))
            return super().partial_fit(X)

    monkeypatch.setattr(_rows, "StandardScaler", Spy)
    monkeypatch.setattr(_rows, "SMALLEST_BLOCK", 40)
    for in_blocks, expected in zip(source.statistics(), whole, strict=True):
        np.testing.assert_allclose(in_blocks, expected, rtol=1e-12)
    assert sum(taken) == 500
    assert max(taken) < 20


def test_overflowing_statistics_are_refused():
    X = np.ones((5, 2))
    X[0, 1] = 1e200
    with pytest.raises(ValueError, match=r"X holds values up to 1e\+200, too large"):
        Rows.from_array(X).statistics()
