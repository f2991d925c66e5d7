import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import CircleEmbedder, ClassDisjointKFold, scorers
from sk_dml.metrics import map_at_r_score, recall_at_k_score, retrieval_scores
from sk_dml.scorers import retrieval_scorer
from tests.neighbors.descent import install


@pytest.fixture
def iris():
    return load_iris(return_X_y=True)


def test_scores_the_embedding(iris):
    X, y = iris
    scaler = StandardScaler().fit(X)
    expected = map_at_r_score(scaler.transform(X), y)
    assert scorers.map_at_r(scaler, X, y) == expected
    assert scorers.retrieval_scorer("map_at_r")(scaler, X, y) == expected
    k = recall_at_k_score(scaler.transform(X), y, k=3)
    assert scorers.recall_at_k(3)(scaler, X, y) == k


def test_pipeline_that_ends_in_a_classifier_scores_what_comes_before_it(iris):
    X, y = iris
    steps = StandardScaler(), PCA(2)
    whole = make_pipeline(*steps, KNeighborsClassifier()).fit(X, y)
    embedding = make_pipeline(*steps).fit_transform(X)
    expected = map_at_r_score(embedding, y)
    assert scorers.map_at_r(whole, X, y) == pytest.approx(expected)
    assert scorers.map_at_r(whole[:-1], X, y) == pytest.approx(expected)
    search = GridSearchCV(whole, {"pca__n_components": [2]}, cv=2).fit(X, y)
    assert scorers.map_at_r(search, X, y) == pytest.approx(expected)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_data_frames_are_embeddings_too(iris, output):
    X, y = iris
    embedder = CircleEmbedder(3, max_epochs=2, random_state=0).fit(X, y)
    expected = scorers.precision_at_1(embedder, X, y)
    embedder.set_output(transform=output)
    assert scorers.precision_at_1(embedder, X, y) == expected


def test_several_scores_from_one_transform(iris):
    X, y = iris
    scaler = StandardScaler().fit(X)
    calls = []
    transform = scaler.transform
    scaler.transform = lambda X: calls.append(1) or transform(X)
    scorer = scorers.retrieval_scorer("precision_at_1", "map_at_r")
    names = ("precision_at_1", "map_at_r")
    assert scorer(scaler, X, y) == retrieval_scores(transform(X), y, metrics=names)
    assert len(calls) == 1


def test_inside_grid_search_and_cross_validate(iris):
    X, y = iris
    y = np.arange(len(y)) % 6
    scoring = scorers.retrieval_scorer("precision_at_1", "map_at_r")
    cv = ClassDisjointKFold(3)
    search = GridSearchCV(
        PCA(), {"n_components": [1, 2]}, scoring=scoring, refit="map_at_r", cv=cv
    ).fit(X, y)
    assert {"mean_test_map_at_r", "mean_test_precision_at_1"} <= set(search.cv_results_)
    # A search is scored by its best estimator.
    assert scorers.map_at_r(search, X, y) == scorers.map_at_r(
        search.best_estimator_, X, y
    )
    named = {"p1": scorers.precision_at_1, "map": scorers.map_at_r}
    results = cross_validate(
        make_pipeline(PCA(2), KNeighborsClassifier()),
        X,
        y,
        scoring=named,
        cv=cv,
        error_score="raise",
    )
    assert results["test_p1"].shape == results["test_map"].shape == (3,)


def test_scorers_copy_and_print():
    scorer = scorers.retrieval_scorer("precision_at_1", "recall_at_5")
    for copy in (clone(scorer, safe=False), pickle.loads(pickle.dumps(scorer))):
        assert copy.names == scorer.names
    assert repr(scorer) == "retrieval_scorer('precision_at_1', 'recall_at_5')"


def test_bad_input(iris):
    X, y = iris
    with pytest.raises(TypeError, match=r"KNeighborsClassifier has no transform"):
        scorers.map_at_r(KNeighborsClassifier().fit(X, y), X, y)
    with pytest.raises(ValueError, match="None of the 3 queries has a sample"):
        scorers.map_at_r(StandardScaler().fit(X), X[:3], [0, 1, 2])
    with pytest.raises(ValueError, match=r"metrics must name.*'accuracy'"):
        scorers.retrieval_scorer("accuracy")
    with pytest.raises(ValueError, match="one or more"):
        scorers.retrieval_scorer()
    with pytest.raises(ValueError, match="k must be an integer >= 1, got 0"):
        scorers.recall_at_k(0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "l1"}, ValueError, "metric must be one of .*'l1'"),
        ({"average": "x"}, ValueError, "average must be one of .*'x'"),
        ({"search": "x"}, ValueError, "search must be one of .*'x'"),
        ({"n_classes": 0}, ValueError, "n_classes must be .*got 0"),
        ({"n_classes": 1}, ValueError, "n_classes must be .*got 1"),
        ({"n_classes": 2.5}, TypeError, "n_classes must be .*got 2.5"),
        ({"n_repeats": 0}, ValueError, "n_repeats must be .*got 0"),
        ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
        ({"confidence_level": 0.9}, TypeError, "options must be any of"),
    ],
)
def test_values_of_options_are_checked_before_any_fit(options, error, message):
    with pytest.raises(error, match=message):
        retrieval_scorer("map_at_r", **options)
    with pytest.raises(error, match=message):
        scorers.recall_at_k(5, **options)


def test_names_and_search_are_checked_before_any_fit():
    with pytest.raises(ValueError, match=r"once, got \['map_at_r'\] twice"):
        retrieval_scorer("map_at_r", "map_at_r")
    with pytest.raises(ValueError, match="need the whole ranking"):
        retrieval_scorer("mean_reciprocal_rank", search="approximate")
    with pytest.raises(TypeError, match=r"k must be an integer >= 1, got 2\.5"):
        scorers.recall_at_k(2.5)


def test_recall_of_the_search_is_a_score(monkeypatch):
    install(monkeypatch)
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 6
    scaler = StandardScaler().fit(X)
    scorer = retrieval_scorer(
        "map_at_r", "neighbor_recall", search="approximate", random_state=0
    )
    found = scorer(scaler, X, y)
    assert list(found) == ["map_at_r", "neighbor_recall"]
    assert 0.9 < found["neighbor_recall"] <= 1


def test_recall_at_k_takes_options(iris):
    X, y = iris
    scaler = StandardScaler().fit(X)
    scorer = scorers.recall_at_k(2, metric="cosine", average="macro")
    expected = recall_at_k_score(
        scaler.transform(X), y, k=2, metric="cosine", average="macro"
    )
    assert scorer(scaler, X, y) == expected
    assert expected != scorers.recall_at_k(2)(scaler, X, y)


def test_options_reach_the_metrics():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 6
    options = {"n_classes": 2, "random_state": 0, "average": "macro"}
    scorer = retrieval_scorer("map_at_r", metric="cosine", **options)
    scaler = StandardScaler().fit(X)
    expected = retrieval_scores(
        scaler.transform(X), y, metrics=["map_at_r"], metric="cosine", **options
    )
    assert scorer(scaler, X, y) == expected["map_at_r"]
    assert repr(scorer) == (
        "retrieval_scorer('map_at_r', metric='cosine', n_classes=2, random_state=0, "
        "average='macro')"
    )
    with pytest.raises(TypeError, match=r"options must be any of .*got \['n_class'\]"):
        retrieval_scorer("map_at_r", n_class=2)
