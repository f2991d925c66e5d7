import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from sk_dml._networks._default import SHRINKAGE, Conv2d, Dropout, FeatureHead
from sk_dml._utils._torch import torch_seed

CPU = torch.device("cpu")


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_keeps_the_share_and_the_mean(p, dtype):
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
    # Neighbors in rows and in columns are independent.
    for one, other in [(dropped[:, 1:], dropped[:, :-1]), (dropped[1:], dropped[:-1])]:
        covariance = ((one - p) * (other - p)).mean().item()
        assert abs(covariance) < 5 * p * (1 - p) / n**0.5 + 2**-16


def test_dropout_passes_the_gradient_of_kept_units():
    inputs = torch.randn(7, 5, requires_grad=True)  # 35 is no multiple of four
    outputs = Dropout(0.5)(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad * inputs, outputs)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_or_everything(p):
    inputs = torch.randn(3, 4)
    torch.testing.assert_close(Dropout(p)(inputs), (1 - p) * inputs)


def test_dropout_in_evaluation_and_of_empty_batches():
    inputs = torch.randn(3, 4)
    layer = Dropout(0.5)
    assert layer(inputs[:0]).shape == (0, 4)
    assert layer.eval()(inputs) is inputs


def test_dropout_draws_from_the_global_generator():
    inputs = torch.ones(64, 64)
    with torch_seed(3, CPU):
        one, other = Dropout(0.5)(inputs), Dropout(0.5)(inputs)
    with torch_seed(3, CPU):
        again = Dropout(0.5)(inputs)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_compiled_dropout_draws_the_same():
    network = torch.nn.Sequential(Dropout(0.5), Dropout(0.25))
    compiled = torch.compile(network, backend="aot_eager")
    inputs = torch.randn(64, 32, requires_grad=True)
    gradients = []
    for run in (network, compiled):
        with torch_seed(3, CPU):
            gradients += torch.autograd.grad(run(inputs).square().sum(), inputs)
    torch.testing.assert_close(*gradients)


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


def random_rows(n, width, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def make_head(*args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeatureHead(*args, **kwargs).eval()


@pytest.mark.parametrize("n_parts", [1, 2])
def test_feature_head_begins_with_the_principal_axes(n_parts):
    """Without two samples of one class there is no covariance to scale by."""
    head = make_head(12, 3, n_parts)
    axes = head.weight / head.gain
    torch.testing.assert_close(axes @ axes.T, torch.eye(3))
    rows = random_rows(50, 3) @ random_rows(3, 12, 1) + random_rows(1, 12, 2)
    head.start_from(rows, torch.arange(50))
    unit = unit_parts(rows, n_parts)
    centered = unit - unit.mean(0)
    embedding = head(rows) / (head.gain * (12 / n_parts) ** 0.5)
    torch.testing.assert_close(embedding.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    # No three directions hold more of the variance.
    expected = torch.linalg.svdvals(centered)[:3]
    torch.testing.assert_close(torch.linalg.svdvals(embedding), expected)
    # Lengths of the parts do not matter.
    torch.testing.assert_close(head(7 * rows), head(rows))
    assert head(torch.zeros(2, 12)).isfinite().all()


def test_feature_head_begins_with_discriminant_axes():
    """With the covariance of scikit-learn's shrunk LDA."""
    labels = torch.arange(300) % 4
    rows = (
        5
        + random_rows(4, 12)[labels]
        + random_rows(300, 12, 1) @ random_rows(12, 12, 2)
    )
    head = make_head(12, 3)
    head.start_from(rows, labels)
    unit = unit_parts(rows, 1).double().numpy()
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
    within = lda.fit(unit, labels.numpy()).covariance_
    # The largest ratios of the total variance to that within classes.
    total = np.cov(unit.T, bias=True)
    ratios = eigh(total, within, eigvals_only=True)[::-1][:3]
    weight = head.weight.detach().double().numpy()
    scale = np.diag(weight @ within @ weight.T)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
    np.testing.assert_allclose(
        weight @ within @ weight.T, np.diag(scale), atol=1e-3 * scale[0]
    )
    np.testing.assert_allclose(
        np.diag(weight @ total @ weight.T) / scale, ratios, rtol=1e-3
    )


def test_feature_head_may_ignore_classes():
    rows, labels = random_rows(30, 12), torch.arange(30) % 4
    unaware = make_head(12, 3, start="principal")
    unaware.start_from(rows, labels)
    no_classes = make_head(12, 3)
    no_classes.start_from(rows, torch.arange(30))
    assert torch.equal(unaware.weight, no_classes.weight)
    with pytest.raises(ValueError, match=r"module__start must be .* got 'random'"):
        FeatureHead(12, 3, start="random")


@pytest.mark.parametrize("n_classes", [1, 2, 4])
def test_feature_head_with_fewer_samples_than_axes(n_classes):
    head = make_head(12, 6)
    rows = random_rows(4, 12)
    before = head.weight.detach().clone()
    head.start_from(rows, torch.arange(4) % n_classes)
    assert not torch.allclose(head.weight[:3], before[:3])
    assert torch.equal(head.weight[3:], before[3:])
    assert head.weight.isfinite().all()


@pytest.mark.parametrize(
    "rows", [random_rows(1, 12), torch.ones(5, 12), torch.zeros(5, 12)]
)
def test_feature_head_stays_finite_if_samples_are_equal(rows):
    head = make_head(12, 6)
    head.start_from(rows, torch.zeros(len(rows)).long())
    assert head.weight.isfinite().all()
    assert head(random_rows(3, 12)).isfinite().all()
    assert (head.weight.norm(dim=1) > 1).all()
