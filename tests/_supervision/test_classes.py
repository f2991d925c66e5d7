"""Classes of y: which labels are allowed, and how those of several fits are merged."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_dml import CircleEmbedder
from sk_dml._supervision._classes import check_targets, merge_classes

ORDER = np.arange(40) % 3
X = np.random.default_rng(0).normal(size=(40, 3))


def check(y, X=X):
    return check_targets(CircleEmbedder(), X, y)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([3, 1, 2], dtype=object),
        np.array([2**60, 2**60 + 1, -5]),
        np.array([1.0, 2.0, 3.0]),
        np.array([False, True, True]),
    ],
    ids=["str", "object str", "object int", "large int", "whole floats", "bool"],
)
def test_kinds_of_labels(labels):
    classes, targets = check(labels[ORDER])
    assert classes.tolist() == sorted(set(labels.tolist()))
    assert classes[targets].tolist() == labels[ORDER].tolist()
    assert targets.dtype == np.int64


def test_large_integers_stay_apart():
    labels = [2**60, 2**60 + 1, 5]
    for given in (
        [labels[i] for i in ORDER],
        pd.Series(pd.array(labels, dtype="Int64")).iloc[ORDER],
    ):
        classes, targets = check(given)
        assert classes.tolist() == [5, 2**60, 2**60 + 1]
        assert classes[targets].tolist() == [labels[i] for i in ORDER]


@pytest.mark.parametrize("kind", ["series", "categorical", "list", "polars", "string"])
def test_containers_of_labels(kind):
    names = np.array(["x", "y", "z"])[ORDER]
    given = {
        "series": pd.Series(names, index=range(5, 45)),
        "categorical": pd.Series(pd.Categorical(names)),
        "list": names.tolist(),
        "polars": pl.Series(names),
        "string": pd.Series(names, dtype="string"),
    }[kind]
    classes, targets = check(given)
    assert classes.tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(targets, ORDER)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "CircleEmbedder requires y to be passed"),
        (np.zeros(30), ValueError, r"inconsistent .*: \[40, 30\]"),
        (X[:, 0], ValueError, "Unknown label type: continuous"),
        (X[:, 0].astype(object), ValueError, "Unknown label type: continuous"),
        (["a", 1] * 20, TypeError, r"y mixes labels.*'int', 'str'"),
        (np.array(["a", 1] * 20, object), TypeError, "y mixes labels"),
        (np.array(["a", None] * 20, object), ValueError, "20 missing labels"),
        (pd.Series(["a", pd.NA] * 20), ValueError, "20 missing labels"),
        (np.array([0.0, np.inf] * 20), ValueError, "y contains infinity"),
    ],
)
def test_labels_that_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        check(y)


def test_merged_indices():
    known, found = np.array(["b", "d"]), np.array(["a", "d"])
    merged, targets, indices = merge_classes(found, np.array([1, 0, 0]), known=known)
    assert merged.tolist() == ["a", "b", "d"]
    assert merged[targets].tolist() == ["d", "a", "a"]
    assert merged[indices].tolist() == ["b", "d"]


def test_targets_are_indices_of_the_classes_that_were_named():
    found, targets = np.array([2, 5]), np.array([1, 0, 1])
    merged, targets, _ = merge_classes(found, targets, classes=[9, 5, 2, 2])
    assert merged.tolist() == [2, 5, 9]
    assert merged[targets].tolist() == [5, 2, 5]
    with pytest.raises(ValueError, match=r"y holds 1 classes that .*\(for example 5\)"):
        merge_classes(found, targets, classes=[9, 2])


@pytest.mark.parametrize(
    ("known", "new", "merged"),
    [
        (["a", "b"], ["a", "ccc"], ["a", "b", "ccc"]),
        ([5, 2**60], [5, 2**60 + 1], [5, 2**60, 2**60 + 1]),
        ([1.0, 2.0], [2, 3], [1, 2, 3]),
        ([False, True], [False, True], [False, True]),
    ],
)
def test_labels_of_several_fits(known, new, merged):
    known, new = np.array(known), np.array(new)
    classes, targets, indices = merge_classes(new, np.array([1, 0]), known=known)
    assert classes.tolist() == merged
    assert classes[targets].tolist() == new[::-1].tolist()
    assert classes[indices].tolist() == known.tolist()


def test_labels_of_another_kind_than_before():
    with pytest.raises(TypeError, match="y and the y of earlier fits mix labels"):
        merge_classes(np.array(["0"]), np.array([0]), known=np.array([0]))
