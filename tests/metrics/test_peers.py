"""Other implementations agree where they are right."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from sk_dml.metrics import retrieval_scores

NAMES = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
    "mean_reciprocal_rank": "mean_reciprocal_rank",
}


@pytest.mark.parametrize("separate", [False, True])
def test_accuracy_calculator(separate):
    # No ties, no duplicates, labels that single precision can hold.
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 12
    X = (rng.normal(size=(12, 6))[labels] + rng.normal(size=(300, 6))).astype("f4")
    calculator = AccuracyCalculator(
        include=tuple(NAMES.values()),
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
        k=299 if not separate else 200,
        device=torch.device("cpu"),
    )
    where = {}
    both = [torch.from_numpy(X), torch.from_numpy(labels)]
    if separate:
        where = {"gallery": X[100:], "gallery_labels": labels[100:]}
        both = [*(part[:100] for part in both), *(part[100:] for part in both)]
    found = retrieval_scores(
        *(part.numpy() for part in both[:2]), metrics=NAMES, **where
    )
    expected = calculator.get_accuracy(*both)
    for ours, theirs in NAMES.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=1e-6)
