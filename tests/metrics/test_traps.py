"""Where pytorch-metric-learning's AccuracyCalculator goes wrong, we do not."""

import numpy as np
import pytest

from sk_dml.metrics import retrieval_scores
from tests.metrics import reference

NAMES = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
}


def large_labels():
    """Classes that single precision cannot tell apart."""
    rng = np.random.default_rng(0)
    codes = np.arange(24) % 6
    return rng.permutation(999)[:24, None], np.int64(2**24) * 4 + codes


def duplicates():
    """Every row four times, in two classes: column 0 is not the query itself."""
    X = np.repeat([0, 1, 5], 4)[:, None] * [[3, 1]]
    return X, np.tile([0, 0, 1, 1], 3)


def ties():
    """Points at equal distances, sorted by class."""
    X = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]] * 2) * np.repeat([1, 2], 4)[:, None]
    return X, np.array([0, 0, 0, 1, 0, 1, 1, 1])


def collapsed():
    """One point only; all orders are equally right."""
    return np.ones((8, 2)), np.array([0, 0, 0, 0, 0, 1, 1, 1])


def singletons():
    """Samples that have nothing to find, and are in the way of others."""
    X = np.array([0, 1, 10, 11, 20, 22, 21, 30])[:, None]
    return X, np.array([0, 0, 1, 1, 2, 2, 3, 4])


TRAPS = [large_labels, duplicates, ties, collapsed]


def expected_of(X, labels):
    distances = ((X[:, None] - X) ** 2).sum(axis=2).tolist()
    return reference.scores(distances, labels, labels, NAMES, leave_one_out=True)


@pytest.mark.filterwarnings("ignore:.*queries are left out:UserWarning")
@pytest.mark.parametrize("trap", [*TRAPS, singletons])
def test_equals_brute_force(trap):
    X, labels = trap()
    found = retrieval_scores(X, labels, metrics=NAMES)
    assert found == pytest.approx(expected_of(X, labels), abs=1e-12)


@pytest.mark.parametrize("trap", [*TRAPS, singletons])
def test_the_other_differs(trap):
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    X, labels = trap()
    calculator = AccuracyCalculator(
        include=tuple(NAMES.values()),
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
        k=len(X) - 1,
        device=torch.device("cpu"),
    )
    rows = torch.from_numpy(X.astype(np.float32))
    theirs = calculator.get_accuracy(rows, torch.from_numpy(labels))
    found = {ours: theirs[name] for ours, name in NAMES.items()}
    # Single samples are the one trap that it stays clear of.
    agrees = found == pytest.approx(expected_of(X, labels), abs=1e-3)
    assert agrees == (trap is singletons)
