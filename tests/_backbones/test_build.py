import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from sk_dml import CircleEmbedder
from sk_dml._backbones import build_network


def build(module, input_shape=(5,), n_components=3, params=None, **statistics):
    is_image = len(input_shape) == 3
    shape = (input_shape[0], 1, 1) if is_image else input_shape
    dtype = torch.float32 if is_image else torch.float64
    settings = {"mean": torch.zeros(shape, dtype=dtype), "scale": torch.ones(shape)}
    with torch.random.fork_rng(devices=[]):
        return build_network(
            module,
            params or {},
            input_shape=input_shape,
            n_components=n_components,
            **{**settings, **statistics},
        )


class Recorder(torch.nn.Module):
    def __init__(self, n_components, n_features=None, n_channels=None, depth=1):
        super().__init__()
        self.given = n_components, n_features, n_channels, depth
        self.layer = torch.nn.LazyLinear(n_components)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


class Fixed(torch.nn.Module):
    def forward(self, inputs):
        return inputs.flatten(1)


@pytest.mark.parametrize(
    ("module", "input_shape", "name"),
    [
        (None, (5,), "MLP"),
        (None, (1, 8, 8), "ConvNet"),
        ("linear", (5,), "Linear"),
        ("linear", (3, 4, 4), "Linear"),
        ("mlp", (3, 4, 4), "MLP"),
        ("conv", (2, 9, 7), "ConvNet"),
        ("conv", (1, 1, 1), "ConvNet"),
        ("conv", (1, 65, 33), "ConvNet"),
    ],
)
def test_networks_fit_the_data(module, input_shape, name):
    network = build(module, input_shape)
    assert type(network.backbone).__name__ == name
    assert network(torch.zeros(4, *input_shape)).shape == (4, 3)


def test_classes_are_given_what_their_constructor_names():
    assert build(Recorder).backbone.given == (3, 5, None, 1)
    network = build(Recorder, (2, 4, 4), params={"depth": 7})
    assert network.backbone.given == (3, None, 2, 7)
    assert build(Fixed, n_components=5)(torch.zeros(2, 5)).shape == (2, 5)


def test_instances_are_copied():
    module = torch.nn.Linear(5, 3)
    network = build(module)
    assert network.backbone is not module
    assert torch.equal(network.backbone.weight, module.weight)
    X, y = load_wine(return_X_y=True)
    module = torch.nn.Linear(13, 64)
    before = module.weight.detach().clone()
    embedder = CircleEmbedder(module=module, max_epochs=2, random_state=0)
    first = embedder.fit_transform(X, y)
    assert torch.equal(module.weight, before)
    np.testing.assert_array_equal(embedder.fit_transform(X, y), first)


def test_inputs_are_standardised_and_softly_bounded():
    mean = torch.tensor([1e9, 5.0], dtype=torch.float64)
    scale = torch.tensor([2.0, 0.1], dtype=torch.float64)
    network = build(Fixed, (2,), n_components=2, mean=mean, scale=scale)
    rows = torch.tensor([[1e9 + 0.2, 5.0], [1e9 - 0.2, 1e300]], dtype=torch.float64)
    found = network(rows)
    assert found.dtype == torch.float32
    expected = torch.tensor([[0.1, 0.0], [-0.1, 3.0]])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "keywords", "message"),
    [
        ("conv", {}, "module='conv' needs images"),
        (
            Fixed,
            {},
            r"module must return .* \(n, n_components\) = \(2, 3\).* got \(2, 5\)",
        ),
        (torch.nn.Linear(5, 4), {}, r"\(2, 3\) for two samples, got \(2, 4\)"),
        (torch.nn.Linear(6, 3), {}, r"module cannot be applied to .* \(n, 5\)"),
        (torch.nn.LSTM(5, 3), {}, "for two samples, got <class 'tuple'>"),
        (torch.nn.Linear(5, 3), {"params": {"bias": 1}}, "already built"),
        (Recorder, {"params": {"width": 1}}, r"'module__width'.*'module__depth'"),
        ("mlp", {"params": {"hiden": 1}}, r"MLP does not take.*'module__hidden'"),
    ],
)
def test_what_does_not_fit_is_refused(module, keywords, message):
    with pytest.raises(ValueError, match=message):
        build(module, **keywords)
