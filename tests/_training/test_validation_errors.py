"""What validation refuses."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, make_scorer, silhouette_score
from sklearn.utils._param_validation import InvalidParameterError

from sk_dml import metrics, scorers
from sk_dml._training._net import EmbeddingNet
from tests._training.small import Script, embedder

iris = X_iris, y_iris = load_iris(return_X_y=True)


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
        embedder(**params).fit(*iris)


@pytest.mark.parametrize("scoring", ["accuracy", "neighbor_recall", "recall_at_0"])
def test_unknown_scores(scoring):
    with pytest.raises(
        ValueError, match=rf"scoring='{scoring}' .*'map_at_r'.*callable"
    ):
        embedder(scoring=scoring).fit(*iris)


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
    message = f"scoring={metric.__name__} is a metric, .*{re.escape(way_out)}"
    for data in {}, {"validation_data": iris}:
        with pytest.raises(ValueError, match=message):
            embedder(scoring=metric).fit(*iris, **data)


@pytest.mark.parametrize(
    "scorer",
    [
        scorers.map_at_r,
        lambda estimator, X, y: silhouette_score(estimator.transform(X), y),
        make_scorer(lambda y, rows: rows.mean(), response_method=("transform",)),
    ],
)
def test_scorers_are_no_metrics(scorer):
    fitted = embedder(scoring=scorer).fit(*iris, validation_data=iris)
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
    estimator = embedder()
    with pytest.raises(error, match=message):
        estimator.fit(X_iris, y_iris, validation_data=data)
    assert not hasattr(estimator, "net_")


def test_column_names_of_validation_data():
    X, y = load_iris(return_X_y=True, as_frame=True)
    renamed = pd.DataFrame(X.to_numpy(), columns=list("abcd"))
    with pytest.raises(ValueError, match=r"(?s)does not fit.*feature names"):
        embedder().fit(X, y, validation_data=(renamed, y))


@pytest.mark.parametrize("score", [np.nan, "good", {"map_at_r": 1.0}, [0.5], None])
def test_scorers_that_return_no_number(score):
    estimator = embedder(scoring=Script(score))
    message = re.escape(f"must return a finite number, got {score!r} after epoch 1")
    with pytest.raises(ValueError, match=message):
        estimator.fit(*iris, validation_data=iris)
    assert not hasattr(estimator, "net_")
