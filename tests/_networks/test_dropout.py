"""Dropout with few random numbers does what torch's does."""

import pytest
import torch

from sk_dml._networks._default import Dropout
from sk_dml._utils._random import torch_seed

CPU = torch.device("cpu")


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_share_and_mean(p, dtype):
    inputs = torch.ones(1000, 1001, dtype=dtype)
    with torch_seed(0, CPU):
        outputs = Dropout(p)(inputs)
    assert outputs.dtype == dtype
    n, dropped = inputs.numel(), (outputs == 0).float()
    # Five standard deviations of a count of independent draws.
    bound = 5 * (p * (1 - p) / n) ** 0.5
    assert abs(dropped.mean().item() - p) < bound + 2**-17
    assert outputs.max().item() == pytest.approx(1 / (1 - p), rel=2**-12 / (1 - p))
    assert outputs.double().mean().item() == pytest.approx(1, abs=bound / (1 - p))
    # Neither neighbours in a row nor those in a column depend on each other.
    for one, other in [(dropped[:, 1:], dropped[:, :-1]), (dropped[1:], dropped[:-1])]:
        covariance = ((one - p) * (other - p)).mean().item()
        assert abs(covariance) < 5 * p * (1 - p) / n**0.5 + 2**-16


def test_gradient_is_that_of_what_is_kept():
    inputs = torch.randn(7, 5, requires_grad=True)  # 35: no multiple of four
    outputs = Dropout(0.5)(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad * inputs, outputs)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing(p):
    inputs = torch.randn(3, 4)
    torch.testing.assert_close(Dropout(p)(inputs), (1 - p) * inputs)


def test_evaluation_and_empty_batches():
    inputs = torch.randn(3, 4)
    layer = Dropout(0.5)
    assert layer(inputs[:0]).shape == (0, 4)
    assert layer.eval()(inputs) is inputs


def test_draws_from_the_global_generator():
    inputs = torch.ones(64, 64)
    with torch_seed(3, CPU):
        one, other = Dropout(0.5)(inputs), Dropout(0.5)(inputs)
    with torch_seed(3, CPU):
        again = Dropout(0.5)(inputs)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_compiled_networks_drop_the_same():
    network = torch.nn.Sequential(Dropout(0.5), Dropout(0.25))
    compiled = torch.compile(network, backend="aot_eager")
    inputs = torch.randn(64, 32, requires_grad=True)
    gradients = []
    for run in (network, compiled):
        with torch_seed(3, CPU):
            gradients += torch.autograd.grad(run(inputs).square().sum(), inputs)
    torch.testing.assert_close(*gradients)
