import pytest
import torch

from sk_dml.losses import LiftedStructureLoss


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_close_pairs_of_long_rows_keep_their_gradient(offset):
    # Products of rows cannot tell such pairs from coincident ones in float32.
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(20, 16, generator=generator) * 3 + offset
    rows = centers.repeat_interleave(2, 0)
    rows[1::2] += 1e-2 * torch.randn(20, 16, generator=generator)
    labels = torch.arange(40) // 2
    gradients = []
    for dtype in (torch.float32, torch.float64):
        batch = rows.to(dtype).clone().requires_grad_()
        LiftedStructureLoss(margin=30.0)(batch, labels).backward()
        gradients.append(batch.grad.double())
    assert gradients[1].norm(dim=1).min() > 0.01
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
