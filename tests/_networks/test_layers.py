import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from sk_dml._networks._default import SHRINKAGE, Conv2d, FeatureHead


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


def as_numbers(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def head_of(*args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeatureHead(*args, **kwargs).eval()


@pytest.mark.parametrize("n_parts", [1, 2])
def test_feature_head_begins_with_the_principal_axes(n_parts):
    """Where no two samples are of one class, nothing is to be scaled."""
    head = head_of(12, 3, n_parts)
    axes = head.weight / head.gain
    torch.testing.assert_close(axes @ axes.T, torch.eye(3))
    rows = as_numbers(50, 3) @ as_numbers(3, 12, 1) + as_numbers(1, 12, 2)
    head.start_from(rows, torch.arange(50))
    unit = unit_parts(rows, n_parts)
    centred = unit - unit.mean(0)
    found = head(rows) / (head.gain * (12 / n_parts) ** 0.5)
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    # No three directions tell more of the rows.
    expected = torch.linalg.svdvals(centred)[:3]
    torch.testing.assert_close(torch.linalg.svdvals(found), expected)
    # Lengths of the parts are of no account.
    torch.testing.assert_close(head(7 * rows), head(rows))
    assert head(torch.zeros(2, 12)).isfinite().all()


def test_feature_head_begins_with_the_axes_that_tell_classes_apart():
    """They are those of scikit-learn's shrunk LDA, which has no more than classes."""
    labels = torch.arange(300) % 4
    rows = (
        5 + as_numbers(4, 12)[labels] + as_numbers(300, 12, 1) @ as_numbers(12, 12, 2)
    )
    head = head_of(12, 3)
    head.start_from(rows, labels)
    unit = unit_parts(rows, 1).double().numpy()
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
    within = lda.fit(unit, labels.numpy()).covariance_
    # The same covariance, and every sample instead of the means of classes: the largest
    # ratios of the variance of all to that.
    total = np.cov(unit.T, bias=True)
    ratios = eigh(total, within, eigvals_only=True)[::-1][:3]
    weight = head.weight.detach().double().numpy()
    scale = np.diag(weight @ within @ weight.T)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
    np.testing.assert_allclose(
        weight @ within @ weight.T, np.diag(scale), atol=1e-3 * scale[0]
    )
    found = np.diag(weight @ total @ weight.T) / scale
    np.testing.assert_allclose(found, ratios, rtol=1e-3)


def test_feature_head_may_begin_without_classes():
    rows, labels = as_numbers(30, 12), torch.arange(30) % 4
    unaware = head_of(12, 3, start="principal")
    unaware.start_from(rows, labels)
    no_classes = head_of(12, 3)
    no_classes.start_from(rows, torch.arange(30))
    assert torch.equal(unaware.weight, no_classes.weight)
    with pytest.raises(ValueError, match=r"module__start must be .* got 'random'"):
        FeatureHead(12, 3, start="random")


@pytest.mark.parametrize("n_classes", [1, 2, 4])
def test_feature_head_with_fewer_samples_than_axes(n_classes):
    head = head_of(12, 6)
    rows = as_numbers(4, 12)
    before = head.weight.detach().clone()
    head.start_from(rows, torch.arange(4) % n_classes)
    assert not torch.allclose(head.weight[:3], before[:3])
    assert torch.equal(head.weight[3:], before[3:])
    assert head.weight.isfinite().all()


@pytest.mark.parametrize(
    "rows", [as_numbers(1, 12), torch.ones(5, 12), torch.zeros(5, 12)]
)
def test_feature_head_stays_where_samples_do_not_differ(rows):
    head = head_of(12, 6)
    head.start_from(rows, torch.zeros(len(rows)).long())
    assert head.weight.isfinite().all()
    assert head(as_numbers(3, 12)).isfinite().all()
    assert (head.weight.norm(dim=1) > 1).all()
