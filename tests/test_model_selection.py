import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, check_cv, cross_validate

from sk_dml.model_selection import (
    ClassDisjointKFold,
    ClassDisjointShuffleSplit,
    RepeatedClassDisjointKFold,
    class_disjoint_split,
)
from sk_dml.scorers import map_at_r, precision_at_1

SPLITTERS = [
    ClassDisjointKFold(),
    ClassDisjointKFold(3, shuffle=True, random_state=0),
    ClassDisjointShuffleSplit(5, random_state=0),
    ClassDisjointShuffleSplit(3, test_size=2, train_size=4, random_state=0),
    RepeatedClassDisjointKFold(n_splits=2, n_repeats=3, random_state=0),
]
every_splitter = pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)

LABELS = [
    np.repeat(np.arange(10), np.arange(1, 11)),
    np.array([f"class {c}" for c in np.repeat(np.arange(10), 4)]),
    2**60 + np.repeat(np.arange(10), 4),
    np.array(list("abcdefghij") * 3, dtype=object),
]


@every_splitter
@pytest.mark.parametrize("y", LABELS, ids=["int", "str", "large", "object"])
def test_classes_are_disjoint_and_whole(splitter, y):
    y = np.random.default_rng(0).permutation(y)
    X = np.zeros((len(y), 1))
    splits = list(splitter.split(X, y))
    assert len(splits) == splitter.get_n_splits(X, y) == splitter.get_n_splits()
    for train, test in splits:
        assert not set(y[train]) & set(y[test])
        for part in (train, test):
            assert len(part)
            assert set(part) == set(np.flatnonzero(np.isin(y, y[part])))


@every_splitter
def test_groups_are_disjoint_and_whole(splitter):
    groups = np.repeat(list("abcdefgh"), 6)
    y = np.arange(48) // 2  # three classes a group
    for train, test in splitter.split(y, y, groups):
        assert not set(groups[train]) & set(groups[test])
        assert not set(y[train]) & set(y[test])


@every_splitter
def test_splits_repeat_and_copies_split_alike(splitter):
    y = np.repeat(np.arange(10), 3)

    def folds(s):
        return [test.tolist() for _, test in s.split(y, y)]

    assert folds(splitter) == folds(splitter)
    assert folds(copy.deepcopy(splitter)) == folds(splitter)
    assert folds(pickle.loads(pickle.dumps(splitter))) == folds(splitter)
    assert check_cv(splitter) is splitter
    rebuilt = eval(repr(splitter))
    assert repr(rebuilt) == repr(splitter)
    assert folds(rebuilt) == folds(splitter)


@every_splitter
def test_inside_search_and_cross_validate(splitter):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.repeat(np.arange(10), 6)
    scoring = {"p1": precision_at_1, "map": map_at_r}
    with parallel_config("threading", n_jobs=2):
        results = cross_validate(
            PCA(2), X, y, cv=splitter, scoring=scoring, error_score="raise"
        )
    alone = cross_validate(PCA(2), X, y, cv=splitter, scoring=scoring)
    np.testing.assert_array_equal(results["test_map"], alone["test_map"])
    np.testing.assert_array_equal(results["test_p1"], alone["test_p1"])
    search = GridSearchCV(
        PCA(),
        {"n_components": [1, 2]},
        cv=splitter,
        scoring=scoring,
        refit="map",
        error_score="raise",
    ).fit(X, y)
    assert search.n_splits_ == splitter.get_n_splits()


@every_splitter
def test_groups_are_routed(splitter):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(96, 4)), np.arange(96) // 4
    groups = y // 3
    expected = [
        precision_at_1(PCA(2).fit(X[train]), X[test], y[test])
        for train, test in splitter.split(X, y, groups)
    ]
    with config_context(enable_metadata_routing=True):
        results = cross_validate(
            PCA(2),
            X,
            y,
            cv=splitter,
            scoring=precision_at_1,
            params={"groups": groups},
            error_score="raise",
        )
    np.testing.assert_allclose(results["test_score"], expected)


def test_folds_cover_every_class_once():
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(11), 3))
    for splitter in (ClassDisjointKFold(4), ClassDisjointKFold(4, shuffle=True)):
        tests = [set(y[test]) for _, test in splitter.split(y, y)]
        assert sorted(c for classes in tests for c in classes) == list(range(11))
        assert {len(classes) for classes in tests} == {2, 3}


def test_folds_are_runs_of_the_sorted_classes_unless_shuffled():
    y = np.repeat(list("abcdef"), 2)
    tests = [sorted(set(y[test])) for _, test in ClassDisjointKFold(3).split(y, y)]
    assert tests == [["a", "b"], ["c", "d"], ["e", "f"]]
    shuffled = ClassDisjointKFold(3, shuffle=True, random_state=1)
    assert [sorted(set(y[test])) for _, test in shuffled.split(y, y)] != tests


def test_folds_of_groups_have_about_as_many_classes():
    sizes = [9, 1, 1, 1, 3, 3, 4, 2]
    y = np.arange(sum(sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    loads = [len(set(y[t])) for _, t in ClassDisjointKFold(3).split(y, y, groups)]
    assert sorted(loads) == [7, 8, 9]


def test_repeats_differ():
    y = np.repeat(np.arange(12), 2)
    splitter = RepeatedClassDisjointKFold(n_splits=3, n_repeats=2, random_state=0)
    tests = [test.tolist() for _, test in splitter.split(y, y)]
    assert tests[:3] != tests[3:]
    for repeat in (tests[:3], tests[3:]):
        assert sorted(i for test in repeat for i in test) == list(range(24))


def test_split_arrays():
    X = pd.DataFrame({"a": np.arange(10)})
    y = np.array(list("abcdeabcde"))
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y, test_size=0.4)
    assert isinstance(X_train, pd.DataFrame)
    assert sorted(set(y_train)) == ["a", "b", "c"]
    assert sorted(set(y_test)) == ["d", "e"]
    assert y[X_test["a"]].tolist() == y_test.tolist()
    # The test part gets the larger half, as in train_test_split.
    assert sorted(set(class_disjoint_split(y=y)[0])) == ["a", "b"]
    assert sorted(set(class_disjoint_split(y=y, train_size=1)[0])) == ["a"]
    assert sorted(set(class_disjoint_split(y=y, train_size=1)[1])) == list("bcde")


def test_split_arrays_shuffled_and_grouped():
    y = np.arange(40) // 2
    groups = y // 5
    train, test = class_disjoint_split(y=y, groups=groups, shuffle=True, random_state=3)
    again, _ = class_disjoint_split(y=y, groups=groups, shuffle=True, random_state=3)
    np.testing.assert_array_equal(train, again)
    assert not set(train // 5) & set(test // 5)
    assert len(train) == len(test) == 20


y = np.repeat(np.arange(4), 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ClassDisjointKFold(1), ValueError, "n_splits must be an integer >= 2"),
        (lambda: ClassDisjointKFold(2.0), ValueError, "n_splits.*got 2.0"),
        (lambda: ClassDisjointKFold(shuffle=1), TypeError, "shuffle must be True or"),
        (lambda: ClassDisjointKFold(random_state=0), ValueError, "no effect"),
        (
            lambda: next(ClassDisjointKFold(5).split(y, y)),
            ValueError,
            "n_splits=5 greater than the number of classes: 4",
        ),
        (
            lambda: next(ClassDisjointKFold(3).split(y, y, y // 2)),
            ValueError,
            "n_splits=3 greater than the number of groups: 2",
        ),
        (
            lambda: next(RepeatedClassDisjointKFold(n_splits=5).split(y, y)),
            ValueError,
            "n_splits=5 greater than the number of classes: 4",
        ),
        (lambda: RepeatedClassDisjointKFold(n_repeats=0), ValueError, "n_repeats"),
        (lambda: next(ClassDisjointKFold().split(y)), ValueError, "'y' parameter"),
        (
            lambda: next(ClassDisjointKFold(2).split(y, y, np.arange(12))),
            ValueError,
            "4 of the 4 classes are in several, such as 0",
        ),
        (
            lambda: next(ClassDisjointKFold(2).split(y, y, np.arange(11))),
            ValueError,
            "inconsistent|same length",
        ),
        (
            lambda: next(ClassDisjointShuffleSplit(test_size=4).split(y, y)),
            ValueError,
            "Cannot split y, whose number of classes is 4",
        ),
        (
            lambda: class_disjoint_split(y, y=np.zeros(12)),
            ValueError,
            "Cannot split y, whose number of classes is 1",
        ),
        (lambda: class_disjoint_split(y, y=y, random_state=0), ValueError, "no effect"),
        (lambda: class_disjoint_split(y[:5], y=y), ValueError, "inconsistent numbers"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
