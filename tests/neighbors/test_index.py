import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_iris, load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.manifold import Isomap
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsTransformer,
    NearestNeighbors,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_dml import NormalizedSoftmaxEmbedder, RetrievalIndex
from sk_dml.neighbors import _index, _search, nearest_neighbors

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5))
X_iris, y_iris = load_iris(return_X_y=True)


@parametrize_with_checks(
    [
        RetrievalIndex(),
        RetrievalIndex(2, metric="cosine", search="exact", device="cpu"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_kneighbors_is_that_of_scikit_learn():
    index = RetrievalIndex(4).fit(X)
    expected = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(X)
    queries = rng.normal(size=(9, 5))
    for rows, n_neighbors in ((queries, None), (queries, 7), (None, None), (None, 2)):
        for found, wanted in zip(
            index.kneighbors(rows, n_neighbors),
            expected.kneighbors(rows, n_neighbors),
            strict=True,
        ):
            np.testing.assert_allclose(found, wanted, atol=1e-12)
        np.testing.assert_array_equal(
            index.kneighbors(rows, n_neighbors, return_distance=False),
            expected.kneighbors(rows, n_neighbors, return_distance=False),
        )
        for mode in ("distance", "connectivity"):
            graph = index.kneighbors_graph(rows, n_neighbors, mode=mode)
            wanted = expected.kneighbors_graph(rows, n_neighbors, mode=mode)
            assert type(graph) is type(wanted)
            assert graph.shape == wanted.shape
            np.testing.assert_allclose(graph.toarray(), wanted.toarray(), atol=1e-12)
    assert (np.diff(index.kneighbors_graph().data.reshape(60, 4), axis=1) >= 0).all()


class Ticket:
    """Something that can neither be compared nor sorted."""

    __hash__ = None


TICKETS = [Ticket() for _ in range(60)]


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(60) + 2**60,
        [2**70 + i for i in range(60)],
        [f"name {i}" for i in range(60)],
        [bytes([i, 0]) for i in range(60)],
        [(i, "a") for i in range(60)],
        [(1,) * i for i in range(60)],
        [Path(str(i)) for i in range(60)],
        [None, 1, 1.5, "1", True, b"1"] * 10,
        [float("nan")] * 60,
        TICKETS,
        pd.Series([f"{i}" for i in range(60)], index=np.arange(60)[::-1]),
        pd.Categorical(["a", "b"] * 30),
        pd.date_range("2020", periods=60, tz="CET"),
        rng.integers(9, size=(60, 2)),
    ],
    ids=lambda ids: type(ids).__name__,
)
def test_labels_come_back_as_they_were(ids):
    index = RetrievalIndex(3).fit(X, ids)
    labels = index.kneighbors_labels()
    _, indices = nearest_neighbors(X, n_neighbors=3)
    ids = list(ids)
    for found, wanted in zip(labels.reshape(180, -1), indices.ravel(), strict=True):
        expected = ids[wanted]
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        elif expected == expected:  # not NaN
            assert found[0] == expected
            assert isinstance(expected, np.generic) or type(found.tolist()[0]) is type(
                expected
            )
        else:
            assert found[0] != found[0]


@pytest.mark.parametrize(
    ("ids", "more"),
    [
        ([1, 2, 3], ["1", "long name"]),
        (["a", "b", "c"], ["d", "long name"]),
        ([1, 2, 3], [0.5, 1.5]),
        (np.array([1, 2, 3], np.uint64), np.array([-1, 2**62 + 1])),
        (np.array([1, 2, 3], np.int8), np.array([300, 2**62 + 1])),
        ([True, False, True], [0, 7]),
        ([(1, 2), (3, 4), (5, 6)], [(7, 8), (9,)]),
    ],
)
def test_added_rows_are_found_with_their_labels(ids, more):
    index = RetrievalIndex(1).fit(X[:3], ids)
    assert index.add(X[3:5], more) is index
    assert index.n_samples_fit_ == 5
    found = index.kneighbors_labels(X[:5])[:, 0].tolist()
    expected = [*ids, *more]
    assert found == expected
    for one, other in zip(found, expected, strict=True):
        if not isinstance(other, np.generic):
            assert type(one) is type(other)
    assert index.get_feature_names_out().shape == (5,)


def test_add_is_as_if_fitted_with_all():
    index = RetrievalIndex(3).fit(X[:20].astype(np.float32))
    distances, indices = index.add(X[20:] + 1e-9).kneighbors()
    whole = np.vstack([X[:20].astype(np.float32).astype(float), X[20:] + 1e-9])
    expected = nearest_neighbors(whole, n_neighbors=3)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(distances, expected[0])


def test_transform_is_that_of_scikit_learn():
    rows = X * [1, 1, 1, 1e-3, 1e3]
    ours, theirs = RetrievalIndex(4), KNeighborsTransformer(n_neighbors=4)
    for found, wanted in (
        (ours.fit_transform(rows), theirs.fit_transform(rows)),
        (ours.transform(rows[:9] + 0.1), theirs.transform(rows[:9] + 0.1)),
    ):
        assert type(found) is type(wanted)
        assert found.shape == wanted.shape
        assert found.nnz == wanted.nnz  # zeros are stored
        np.testing.assert_allclose(found.toarray(), wanted.toarray(), atol=1e-7)
        np.testing.assert_array_equal(found.indptr, wanted.indptr)
    with config_context(sparse_interface="sparray"):
        assert type(ours.transform(X)) is type(theirs.transform(X))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_precomputed_classifier_predicts_the_same(load, weights):
    data, y = load(return_X_y=True)
    train = rng.permutation(len(y))[:100]
    test = np.setdiff1d(np.arange(len(y)), train)
    direct = make_pipeline(
        StandardScaler(), KNeighborsClassifier(5, weights=weights)
    ).fit(data[train], y[train])
    through_graph = make_pipeline(
        StandardScaler(),
        RetrievalIndex(5),
        KNeighborsClassifier(5, weights=weights, metric="precomputed"),
    ).fit(data[train], y[train])
    for rows in (train, test):
        np.testing.assert_allclose(
            through_graph.predict_proba(data[rows]), direct.predict_proba(data[rows])
        )
        np.testing.assert_array_equal(
            through_graph.predict(data[rows]), direct.predict(data[rows])
        )


def test_graph_serves_other_estimators():
    direct = DBSCAN(eps=0.6, min_samples=5).fit_predict(X_iris)
    graph = make_pipeline(
        RetrievalIndex(100), DBSCAN(eps=0.6, min_samples=5, metric="precomputed")
    )
    np.testing.assert_array_equal(graph.fit_predict(X_iris), direct)
    isomap = make_pipeline(
        RetrievalIndex(10), Isomap(n_neighbors=10, metric="precomputed")
    )
    direct = Isomap(n_neighbors=10).fit_transform(X[:, :2])
    np.testing.assert_allclose(
        np.abs(isomap.fit_transform(X[:, :2])), np.abs(direct), atol=1e-8
    )


def test_after_an_embedder():
    names = [f"flower {label}" for label in y_iris]
    pipeline = make_pipeline(
        NormalizedSoftmaxEmbedder(8, max_epochs=3, random_state=0),
        RetrievalIndex(3, metric="cosine"),
    ).fit(pd.DataFrame(X_iris, columns=list("abcd")), names)
    embedder, index = pipeline
    embeddings = embedder.transform(pd.DataFrame(X_iris, columns=list("abcd")))
    labels = index.kneighbors_labels(embeddings[:5])
    assert labels[:, 0].tolist() == names[:5]
    assert pipeline.transform(pd.DataFrame(X_iris, columns=list("abcd"))).nnz == 600
    pipeline.set_output(transform="default")


def test_ids_after_an_embedder_that_learned_from_classes():
    embedder = NormalizedSoftmaxEmbedder(5, max_epochs=1, random_state=0)
    embeddings = embedder.fit_transform(X_iris, y_iris)
    ids = [f"flower {i}" for i in range(150)]
    pipeline = make_pipeline(FrozenEstimator(embedder), RetrievalIndex(2))
    pipeline.fit(X_iris, ids)
    found = pipeline[-1].kneighbors_labels(pipeline[:-1].transform(X_iris))
    _, expected = nearest_neighbors(embeddings, embeddings, n_neighbors=2)
    np.testing.assert_array_equal(found, np.array(ids)[expected])


def test_feature_names():
    frame = pd.DataFrame(X, columns=list("abcde"))
    index = RetrievalIndex().fit(frame)
    assert index.feature_names_in_.tolist() == list("abcde")
    index.kneighbors(frame)
    for method in (index.kneighbors, index.transform, index.add):
        with pytest.raises(ValueError, match="feature names should match"):
            method(frame[list("edcba")])
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            method(X)


def test_pickles_and_clones():
    index = RetrievalIndex(3, metric="cosine", random_state=1).fit(X, np.arange(60))
    copy = pickle.loads(pickle.dumps(index))
    np.testing.assert_array_equal(copy.kneighbors_labels(), index.kneighbors_labels())
    assert clone(index).get_params() == index.get_params()
    assert not hasattr(clone(index), "gallery_")


def test_gallery_is_a_copy():
    rows, ids = X.copy(), np.arange(60)
    index = RetrievalIndex(1).fit(rows, ids)
    rows[:], ids[:] = 0, 0
    np.testing.assert_array_equal(index.kneighbors_labels(X)[:, 0], np.arange(60))


@pytest.fixture
def made(monkeypatch):
    """List the sizes of the galleries that searches are prepared for."""
    sizes = []

    def make_search(rows, *settings):
        sizes.append(len(rows))
        return _search.make_search(rows, *settings)

    monkeypatch.setattr(_index, "make_search", make_search)
    return sizes


def test_auto_goes_by_the_size_of_the_gallery(monkeypatch, made):
    monkeypatch.setattr(_search, "AUTO_APPROXIMATE", 31)
    index = RetrievalIndex(3).fit(X[:30])
    assert index.search_ == "exact"
    assert index.add(X[30:31]).search_ == "approximate"
    assert made == [30]
    index.kneighbors()
    assert type(index._search) is _search.ApproximateSearch


def test_added_rows_wait_for_a_search(made):
    index = RetrievalIndex(1).fit(X[:20])
    for i in range(20, 60):
        index.add(X[[i]])
    assert made == [20]
    for _ in range(2):
        np.testing.assert_array_equal(index.kneighbors(X)[1][:, 0], np.arange(60))
    assert made == [20, 60]


def test_parameters_set_after_fit_wait_for_the_next():
    index = RetrievalIndex(2, search="exact").fit(X[:40])
    index.set_params(metric="cosine", search="approximate", device="gpu")
    expected = nearest_neighbors(X, n_neighbors=2)
    for found, wanted in zip(index.add(X[40:]).kneighbors(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert index.search_ == "exact"
    index.set_params(search="auto", device=None).fit(X)
    expected = nearest_neighbors(X, n_neighbors=2, metric="cosine")
    np.testing.assert_array_equal(index.kneighbors()[0], expected[0])


def test_device_is_for_the_exact_search():
    index = RetrievalIndex(4, device="cpu").fit(X)
    assert index._search.device == "cpu"
    np.testing.assert_array_equal(
        index.kneighbors(), RetrievalIndex(4).fit(X).kneighbors()
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_fitted_graph_begins_with_the_row_itself(metric):
    rows = np.repeat(X[:6], 10, axis=0)  # more copies than neighbors
    rows[::7] = 0
    graph = RetrievalIndex(3, metric=metric).fit_transform(rows)
    np.testing.assert_array_equal(np.diff(graph.indptr), 4)
    indices = graph.indices.reshape(60, 4)
    distances = graph.data.reshape(60, 4)
    np.testing.assert_array_equal(indices[:, 0], np.arange(60))
    np.testing.assert_array_equal(distances[:, 0], 0)
    expected = nearest_neighbors(rows, n_neighbors=3, metric=metric)
    np.testing.assert_array_equal(distances[:, 1:], expected[0])
    np.testing.assert_array_equal(indices[:, 1:], expected[1])
