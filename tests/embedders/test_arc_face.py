import numpy as np
import pytest
import torch

from sk_dml.losses import ArcFaceLoss


@pytest.mark.parametrize("offset", [0.0, 1e-7, 1e-5, 3e-4, 1e-2])
@pytest.mark.parametrize("sign", [1, -1])
def test_finite_where_the_cosine_is_one(offset, sign):
    loss = ArcFaceLoss(2, 2)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(2))
    row = [sign * np.cos(offset), np.sin(offset)]
    embeddings = torch.tensor([row], dtype=torch.float32, requires_grad=True)
    value = loss(embeddings, torch.tensor([0]))
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()
    assert loss.proxies.grad.isfinite().all()


def test_own_logit_falls_with_the_angle():
    # Also beyond the angle at which cos(angle + margin) would rise again.
    loss = ArcFaceLoss(2, 2, margin=0.5, scale=1.0).double()
    with torch.no_grad():
        loss.proxies.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    angles = torch.linspace(0.0, np.pi, 400, dtype=torch.float64)
    own = []
    for angle in angles:
        row = torch.stack([angle.cos(), angle.sin()])[None]
        other = row[0, 1].neg()
        value = loss(row, torch.tensor([0]))
        # value = log(1 + exp(other - own))
        own.append(other - torch.log(torch.expm1(value)))
    assert (torch.stack(own).diff() < 0).all()
