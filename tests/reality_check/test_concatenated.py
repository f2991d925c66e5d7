import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_dml import ContrastiveEmbedder, SoftmaxEmbedder
from sk_dml.model_selection import ClassDisjointKFold
from sk_dml.reality_check import ConcatenatedEmbedder


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(8), 8)
    return rng.normal(size=(8, 5))[y] + 0.3 * rng.normal(size=(64, 5)), y


# Class-disjoint folds want more classes than the checks have.
@pytest.mark.filterwarnings("ignore:n_components=1 leaves rows:UserWarning")
@parametrize_with_checks(
    [
        ConcatenatedEmbedder(SoftmaxEmbedder(4, max_epochs=2), cv=StratifiedKFold(2)),
        ConcatenatedEmbedder(PCA(1), cv=StratifiedKFold(2)),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_models_are_those_of_the_folds(data):
    X, y = data
    embedder = ContrastiveEmbedder(3, max_epochs=2, random_state=5)
    model = ConcatenatedEmbedder(embedder).fit(X, y)
    parts = []
    for train, _ in ClassDisjointKFold(4).split(X, y):
        parts.append(embedder.fit(X[train], y[train]).transform(X))
    embedding = model.transform(X)
    assert_array_equal(embedding, np.hstack(parts) / np.float32(2))
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
    assert model.n_features_in_ == 5
    assert len(model.get_feature_names_out()) == 12


def test_random_state_seeds_every_model_differently(data):
    X, y = data
    embedder = ContrastiveEmbedder(3, max_epochs=1)
    model = ConcatenatedEmbedder(embedder, cv=2, random_state=0)
    first, again = model.fit(X, y).transform(X), model.fit(X, y).transform(X)
    assert_array_equal(first, again)
    states = {m.random_state for m in model.estimators_}
    assert len(states) == 2
    assert embedder.random_state is None
    other = model.set_params(random_state=1).fit(X, y).transform(X)
    assert not np.array_equal(first, other)


def test_validation_part_stops_and_goes_through_the_steps_before(data):
    X, y = data
    embedder = SoftmaxEmbedder(3, max_epochs=3, early_stopping=True, random_state=0)
    pipeline = make_pipeline(StandardScaler(), PCA(3), embedder)
    model = ConcatenatedEmbedder(pipeline, cv=2).fit(X, y)
    for fitted, (train, valid) in zip(
        model.estimators_, ClassDisjointKFold(2).split(X, y), strict=True
    ):
        assert set(fitted[-1].classes_) == set(y[train])
        before = make_pipeline(StandardScaler(), PCA(3)).fit(X[train])
        alone = SoftmaxEmbedder(**embedder.get_params(deep=False)).fit(
            before.transform(X[train]),
            y[train],
            validation_data=(before.transform(X[valid]), y[valid]),
        )
        assert alone.best_score_ == fitted[-1].best_score_
        assert_array_equal(alone.transform(before.transform(X)), fitted.transform(X))


def test_jobs_change_nothing(data):
    X, y = data
    model = ConcatenatedEmbedder(GaussianRandomProjection(3), random_state=0)
    one = model.fit(X, y).transform(X)
    with parallel_config("threading"):
        two = model.set_params(n_jobs=2).fit(X, y).transform(X)
    assert_array_equal(two, one)


def test_in_a_pipeline_with_groups_and_images(data):
    _, y = data
    X = np.random.default_rng(0).normal(size=(64, 8, 8)).astype(np.float32)
    model = ConcatenatedEmbedder(SoftmaxEmbedder(2, max_epochs=1), cv=2)
    pipeline = make_pipeline(model, KNeighborsClassifier(1))
    assert pipeline.fit(X, y).predict(X).shape == (64,)
    model.fit(X, y, groups=y // 2 % 2)
    assert {frozenset(m.classes_ // 2 % 2) for m in model.estimators_} == {
        frozenset({0}),
        frozenset({1}),
    }


def test_bad_input(data):
    X, y = data
    with pytest.raises(NotFittedError):
        ConcatenatedEmbedder(PCA(2)).transform(X)
    with pytest.raises(ValueError, match=r"n_splits=4 greater than .* classes: 3"):
        ConcatenatedEmbedder(PCA(2)).fit(X, y % 3)
    with pytest.raises(ValueError, match="target y is None"):
        ConcatenatedEmbedder(PCA(2)).fit(X, None)
    with pytest.raises(ValueError, match="'cv' parameter of ConcatenatedEmbedder"):
        ConcatenatedEmbedder(PCA(2), cv=1).fit(X, y)
    with pytest.raises(ValueError, match="inconsistent"):
        ConcatenatedEmbedder(PCA(2)).fit(X, y[:-1])
