import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsTransformer,
    RadiusNeighborsTransformer,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_dml import RetrievalIndex, map_at_r
from sk_dml.metrics import map_at_r_score
from sk_dml.utils import embed

X, y = load_iris(return_X_y=True)
GRAPHS = [
    RetrievalIndex(5),
    KNeighborsTransformer(n_neighbors=5),
    RadiusNeighborsTransformer(radius=3),
]


@pytest.fixture
def expected():
    return make_pipeline(StandardScaler(), PCA(2)).fit_transform(X)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("goes_on", [False, True])
def test_stops_before_a_graph(graph, goes_on, expected):
    steps = [StandardScaler(), PCA(2), graph]
    if goes_on:
        steps.append(KNeighborsClassifier(3, metric="precomputed"))
    pipeline = make_pipeline(*steps)
    pipeline.fit(X, y)
    assert np.array_equal(embed(pipeline, X), expected)
    assert map_at_r(pipeline, X, y) == map_at_r_score(expected, y)


def test_stops_before_a_graph_in_a_search(expected):
    pipeline = make_pipeline(StandardScaler(), PCA(2), RetrievalIndex(5))
    grid = {"pca__n_components": [2]}
    search = GridSearchCV(pipeline, grid, scoring=map_at_r, cv=2, error_score="raise")
    assert np.array_equal(embed(search.fit(X, y), X), expected)


def test_a_graph_of_its_own_is_no_embedding():
    for graph in GRAPHS:
        with pytest.raises(
            TypeError, match=r"sparse data .*\(150, 150\).*goes on past"
        ):
            embed(graph.fit(X), X)
        pipeline = make_pipeline(graph, KNeighborsClassifier(3, metric="precomputed"))
        with pytest.raises(TypeError, match="makes no embedding"):
            embed(pipeline.fit(X, y), X)


def test_sparse_output_is_no_embedding():
    with pytest.raises(
        TypeError, match=r"OneHotEncoder.* returns sparse data of shape"
    ):
        embed(OneHotEncoder().fit(X), X)


def test_pipelines_that_end_in_a_transformer_or_a_predictor(expected):
    steps = StandardScaler(), PCA(2)
    for pipeline in (
        make_pipeline(*steps),
        make_pipeline(*steps, KNeighborsClassifier()),
    ):
        assert np.array_equal(embed(pipeline.fit(X, y), X), expected)
