import pytest
import torch
from torch import nn

from sk_dml._backbones._layers import Conv2d


@pytest.mark.parametrize("n_channels", [1, 3])
def test_convolution_is_that_of_torch_with_channels_last(n_channels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Conv2d(n_channels, 4, 3, padding=1)
        inputs = torch.randn(5, n_channels, 6, 7)
    plain = nn.Conv2d(n_channels, 4, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    outputs, expected = layer(inputs), plain(inputs)
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)
        assert ours.is_contiguous()
        assert ours.grad.is_contiguous()
