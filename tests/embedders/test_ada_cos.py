import math

import numpy as np
import pytest
import torch

from sk_dml.losses import AdaCosLoss


def cosines_of(loss, rows):
    rows = rows / rows.norm(dim=1, keepdim=True)
    proxies = loss.proxies.detach()
    return (rows @ (proxies / proxies.norm(dim=1, keepdim=True)).T).numpy()


@pytest.mark.parametrize("n", [9, 10])
def test_scale_follows_the_paper(n):
    n_classes = 30
    loss = AdaCosLoss(n_classes, 12).double()
    first = math.sqrt(2) * math.log(n_classes - 1)
    assert loss.scale.item() == pytest.approx(first, rel=1e-6)
    generator = torch.Generator().manual_seed(0)
    scale = first
    for _ in range(3):
        rows = torch.randn(n, 12, generator=generator, dtype=torch.float64)
        labels = torch.randint(n_classes, (n,), generator=generator)
        cosines = cosines_of(loss, rows)
        own = cosines[np.arange(n), labels]
        sums = [
            sum(np.exp(scale * c) for k, c in enumerate(row) if k != label)
            for row, label in zip(cosines, labels, strict=True)
        ]
        # Of an even number of angles, the larger one in the middle.
        angle = np.sort(np.arccos(own))[n // 2]
        scale = np.log(np.mean(sums)) / np.cos(min(np.pi / 4, angle))
        weights = np.exp(scale * cosines)
        expected = -np.log(np.exp(scale * own) / weights.sum(axis=1)).mean()
        assert loss(rows, labels).item() == pytest.approx(expected, rel=1e-5)
        assert loss.scale.item() == pytest.approx(scale, rel=1e-5)
    assert scale < 2 * first


def test_scale_falls_as_the_angles_shrink_but_not_below_its_floor():
    loss = AdaCosLoss(6, 6)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(6))
    for _ in range(50):
        loss(torch.eye(6), torch.arange(6))
    assert loss.scale.item() == pytest.approx(math.log(5))


@pytest.mark.parametrize(("n_classes", "n_features"), [(10, 2), (200, 4), (500, 8)])
def test_scale_does_not_explode_in_few_dimensions(n_classes, n_features):
    loss = AdaCosLoss(n_classes, n_features)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        rows = torch.randn(32, n_features, generator=generator)
        loss(rows, torch.randint(n_classes, (32,), generator=generator))
    largest = 2 * math.sqrt(2) * math.log(n_classes - 1)
    assert loss.scale.item() <= largest * (1 + 1e-6)


def test_batch_of_nan_leaves_the_scale():
    loss = AdaCosLoss(9, 4)
    before = loss.scale.clone()
    assert loss(torch.full((4, 4), torch.nan), torch.arange(4)).isnan()
    assert loss.scale == before


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_few_classes_have_a_scale_that_learns(n_classes):
    loss = AdaCosLoss(n_classes, 4)
    for _ in range(20):
        loss(torch.randn(8, 4), torch.arange(8) % n_classes)
        assert 0.5 < loss.scale < 3


def test_scale_rests_if_fixed_in_evaluation_and_without_samples():
    rows, labels = torch.eye(4), torch.arange(4)
    for loss in (AdaCosLoss(9, 4, dynamic=False), AdaCosLoss(9, 4).eval()):
        before = loss.scale.clone()
        loss(rows, labels)
        assert loss.scale == before
    loss = AdaCosLoss(9, 4)
    before = loss.scale.clone()
    loss(rows[:0], labels[:0])
    assert loss.scale == before
    loss(rows, labels)
    assert loss.scale != before
    restored = AdaCosLoss(9, 4)
    restored.load_state_dict(loss.state_dict())
    assert restored.scale == loss.scale
