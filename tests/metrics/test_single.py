import numpy as np
import pytest

from sk_dml import metrics
from sk_dml.metrics import precision_at_k_score, recall_at_k_score, retrieval_scores
from tests.metrics.reference import points, random_data

X = np.arange(6.0)[:, None]
y = ["a", "a", "b", "b", "c", "c"]

SCORES = {
    "precision_at_1": metrics.precision_at_1_score,
    "precision_at_3": lambda *args, **kw: precision_at_k_score(*args, k=3, **kw),
    "recall_at_3": lambda *args, **kw: recall_at_k_score(*args, k=3, **kw),
    "r_precision": metrics.r_precision_score,
    "map_at_r": metrics.map_at_r_score,
    "mean_average_precision": metrics.mean_average_precision_score,
    "mean_reciprocal_rank": metrics.mean_reciprocal_rank_score,
}


@pytest.mark.parametrize("name", SCORES)
def test_agrees_with_the_joint_function(name):
    rows, labels = random_data()
    where = {"gallery": rows[25:], "gallery_labels": labels[25:]}
    plain = retrieval_scores(rows, labels, metrics=name)[name]
    assert SCORES[name](rows, labels) == plain
    for arguments, options in [
        ((rows, labels), {"metric": "cosine"}),
        ((rows, labels), {"average": "macro"}),
        ((rows, labels), {"n_classes": 3, "n_repeats": 2, "random_state": 1}),
        ((rows[:25], labels[:25]), where),
    ]:
        expected = retrieval_scores(*arguments, metrics=name, **options)[name]
        assert SCORES[name](*arguments, **options) == expected != plain


def test_defaults_of_k():
    rows, labels = random_data()
    first = metrics.precision_at_1_score(rows, labels)
    assert recall_at_k_score(rows, labels) == first
    assert precision_at_k_score(rows, labels) == first


@pytest.mark.parametrize("name", ["map_at_r", "precision_at_1", "recall_at_3"])
def test_approximate_search_reaches_the_singles(name):
    # So few different rows are searched exactly, without a compiler.
    rng = np.random.default_rng(0)
    rows, labels = points(rng, 60, spread=1), np.arange(60) % 6
    options = {"search": "approximate", "random_state": 0}
    expected = retrieval_scores(rows, labels, metrics=name, **options)[name]
    assert SCORES[name](rows, labels, **options) == expected


@pytest.mark.parametrize("k", [[1, 5, 2], (3,), range(1, 4), np.array([2, 2])])
@pytest.mark.parametrize("kind", ["precision", "recall"])
def test_several_k(kind, k):
    rows, labels = random_data()
    function = {"precision": precision_at_k_score, "recall": recall_at_k_score}[kind]
    found = function(rows, labels, k=k, average="macro")
    assert isinstance(found, np.ndarray)
    expected = [function(rows, labels, k=int(i), average="macro") for i in k]
    assert found.tolist() == expected


@pytest.mark.parametrize("function", [precision_at_k_score, recall_at_k_score])
@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k must be an integer >= 1, got 0"),
        (-1, ValueError, "k must be an integer >= 1, got -1"),
        (1.5, TypeError, "k must be an integer >= 1, got 1.5"),
        ("2", TypeError, "k must be an integer >= 1, got '2'"),
        (True, TypeError, "k must be an integer >= 1, got True"),
        (None, TypeError, "k must be an integer >= 1, got None"),
        ([1, True], TypeError, "k must be an integer >= 1, got True"),
        ([1, 0], ValueError, "k must be an integer >= 1, got 0"),
        ([], ValueError, r"k must hold one or more integers, got \[\]"),
        ([1, 6], ValueError, "recall_at_6|precision_at_6"),
    ],
)
def test_bad_k(function, k, error, message):
    with pytest.raises(error, match=message):
        function(X, y, k=k)


@pytest.mark.parametrize("name", SCORES)
def test_other_options_are_refused(name):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        SCORES[name](X, y, confidence_level=0.9)
