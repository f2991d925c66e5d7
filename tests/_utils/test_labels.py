import numpy as np
import pandas as pd
import pytest

from sk_dml._utils._labels import encode_label_sets, encode_labels

NAMES = ("labels", "gallery_labels")


@pytest.mark.parametrize(
    "labels",
    [
        [2**60 + 1, 2**60, 2**60 + 1],
        ["b", "a", "b"],
        np.array(["b", "a", "b"], dtype=object),
        np.array([2**70, 3, 2**70], dtype=object),
        [True, False, True],
        [1.5, 0.5, 1.5],
        np.array([3, 1, 3], dtype=np.uint64),
    ],
)
def test_numbers_the_sorted_classes(labels):
    classes, codes = encode_labels(labels)
    assert classes.tolist() == sorted(set(np.asarray(labels).tolist()))
    assert codes.tolist() == [1, 0, 1]
    assert codes.dtype == np.int64


def test_sets_share_their_numbers():
    first, second = encode_label_sets(["b", "a"], ["c", "b", "a"], names=NAMES)
    assert (first.tolist(), second.tolist()) == ([1, 0], [2, 1, 0])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.array([2**53, 2**53 + 1]), np.array([2.0**53])),
        (np.array([2**63 + 1, 2**63], np.uint64), np.array([-1])),
    ],
)
def test_large_integers_are_not_merged_by_floats(first, second):
    codes, _ = encode_label_sets(first, second, names=NAMES)
    assert codes[0] != codes[1]


def test_lists_keep_what_they_hold():
    assert encode_labels([2**63 + 1, 2**63, -1, -1])[1].tolist() == [2, 1, 0, 0]
    with pytest.raises(TypeError, match="mixes"):
        encode_labels(["1", 1, "a"])


def test_strings_and_integers_do_not_meet():
    with pytest.raises(TypeError, match="labels and gallery_labels mix labels"):
        encode_label_sets(["1", "2"], [1, 2], names=NAMES)


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None],
        [0.0, np.nan],
        np.array([1, np.nan], dtype=object),
        np.array(["2000-01-01", "NaT"], "M8[D]"),
        np.array(["2000-01-01", "NaT"], "M8[ns]").astype("m8[ns]"),
        pd.Series(pd.to_datetime(["2000-01-01", None])),
        pd.Series(pd.to_datetime(["2000-01-01", None], utc=True)),
        pd.Series(["a", None], dtype="string"),
    ],
)
def test_missing_labels_are_counted(labels):
    if isinstance(labels, list) and None in labels:
        labels = np.array(labels, dtype=object)
    with pytest.raises(ValueError, match=r"ids holds 1 missing labels .* among 2"):
        encode_labels(labels, name="ids")


def test_mixed_labels_name_the_kinds():
    labels = np.array(["a", 1], dtype=object)
    with pytest.raises(TypeError, match=r"y mixes .*\['int', 'str'\]"):
        encode_labels(labels)


def test_missing_labels_of_two_sets():
    days = np.array(["2000-01-01", "NaT"], "M8[D]")
    with pytest.raises(ValueError, match="labels and gallery_labels hold 2 missing"):
        encode_label_sets(days, days, names=NAMES)


@pytest.mark.parametrize("labels", [[{"a": 1}] * 2, [{1}, {2}], [[1], [1, 2]]])
def test_unhashable_labels_are_named(labels):
    kind = type(labels[0]).__name__
    with pytest.raises(TypeError, match=rf"ids .* cannot be hashed \(found \['{kind}'"):
        encode_labels(labels, name="ids")


def test_labels_without_order_are_named():
    with pytest.raises(
        TypeError, match=r"ids holds labels that cannot be sorted .*obj"
    ):
        encode_labels([object(), object()], name="ids")


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        (None, "got None"),
        (3, "got 3"),
        ([("a", 1), ("b", 2)], r"got shape \(2, 2\)"),
        (np.zeros((2, 1, 1)), r"got shape \(2, 1, 1\)"),
    ],
)
def test_one_label_a_sample(labels, got):
    message = rf"labels must be of shape \(n_samples,\).*{got}"
    with pytest.raises(ValueError, match=message):
        encode_labels(labels, name="labels")
    with pytest.raises(ValueError, match=message):
        encode_label_sets(labels, [1, 2], names=NAMES)


def test_a_column_of_labels_is_one_label_a_sample():
    assert encode_labels([[3], [1], [3]])[1].tolist() == [1, 0, 1]
