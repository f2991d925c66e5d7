"""Validation: what is held out, its score, early stopping, and what is refused."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import accuracy_score, make_scorer, silhouette_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder, map_at_r, metrics, scorers
from sk_dml._training._net import EmbeddingNet
from sk_dml._training._validation import hold_out, resolve_patience
from sk_dml.scorers import retrieval_scorer
from tests._training.small import Interrupted, Script
from tests.quick import quick
from tests.random_state import global_state

rng = np.random.default_rng(0)
X_many = rng.normal(size=(240, 4)) + 3 * rng.normal(size=(60, 4)).repeat(4, axis=0)
y_many = np.repeat([f"class {i:02}" for i in range(60)], 4)
X_iris, y_iris = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def iris():
    return X_iris, y_iris


# What is held out


@pytest.mark.parametrize(
    ("n_classes", "fraction", "n_held"), [(50, 0.1, 5), (46, 0.1, 5), (20, 0.4, 8)]
)
def test_whole_classes_where_there_are_enough(n_classes, fraction, n_held):
    targets = np.arange(n_classes * 4) % n_classes
    mask = hold_out(targets, fraction, np.random.RandomState(0))
    assert len(set(targets[mask])) == n_held
    assert not set(targets[mask]) & set(targets[~mask])
    other = hold_out(targets, fraction, np.random.RandomState(1))
    assert (mask != other).any()


@pytest.mark.parametrize(("n_classes", "fraction"), [(44, 0.1), (3, 0.3), (10, 0.2)])
def test_samples_of_every_class_where_there_are_not(n_classes, fraction):
    targets = np.arange(n_classes * 20) % n_classes
    mask = hold_out(targets, fraction, np.random.RandomState(0))
    assert set(np.bincount(targets[mask])) == {20 * fraction}
    assert (hold_out(targets, fraction, np.random.RandomState(0)) == mask).all()


def test_single_samples_stay_in_training():
    targets = np.concatenate([np.arange(100) // 2, 50 + np.arange(300)])
    mask = hold_out(targets, 0.1, np.random.RandomState(0))
    assert mask.sum() == 10
    assert targets[mask].max() < 50
    few = np.concatenate([np.arange(60) % 3, [3, 4, 4, 5, 5, 5]])
    mask = hold_out(few, 0.3, np.random.RandomState(0))
    assert set(few[mask]) == {0, 1, 2}
    assert (np.bincount(few[mask]) == 6).all()


@pytest.mark.parametrize(
    ("sizes", "fraction", "message"),
    [
        (
            [10] * 4,
            0.1,
            r"fraction=0\.1 of the 4 classes in y \(40 samples\) leaves no",
        ),
        ([10] * 4, 0.99, "leaves no two classes with a pair"),
        ([20, 2, 2], 0.2, "leaves no two classes with a pair"),
        ([1] * 30, 0.5, "leaves no two classes with a pair"),
        ([4] * 60, 0.99, r"fraction=0\.99 of the 60 .* leaves 1 to learn from"),
    ],
)
def test_fractions_that_leave_too_little(sizes, fraction, message):
    targets = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.raises(ValueError, match=message):
        hold_out(targets, fraction, np.random.RandomState(0))
    if min(sizes) > 1:
        embedder = quick(early_stopping=True, validation_fraction=fraction)
        with pytest.raises(ValueError, match=message):
            embedder.fit(rng.normal(size=(len(targets), 3)), targets)


def test_classes_are_those_learned_from(iris):
    embedder = quick(early_stopping=True).fit(X_many, y_many)
    assert len(embedder.classes_) == 54
    proxies = quick(NormalizedSoftmaxEmbedder, early_stopping=True).fit(X_many, y_many)
    assert proxies.net_.criterion_.proxies.shape == (54, 4)
    assert quick(early_stopping=True).fit(*iris).classes_.tolist() == [0, 1, 2]


def test_held_out_samples_are_not_trained_on():
    script = Script(0.1, 0.2, 0.3)
    embedder = quick(early_stopping=True, scoring=script).fit(X_many, y_many)
    _, held, labels = script.seen[0]
    assert len(held) == 24
    assert not set(labels) & set(embedder.classes_)
    assert set(labels) | set(embedder.classes_) == set(y_many)
    rows = {tuple(row): label for row, label in zip(X_many, y_many, strict=True)}
    assert [rows[tuple(row)] for row in held] == labels.tolist()
    kept = X_many[np.isin(y_many, embedder.classes_)]
    alone = quick(lr=1e-9).fit(kept, y_many[np.isin(y_many, embedder.classes_)])
    np.testing.assert_allclose(
        quick(lr=1e-9, early_stopping=True).fit(X_many, y_many).transform(X_many),
        alone.transform(X_many),
        atol=1e-5,
    )


# Scores


def test_scores_are_those_of_map_at_r(iris):
    X, y = iris
    data = X[1::2], y[1::2]
    embedder = quick().fit(X[::2], y[::2], validation_data=data)
    assert [row["epoch"] for row in embedder.history_] == [1, 2, 3]
    scores = [row["valid_score"] for row in embedder.history_]
    assert scores[-1] == map_at_r(embedder, *data)
    assert embedder.best_score_ == max(scores)
    assert embedder.best_epoch_ == 1 + np.argmax(scores)
    assert all(0 < row["lr"] <= embedder.lr for row in embedder.history_)


def test_validation_data_change_nothing_but_the_history(iris):
    X, y = iris
    plain = quick(module="mlp").fit(X[::2], y[::2])
    assert plain.best_score_ is None
    assert plain.best_epoch_ is None
    scored = quick(module="mlp").fit(X[::2], y[::2], validation_data=(X, y))
    np.testing.assert_array_equal(plain.transform(X), scored.transform(X))
    assert plain.loss_curve_ == scored.loss_curve_


@pytest.mark.parametrize(
    "scoring",
    [
        "precision_at_1",
        "recall_at_5",
        retrieval_scorer("map_at_r", n_classes=2, n_repeats=2, random_state=0),
    ],
)
def test_other_scores(scoring, iris):
    X, y = iris
    scorer = retrieval_scorer(scoring) if isinstance(scoring, str) else scoring
    embedder = quick(scoring=scoring).fit(X, y, validation_data=(X[::3], y[::3]))
    expected = scorer(embedder, X[::3], y[::3])
    assert embedder.history_[-1]["valid_score"] == expected


def test_frames_images_and_pipelines(iris):
    X, y = load_iris(return_X_y=True, as_frame=True)
    embedder = quick(early_stopping=True).set_output(transform="pandas").fit(X, y)
    assert 0 < embedder.best_score_ <= 1
    assert embedder.feature_names_in_.tolist() == X.columns.tolist()
    embedder.fit(X, y, validation_data=(X[::2], y[::2]))
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:200].reshape(-1, 8, 8, 1), labels[:200]
    embedder = quick().fit(images, labels, validation_data=(images, labels))
    assert embedder.best_epoch_ in (1, 2, 3)
    pipeline = make_pipeline(StandardScaler(), quick())
    pipeline.fit(X, y, circleembedder__validation_data=(np.array(X), y))
    assert pipeline[-1].best_score_ > 0


def test_global_random_numbers_are_left_alone(iris):
    before, torch_before = global_state(), torch.get_rng_state()
    first = quick(early_stopping=True).fit_transform(*iris)
    assert global_state() == before
    assert torch.equal(torch.get_rng_state(), torch_before)
    generator = np.random.RandomState(0)
    again = quick(early_stopping=True, random_state=generator).fit_transform(*iris)
    np.testing.assert_array_equal(first, again)


# Stopping


def test_stops_and_restores_the_best_epoch(iris):
    X, y = iris
    script = Script(0.5, 0.7, 0.6, 0.65)
    embedder = quick(
        max_epochs=9, early_stopping=True, n_iter_no_change=2, scoring=script
    ).fit(X, y, validation_data=(X, y))
    assert embedder.n_iter_ == len(embedder.history_) == 4
    assert (embedder.best_score_, embedder.best_epoch_) == (0.7, 2)
    np.testing.assert_array_equal(embedder.transform(X), script.seen[1][0])
    assert (script.seen[1][0] != script.seen[3][0]).any()


@pytest.mark.parametrize(
    ("scores", "tol", "n_epochs", "best"),
    [
        ([0.5, 0.55, 0.58, 0.9], 0.1, 3, 3),  # progress too small, yet better
        ([0.5, 0.55, 0.7, 0.7, 0.7], 0.1, 5, 3),
        ([0.5, 0.5, 0.5, 0.5], 0.0, 3, 1),
        ([-3.0, -2.0, -1.0, 0.0, 1.0], 0.5, 5, 5),
    ],
)
def test_progress(scores, tol, n_epochs, best, iris):
    X, y = iris
    embedder = quick(
        max_epochs=len(scores),
        early_stopping=True,
        n_iter_no_change=2,
        tol=tol,
        scoring=Script(*scores),
    ).fit(X, y, validation_data=(X, y))
    assert (embedder.n_iter_, embedder.best_epoch_) == (n_epochs, best)


@pytest.mark.parametrize(
    ("params", "n_epochs"),
    [
        # A rise of three epochs, of which the last comes to the top.
        ({"lr_schedule": "onecycle", "max_epochs": 10}, 3 + 2 - 1),
        ({"lr_schedule": "onecycle", "net_params": {"lr_schedule__warmup": 5}}, 6),
        ({"lr_schedule": "cosine", "net_params": {"lr_schedule__warmup": 4}}, 5),
        ({"lr_schedule": None, "net_params": {"lr_schedule__warmup": 6}}, 7),
        ({"lr_schedule": "cosine"}, 3),
        ({"lr_schedule": None}, 3),
    ],
)
def test_epochs_of_rising_rates_do_not_count(params, n_epochs, iris):
    scores = Script(0.5, *[0.4] * 20)
    embedder = quick(
        early_stopping=True,
        n_iter_no_change=2,
        scoring=scores,
        **{"max_epochs": 20, **params},
    ).fit(*iris, validation_data=iris)
    assert (embedder.n_iter_, embedder.best_epoch_) == (n_epochs, 1)


@pytest.mark.parametrize(
    ("params", "patience"),
    [
        ({}, 25),
        ({"max_epochs": 30, "lr_schedule": "onecycle"}, 10),
        ({"max_epochs": 42, "lr_schedule": "cosine"}, 10),
        ({"max_epochs": 48, "lr_schedule": "cosine"}, 12),
        ({"lr_schedule": None}, 10),
        ({"lr_schedule": "plateau"}, 10),
        ({"lr_schedule": "step"}, 10),
        ({"n_iter_no_change": 3}, 3),
    ],
)
def test_patience_is_a_quarter_where_the_rates_fall_to_the_end(params, patience, iris):
    embedder = CircleEmbedder(**params)
    assert resolve_patience(embedder) == patience
    if embedder.max_epochs > 50:  # the others are fits of the same kind
        return
    still = [0.5] + [0.4] * 99
    embedder.set_params(early_stopping=True, module="linear", scoring=Script(*still))
    embedder.fit(*iris, validation_data=iris)
    n_rising = round(0.3 * embedder.max_epochs)
    first = n_rising if embedder.lr_schedule == "onecycle" else 2  # that counts
    assert embedder.n_iter_ == first + patience - 1


def test_without_early_stopping_nothing_is_restored(iris):
    X, y = iris
    script = Script(0.5, 0.4, 0.3)
    embedder = quick(n_iter_no_change=1, scoring=script)
    embedder.fit(X, y, validation_data=(X, y))
    assert (embedder.n_iter_, embedder.best_epoch_) == (3, 1)
    np.testing.assert_array_equal(embedder.transform(X), script.seen[2][0])


def test_proxies_and_memories_are_restored_too(iris):
    X, y = iris
    proxies = []

    def scorer(estimator, X, y):
        proxies.append(estimator.net_.criterion_.proxies.detach().clone())
        return -len(proxies)

    embedder = quick(NormalizedSoftmaxEmbedder, early_stopping=True, scoring=scorer)
    embedder.fit(X, y)
    assert torch.equal(embedder.net_.criterion_.proxies, proxies[0])
    assert not torch.equal(proxies[1], proxies[0])
    script = Script(3, 2, 1)
    quick(early_stopping=True, memory_size=9, scoring=script).fit(X, y)


def test_an_interrupted_fit_has_its_best_epoch_too(iris):
    X, y = iris
    script = Script(0.5, 0.4, 0.3)
    embedder = quick(early_stopping=True, optimizer=Interrupted, scoring=script)
    Interrupted.left = 13  # of 5 an epoch
    with pytest.warns(UserWarning, match="epoch 3 of 3; .* best epoch, 1"):
        embedder.fit(X, y, validation_data=(X, y))
    assert (embedder.n_iter_, embedder.best_epoch_) == (2, 1)
    np.testing.assert_array_equal(embedder.transform(X), script.seen[0][0])


def test_fitted_embedders_keep_no_data(iris):
    X, y = iris
    data = np.tile(X, (20, 1)), np.tile(y, 20)
    plain = len(pickle.dumps(quick().fit(X, y)))
    scored = len(pickle.dumps(quick().fit(X, y, validation_data=data)))
    assert scored < plain + 2000 < data[0].nbytes


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(iris):
    script = Script(0.5, 0.7, 0.6)
    embedder = quick(early_stopping=True, scoring=script, device="cuda").fit(*iris)
    np.testing.assert_array_equal(
        embedder.transform(script.seen[1][1]), script.seen[1][0]
    )


def test_metadata_routing(iris):
    X, y = iris
    with config_context(enable_metadata_routing=True):
        embedder = quick().set_fit_request(validation_data=True)
        pipeline = make_pipeline(StandardScaler(), embedder)
        pipeline.fit(X, y, validation_data=(X, y))
    assert pipeline[-1].best_epoch_ in (1, 2, 3)


# What is refused


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(EmbeddingNet, "train_step", None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"early_stopping": "yes"}, "early_stopping"),
        ({"validation_fraction": 0}, "validation_fraction"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"n_iter_no_change": "some"}, "n_iter_no_change"),
        ({"tol": -1}, "tol"),
        ({"scoring": None}, "scoring"),
    ],
)
def test_parameters_out_of_range(params, message):
    with pytest.raises(InvalidParameterError, match=message):
        quick(**params).fit(X_iris, y_iris)


@pytest.mark.parametrize("scoring", ["accuracy", "neighbor_recall", "recall_at_0"])
def test_unknown_scores(scoring):
    with pytest.raises(
        ValueError, match=rf"scoring='{scoring}': .*'map_at_r'.*callable"
    ):
        quick(scoring=scoring).fit(X_iris, y_iris)


@pytest.mark.parametrize(
    ("metric", "way_out"),
    [
        (metrics.map_at_r_score, "the scorer scoring='map_at_r'."),
        (metrics.mean_average_precision_score, "scoring='mean_average_precision'."),
        (metrics.mean_reciprocal_rank_score, "scoring='mean_reciprocal_rank'."),
        (metrics.precision_at_1_score, "scoring='precision_at_1'."),
        (metrics.recall_at_k_score, "scoring='recall_at_5'."),
        (metrics.nmi_score, "y: nmi_score(estimator.transform(X), y)."),
        (silhouette_score, "y: silhouette_score(estimator.transform(X), y)."),
        (accuracy_score, "y: accuracy_score(estimator.transform(X), y)."),
    ],
)
def test_metrics_are_no_scorers(metric, way_out, untrained):
    message = f"scoring={metric.__name__} is a metric of .*{re.escape(way_out)}"
    for data in {}, {"validation_data": (X_iris, y_iris)}:
        with pytest.raises(ValueError, match=message):
            quick(scoring=metric).fit(X_iris, y_iris, **data)


@pytest.mark.parametrize(
    "scorer",
    [
        scorers.map_at_r,
        lambda estimator, X, y: silhouette_score(estimator.transform(X), y),
        make_scorer(lambda y, rows: rows.mean(), response_method=("transform",)),
    ],
)
def test_scorers_are_no_metrics(scorer):
    fitted = quick(scoring=scorer).fit(X_iris, y_iris, validation_data=(X_iris, y_iris))
    assert len([row["valid_score"] for row in fitted.history_]) == 3


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (X_iris, TypeError, r"must be a tuple \(X, y\), got a ndarray of length 150"),
        ((X_iris,), TypeError, "got a tuple of length 1"),
        (3, TypeError, r"got a int\."),
        ((X_iris[:, 1:], y_iris), ValueError, "validation_data does not fit: X has 3"),
        (
            (X_iris.reshape(-1, 2, 2), y_iris),
            ValueError,
            r"validation_data does not fit: X holds .*\(1, 2, 2\)",
        ),
        ((X_iris, y_iris[1:]), ValueError, "validation_data does not fit.*inconsist"),
        ((X_iris, None), ValueError, "validation_data does not fit.*y is None"),
        ((X_iris, X_iris[:, 0]), ValueError, "does not fit: Unknown label type: cont"),
        ((X_iris, ["a", 1] * 75), TypeError, "does not fit: y mixes labels"),
        (
            (X_iris, y_iris.astype(str)),
            TypeError,
            r"its y and the y to learn from mix labels .*\['int', 'str'\]",
        ),
        ((X_iris * np.nan, y_iris), ValueError, "does not fit.*NaN"),
        (
            (X_iris, np.arange(150)),
            ValueError,
            "classes is 150, and of samples in the largest 1.*needs 2 or more",
        ),
        ((X_iris, np.zeros(150)), ValueError, "classes is 1, and of samples .* 150"),
    ],
)
def test_validation_data_that_do_not_fit(data, error, message):
    estimator = quick()
    with pytest.raises(error, match=message):
        estimator.fit(X_iris, y_iris, validation_data=data)
    assert not hasattr(estimator, "net_")


def test_column_names_of_validation_data():
    X, y = load_iris(return_X_y=True, as_frame=True)
    renamed = pd.DataFrame(X.to_numpy(), columns=list("abcd"))
    with pytest.raises(ValueError, match=r"(?s)does not fit.*feature names"):
        quick().fit(X, y, validation_data=(renamed, y))


@pytest.mark.parametrize("score", [np.nan, "good", {"map_at_r": 1.0}, [0.5], None])
def test_scorers_that_return_no_number(score):
    estimator = quick(scoring=Script(score))
    message = re.escape(f"must return a finite number, got {score!r} after epoch 1")
    with pytest.raises(ValueError, match=message):
        estimator.fit(X_iris, y_iris, validation_data=(X_iris, y_iris))
    assert not hasattr(estimator, "net_")
