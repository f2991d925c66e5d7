import numpy as np
import pytest
import torch

from sk_dml.losses import SphereFaceLoss


def test_margin_is_annealed_in():
    loss = SphereFaceLoss(3, 4)
    rows, labels = torch.eye(4)[:3], torch.arange(3)
    values = [loss(rows, labels).item() for _ in range(40)]
    assert loss.n_steps == 40
    assert (np.diff(values) > 0).all()  # the own angle counts for more and more
    # Without annealing, cos(4 t) - ... alone would be far larger still.
    loss.n_steps.fill_(10**9)
    last = loss(rows, labels).item()
    assert last > values[-1]
    loss.n_steps.fill_(2 * 10**9)
    assert loss(rows, labels).item() == last
    restored = SphereFaceLoss(3, 4)
    restored.load_state_dict(loss.state_dict())
    assert restored.n_steps == loss.n_steps
    loss.eval()(rows, labels)
    assert restored.n_steps == loss.n_steps


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 7])
def test_multiplied_angle_falls_all_the_way(margin):
    loss = SphereFaceLoss(2, 2, margin=margin)
    angles = torch.linspace(0, torch.pi, 500, dtype=torch.float64)
    found = loss._multiply(angles.cos())
    assert found[0].item() == pytest.approx(1)
    assert found[-1].item() == pytest.approx(1 - 2 * margin)
    assert (found.diff() < 1e-12).all()
    if margin == 1:
        torch.testing.assert_close(found, angles.cos())


@pytest.mark.parametrize("sign", [1, -1])
def test_finite_where_the_cosine_is_one(sign):
    loss = SphereFaceLoss(2, 2)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(2))
    row = torch.tensor([[sign * 1.0, 0.0]], requires_grad=True)
    loss(row, torch.tensor([0])).backward()
    assert row.grad.isfinite().all()
    assert loss.proxies.grad.isfinite().all()
