import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from sk_dml import CircleEmbedder
from sk_dml._inputs._images import ArrayImages
from sk_dml._inputs._rows import Rows
from sk_dml._networks._build import build_network
from sk_dml._training._optimizer import find_head


def build(
    module,
    input_shape=(5,),
    n_components=3,
    params=None,
    mean=None,
    scale=None,
    crop_size=None,
    **settings,
):
    """Build a network for float samples of mean 0 and scale 1, or those given."""
    kind, dtype = (Rows, np.float64) if len(input_shape) == 1 else (ArrayImages, "f4")
    X = np.stack([-np.ones(input_shape, dtype), np.ones(input_shape, dtype)])
    source = kind.from_array(X)
    source.image_size = crop_size
    if mean is not None:
        source.statistics = lambda: (mean, scale)
    with torch.random.fork_rng(devices=[]):
        return build_network(
            module, params or {}, source, n_components=n_components, **settings
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
        (None, (3, 128, 96), "ConvNet"),
        ("features", (5,), "Features"),
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


def test_inputs_are_standardized_and_softly_bounded():
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
        ("linaer", {}, r"'linaer', which is no network.*Did you mean 'linear'\?"),
        ("torch/mlp", {}, "'torch/mlp', which is no network. Allowed are .*timm/NAME"),
        ("mlp", {"augment": "crop"}, "augment='crop' is for images"),
    ],
)
def test_what_does_not_fit_is_refused(module, keywords, message):
    with pytest.raises(ValueError, match=message):
        build(module, **keywords)


def test_parts_have_names_that_last():
    network = build(None, (3, 20, 20), augment="auto", crop_size=16)
    assert [*dict(network.named_children())] == [
        "augment",
        "crop",
        "standardize",
        "backbone",
    ]
    names = [*network.state_dict()]
    assert names[:2] == ["standardize.mean", "standardize.scale"]
    assert names[2] == "backbone.stem.0.weight"
    assert "backbone.blocks.0.convolutions.0.weight" in names
    assert names[-2:] == ["backbone.head.weight", "backbone.head.bias"]
    assert [*dict(build(None).named_children())] == ["standardize", "backbone"]


@pytest.mark.parametrize("augment", ["crop", "affine", None])
def test_crops_are_random_in_training_and_the_middle_otherwise(augment):
    given = {"n_components": 3 * 8 * 8, "augment": augment, "crop_size": 8}
    network = build(Fixed, (3, 12, 10), **given)
    images = torch.rand(2, 3, 12, 10)
    seen = network(images).reshape(2, 3, 8, 8)
    middle = images[:, :, 2:10, 1:9]
    assert torch.allclose(seen, middle) == (augment is None)
    torch.testing.assert_close(network.eval()(images).reshape(2, 3, 8, 8), middle)


def test_a_crop_is_part_of_the_image():
    with pytest.raises(ValueError, match="crop_size=8 is larger than images of 12 x 7"):
        build(Fixed, (3, 12, 7), crop_size=8)


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((1, 8, 8), (4, 4)),
        ((3, 16, 16), (8, 8)),
        ((1, 28, 28), (7, 7)),
        ((3, 32, 32), (8, 8)),
        ((3, 64, 64), (8, 8)),
        ((3, 128, 128), (8, 8)),
        ((3, 20, 128), (2, 8)),
        ((2, 224, 224), (7, 7)),
    ],
)
def test_the_convolutional_network_adapts_to_the_size(shape, last):
    backbone = build(None, shape).backbone
    maps = backbone.blocks(backbone.stem(torch.zeros(2, *shape)))
    assert maps.shape == (2, 128, *last)
    assert find_head(backbone) is backbone.head
    wide = build("conv", shape, params={"widths": (4, 8), "dropout": 0.5}).backbone
    assert wide.head.in_features == 16


def test_features_begin_by_keeping_cosines():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = torch.rand(20, 40, dtype=torch.float64) * 7
    # Statistics of the rows are of no account.
    statistics = {"mean": torch.full((40,), 5.0), "scale": torch.full((40,), 0.1)}
    network = build("features", (40,), 40, **statistics).eval()
    found = torch.nn.functional.normalize(network(rows))
    expected = torch.nn.functional.normalize(rows).float()
    torch.testing.assert_close(
        found @ found.T, expected @ expected.T, atol=1e-2, rtol=0
    )
    scaled = torch.nn.functional.normalize(network(3 * rows))
    torch.testing.assert_close(scaled, found)
    assert network(torch.zeros(2, 40)).isfinite().all()


def test_features_begin_with_what_varies_most_in_a_sample():
    rows = torch.ones(300, 40, dtype=torch.float64)
    rows[:150, 7] = 9
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows += 0.01 * torch.rand(300, 40)
    blocks = [(block, torch.zeros(len(block))) for block in rows.split(64)]
    network = build("features", (40,), 1, sample=lambda: blocks).eval()
    found = network(rows)
    assert abs(found[:150].mean() - found[150:].mean()) > 50 * found[:150].std()
