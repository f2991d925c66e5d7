"""What a RetrievalIndex refuses, and that it stays as it was."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from sk_dml import RetrievalIndex

X = np.random.default_rng(0).normal(size=(60, 5))


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        (X[:5, :3], [1, 2]),
        (X[:5, :3], "name"),
        (np.full((5, 3), np.nan), [1] * 5),
        (X[:0, :3], []),
        (pd.DataFrame(X[:5, :3], columns=["a", "b", 3]), [1] * 5),
    ],
)
def test_failed_fit_changes_nothing(rows, ids):
    index = RetrievalIndex(2, metric="cosine").fit(X, np.arange(60))
    before = {**vars(index)}
    with pytest.raises((ValueError, TypeError)):
        index.set_params(metric="euclidean").fit(rows, ids)
    index.set_params(metric="cosine")
    assert vars(index) == before
    assert index.n_features_in_ == 5
    index.kneighbors(X)


def test_failed_add_changes_nothing():
    index = RetrievalIndex(3).fit(X, np.arange(60))
    before = index.kneighbors()
    ids_of_pairs = np.ones((2, 2))
    with_nan = np.full((1, 5), np.nan)
    for rows, ids, message in (
        (with_nan, [1], "X contains NaN in 1 of 1 rows"),
        (X[:2], None, "gallery of 60 rows has labels.* the 2 rows to add .* no y"),
        (X[:2], [1], "each of the 2 rows of X, got 1"),
        (X[:2], ids_of_pairs, r"ids of shape \(\), as the .* got some of shape \(2,\)"),
        (X[:2, :3], [1, 2], "X has 3 features, but RetrievalIndex is expecting 5"),
    ):
        with pytest.raises(ValueError, match=message):
            index.add(rows, ids)
    with pytest.raises(ValueError, match=r"60 rows has no labels .* with some y"):
        RetrievalIndex().fit(X).add(X, np.arange(60))
    np.testing.assert_array_equal(index.kneighbors(), before)
    with pytest.raises(NotFittedError):
        RetrievalIndex().add(X)


@pytest.mark.parametrize(
    ("params", "arguments", "error", "message"),
    [
        ({}, (np.full((3, 2), np.inf),), ValueError, "X contains infinity in 3 of 3"),
        ({}, (X, [1, 2]), ValueError, "each of the 60 rows of X, got 2"),
        ({}, (X, "name"), ValueError, "each of the 60 rows of X, got a str"),
        ({}, (X[:0],), ValueError, r"X is empty: it has shape \(0, 5\)"),
        ({}, ([],), ValueError, r"X is empty: it has shape \(0,\)"),
        ({}, (X[0],), ValueError, r"X must be a 2D array .* shape \(5,\)"),
        ({"n_neighbors": 0}, (X,), ValueError, "'n_neighbors' parameter of Retrieval"),
        ({"metric": "l1"}, (X,), ValueError, "'metric' parameter of RetrievalIndex"),
        ({"search": "fast"}, (X,), ValueError, "'search' parameter of RetrievalIndex"),
        ({"random_state": "a"}, (X,), ValueError, "'random_state' parameter of"),
        ({"device": "gpu"}, (X,), ValueError, "device='gpu' cannot be used here"),
    ],
)
def test_bad_input(params, arguments, error, message):
    with pytest.raises(error, match=message):
        RetrievalIndex(**params).fit(*arguments)


def test_bad_questions():
    index = RetrievalIndex(5).fit(X[:5])
    with pytest.raises(
        ValueError, match=r"n_neighbors=5 is larger than 4, .*n_samples=5"
    ):
        index.kneighbors()
    with pytest.raises(ValueError, match=r"n_neighbors=5 \(and 1 more .*n_samples=5"):
        index.transform(X)
    with pytest.raises(ValueError, match=r"n_neighbors=6 is larger than .*n_samples=5"):
        index.kneighbors(X, 6)
    with pytest.raises(TypeError, match=r"n_neighbors must be an integer.*2\.5"):
        index.kneighbors(X, 2.5)
    with pytest.raises(ValueError, match=r"mode must be one of .*got 'weights'"):
        index.kneighbors_graph(X, mode="weights")
    with pytest.raises(ValueError, match="has no labels: its 5 rows came without y"):
        index.kneighbors_labels(X)
    with pytest.raises(ValueError, match="transform needs rows, got X=None"):
        index.transform(None)
    with pytest.raises(NotFittedError):
        RetrievalIndex().kneighbors_labels()
