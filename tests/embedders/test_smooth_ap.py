import pytest
import torch
from sklearn.metrics import average_precision_score

from sk_dml.losses import SmoothAPLoss


def test_tends_to_the_average_precision():
    # Labels in no order: samples of a class do not stand together.
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    rows = torch.nn.functional.normalize(rows)
    labels = torch.randint(4, (20,), generator=generator)
    similarities = rows @ rows.T
    expected = []
    for i in range(20):
        others = torch.arange(20) != i
        same = labels[others] == labels[i]
        if same.any():
            scores = similarities[i, others]
            expected.append(1 - average_precision_score(same, scores))
    value = SmoothAPLoss(temperature=1e-6)(rows, labels).item()
    assert value == pytest.approx(sum(expected) / len(expected))
