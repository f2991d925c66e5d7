import pytest
import torch
from torch import nn

from sk_dml._backbones._layers import Conv2d, FeatureHead


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


def unit_parts(rows, n_parts):
    parts = nn.functional.normalize(rows.unflatten(1, (n_parts, -1)), dim=2)
    return parts.flatten(1)


@pytest.mark.parametrize("n_parts", [1, 2])
def test_feature_head_begins_with_the_principal_axes(n_parts):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = FeatureHead(12, 3, n_parts).eval()
        rows = torch.randn(50, 3) @ torch.randn(3, 12) + torch.randn(12)
        axes = head.weight / head.gain
    torch.testing.assert_close(axes @ axes.T, torch.eye(3))
    head.start_from(rows)
    unit = unit_parts(rows, n_parts)
    centred = unit - unit.mean(0)
    found = (head(rows) - head(rows).mean(0)) / (head.gain * (12 / n_parts) ** 0.5)
    # No three directions tell more of the rows.
    expected = torch.linalg.svdvals(centred)[:3]
    torch.testing.assert_close(torch.linalg.svdvals(found), expected)
    # Lengths of the parts are of no account.
    torch.testing.assert_close(head(7 * rows), head(rows))
    assert head(torch.zeros(2, 12)).isfinite().all()


def test_feature_head_with_fewer_samples_than_axes():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = FeatureHead(12, 6)
        rows = torch.randn(4, 12)
    before = head.weight.detach().clone()
    head.start_from(rows)
    assert not torch.allclose(head.weight[:3], before[:3])
    assert torch.equal(head.weight[3:], before[3:])
    head.start_from(rows[:1])  # has no axis
    assert head.weight.isfinite().all()
