import pytest
import torch

from sk_dml.losses import (
    LiftedStructureLoss,
    MarginLoss,
    NCALoss,
    NPairsLoss,
    NTXentLoss,
    ProxyNCALoss,
    SmoothAPLoss,
    SupConLoss,
)


@pytest.mark.parametrize(
    "loss", [NTXentLoss(0.0002), SupConLoss(0.0002), NCALoss(0.0002)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hardest_positive_keeps_its_gradient_at_small_temperatures(loss, dtype):
    # A positive opposite to its anchor, whose probability is far below any float.
    rows = [[1.0, 0.1], [-1.0, 0.1], [1.0, 0.0], [0.9, -0.1]]
    embeddings = torch.tensor(rows, dtype=dtype, requires_grad=True)
    value = loss(embeddings, torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.isfinite()
    assert value > 1000
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad[1].norm() > 1


def test_hardest_positive_keeps_its_gradient_at_large_scales():
    loss = ProxyNCALoss(2, 2, scale=1e4)
    with torch.no_grad():
        loss.proxies.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    embeddings = torch.tensor([[0.1, 1.0]], requires_grad=True)
    loss(embeddings, torch.tensor([0])).backward()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.norm() > 1000


@pytest.mark.parametrize(
    "loss",
    [
        NTXentLoss(),
        SupConLoss(),
        LiftedStructureLoss(),
        NPairsLoss(),
        SmoothAPLoss(),
        MarginLoss(),
    ],
)
def test_memory_is_linear_in_the_pairs(loss):
    # 512 samples, 64 a class: pairs x negatives would be 14 million numbers a matrix.
    n = 512
    embeddings = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    embeddings.requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(embeddings, torch.arange(n) // 64).backward()
    assert kept
    assert max(kept) <= n * n
    assert sum(kept) <= 20 * n * n
