import pickle
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sk_dml import CircleEmbedder
from sk_dml._inputs._images import ArrayImages
from sk_dml._inputs._rows import Rows
from sk_dml._networks import _build, _pretrained
from sk_dml._networks._build import build_network, fine_tuning
from sk_dml._training._optimizer import find_head

pytest.importorskip("torchvision")
pytest.importorskip("timm")

SHUFFLENET = "torchvision/shufflenet_v2_x0_5"


def build(module, input_shape=(3, 32, 32), largest=1, mean=0.5, scale=0.25, **params):
    kind = ArrayImages if len(input_shape) == 3 else Rows
    dtype = np.uint8 if largest == 255 else np.float32
    source = kind.from_array(np.zeros((2, *input_shape), dtype))
    size = (input_shape[0], 1, 1)
    source.statistics = lambda: (torch.full(size, mean), torch.full(size, scale))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_network(
            module,
            {"weights": None, **params},
            source,
            n_components=5,
        )


@pytest.mark.parametrize(
    ("name", "size", "n_features"),
    [
        ("torchvision/shufflenet_v2_x0_5", 32, 2048),
        ("torchvision/mobilenet_v2", 40, 2560),
        ("torchvision/mobilenet_v3_small", 33, 1152),
        ("torchvision/mnasnet0_5", 32, 2560),
        ("torchvision/squeezenet1_1", 32, 1024),
        ("torchvision/resnet18", 32, 1024),
        ("torchvision/densenet121", 32, 2048),
        ("torchvision/googlenet", 32, 2048),
        ("timm/test_resnet", 32, 192),
        ("timm/test_convnext", 32, 128),
        ("timm/test_efficientnet", 32, 512),
        ("timm/mobilenetv3_small_050", 32, 2048),
        ("timm/test_vit", 160, 64),  # its own pooling
    ],
)
def test_features_are_the_mean_and_maximum_of_the_maps(name, size, n_features):
    network = build(name, (3, size, size)).eval()
    backbone = network.backbone
    assert backbone.head.in_features == n_features
    assert find_head(backbone) is backbone.head
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert network(images).shape == (2, 5)
        features = backbone.body(images)
        if hasattr(backbone.body, "maps"):
            maps = backbone.body.maps(images)
            expected = [maps.mean((2, 3)), maps.amax((2, 3))]
            torch.testing.assert_close(features, torch.cat(expected, 1))
    assert not [n for n in network.state_dict() if "classifier" in n or ".fc." in n]
    network.train()
    network(images).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    "name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "densenet121", "resnet18"]
)
def test_the_mean_is_the_input_of_the_classifier(name):
    from torchvision import models

    backbone = build(f"torchvision/{name}").backbone.eval()
    model = models.get_model(name, weights=None).eval()
    ours = backbone.body.maps.state_dict()
    missing, unexpected = model.load_state_dict(ours, strict=False)
    assert not unexpected
    assert all("classifier" in n or "fc." in n for n in missing)
    received = []
    last = [*model.children()][-1]
    last.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        model(images)
        features = backbone.body(images)
    expected = received[0].flatten(1)
    torch.testing.assert_close(features[:, : expected.shape[1]], expected)


def test_networks_without_a_chain_lose_only_their_last_layer():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.heads = nn.Sequential(nn.Tanh(), nn.Linear(4, 7))

        def forward(self, images):
            return self.heads(2 * self.first(images).mean((2, 3)))

    model = Odd().eval()
    images = torch.rand(2, 3, 8, 8)
    assert _pretrained._trunk("odd", model, images) is None
    _pretrained._remove_last_linear(model)
    expected = (2 * model.first(images).mean((2, 3))).tanh()
    torch.testing.assert_close(model(images), expected)


def test_one_channel_is_repeated_three_times():
    one, three = build(SHUFFLENET, (1, 32, 32)), build(SHUFFLENET)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        embedding = one.eval()(images)
        expected = three.eval()(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(embedding, expected)


def test_names_of_the_state_are_stable():
    names = [*build("torchvision/mobilenet_v2").state_dict()]
    assert names[:3] == [
        "standardize.mean",
        "standardize.scale",
        "backbone.body.maps.features.0.0.weight",
    ]
    assert names[-2:] == ["backbone.head.weight", "backbone.head.center"]
    names = [*build("timm/test_resnet").state_dict()]
    assert names[2] == "backbone.body.maps.model.conv1.0.weight"


@pytest.mark.parametrize(
    ("module", "params", "message"),
    [
        ("torchvision/resnet19", {}, r"no such .*close names are \['resnet18'"),
        ("timm/test_resnets", {}, r"no such .*close names are \['test_resnet'"),
        ("torchvision/", {}, r"model; torchvision\.models\.list_models\(\) lists"),
        ("timm/xyz", {}, r"no such .*model; timm\.list_models\(\) lists"),
        (SHUFFLENET, {"weights": "BEST"}, r"None or one of .*IMAGENET1K_V1"),
        (
            "timm/test_resnet",
            {"weights": "in22k"},
            r"None or one of \['DEFAULT', 'r160_in",
        ),
        ("timm/test_resnet.in22k", {"weights": "DEFAULT"}, "got 'in22k'"),
        (SHUFFLENET, {"depth": 2}, r"cannot be built with .*'depth': 2"),
        ("timm/test_resnet", {"depth": 2}, r"cannot be built with .*'depth': 2"),
        (
            "timm/test_vit",
            {"input_shape": (3, 20, 20)},
            "cannot be applied to images of 20 x 20",
        ),
        (
            "torchvision/squeezenet1_1",
            {"input_shape": (3, 8, 8)},
            "cannot be applied to images of 8 x 8",
        ),
    ],
)
def test_bad_names_arguments_and_sizes_are_refused(module, params, message):
    with pytest.raises(ValueError, match=message):
        build(module, **params)


@pytest.mark.parametrize("shape", [(5,), (2, 32, 32)])
def test_other_samples_are_refused(shape):
    with pytest.raises(ValueError, match="needs images with 1 or 3 channels"):
        build(SHUFFLENET, shape)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_missing_library_is_named(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'sk-dml\[vision\]'"):
        build(f"{library}/resnet18")


def test_missing_weights_are_named(monkeypatch, tmp_path):
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    source = rf"shufflenetv2_x0.5-[0-9a-f]*\.pth in {folder} \(TORCH_HOME\)"
    with pytest.raises(
        OSError, match=rf"no route to host.*{source}.*module__weights .* to None \("
    ):
        build(SHUFFLENET, weights="DEFAULT")
    older = models.MobileNet_V2_Weights.IMAGENET1K_V1
    folder.mkdir(exist_ok=True, parents=True)
    (folder / Path(older.url).name).touch()
    with pytest.raises(
        OSError,
        match=r"'IMAGENET1K_V2' of .*mobilenet_v2-7ebf99e0\.pth in .*"
        "set module__weights .* to 'IMAGENET1K_V1' or None",
    ):
        build("torchvision/mobilenet_v2", weights="DEFAULT")
    import timm

    create = timm.create_model

    def create_model(*args, pretrained=False, **kwargs):
        if pretrained:
            raise RuntimeError("offline")
        return create(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", create_model)
    source = r"timm/test_resnet\.r160_in1k of Hugging Face .*HF_HOME"
    with pytest.raises(OSError, match=f"offline.*{source}.*to None"):
        build("timm/test_resnet", weights="DEFAULT")


@pytest.fixture
def with_weights(monkeypatch):
    """Let torchvision load random weights for its shufflenet; return these."""
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = models.shufflenet_v2_x0_5(weights=None).state_dict()
    asked = types.SimpleNamespace(state=state, keywords=None)

    def get_state_dict(self, **keywords):
        asked.keywords = keywords
        return dict(state)

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", get_state_dict)
    return asked


def test_only_tensors_are_loaded_from_weights(with_weights):
    network = build(SHUFFLENET, weights="IMAGENET1K_V1")
    assert with_weights.keywords["weights_only"] is True
    assert with_weights.keywords["check_hash"] is True
    prefix = "backbone.body.maps."
    loaded = {
        name.removeprefix(prefix): value
        for name, value in network.state_dict().items()
        if name.startswith(prefix)
    }
    assert set(with_weights.state) - set(loaded) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(with_weights.state[n], v) for n, v in loaded.items())


# Frozen norms of random weights.
@pytest.mark.filterwarnings("ignore:The embedding has collapsed")
def test_weights_may_be_members_of_torchvisions_enum(with_weights, tmp_path):
    from torchvision.models import ResNet18_Weights, ShuffleNet_V2_X0_5_Weights

    X, y = images()
    member = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    named = CircleEmbedder(4, net_params={"module__weights": member.name}, **SMALL)
    params = {**SMALL, "checkpoint_dir": tmp_path}
    given = CircleEmbedder(4, net_params={"module__weights": member}, **params)
    assert clone(given).get_params()["module__weights"] is member
    expected = named.fit(X, y).transform(X)
    np.testing.assert_array_equal(given.fit(X, y).transform(X), expected)
    again = pickle.loads(pickle.dumps(clone(given))).fit(X, y)  # from the checkpoint
    np.testing.assert_array_equal(again.transform(X), expected)
    other = clone(given).set_params(module__weights=None)
    with pytest.raises(ValueError, match=r"X0_5_Weights\.IMAGENET1K_V1.*None"):
        other.fit(X, y)
    for wrong in (ResNet18_Weights.IMAGENET1K_V1, ["DEFAULT"], True):
        named.set_params(module__weights=wrong)
        with pytest.raises(
            ValueError, match=r"must be None or one of \['DEFAULT', 'IMAG"
        ):
            named.fit(X, y)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("largest", [1, 255])
def test_images_are_standardized_as_the_weights_expect(
    with_weights, n_channels, largest
):
    network = build(
        SHUFFLENET,
        (n_channels, 32, 32),
        weights="DEFAULT",
        largest=largest,
        mean=0.4 * largest,
        scale=0.2 * largest,
    )
    values = torch.tensor([0.485, 0.456, 0.406]) + torch.tensor([0.229, 0.224, 0.225])
    images = largest * values[None, :, None, None].expand(2, 3, 4, 4)
    standardized = network.standardize(images)
    torch.testing.assert_close(standardized, torch.ones(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 255.0, "0 to 255, where 1 was"),
        (-1.0, 1.0, "-1 to 1, where 1 was"),
        (-0.5, 0.5, "-0.5 to 0.5, where 1 was"),
        (0.0, 2.0, "0 to 2, where 1 was"),
        (-2.1, 2.6, "-2.1 to 2.6, where 1 was"),
        (0, 1, "0 to 1, where 255 was"),
        (0.0, 1.0, None),
        (0.2, 0.4, None),
        (-0.1, 1.1, None),  # resampling may overshoot
        (0, 255, None),
        (0, 0, None),
        (7, 100, None),
    ],
)
def test_values_of_another_scale_are_refused(with_weights, low, high, message):
    # A few bright pixels: neither the mean nor the deviation would tell.
    X, y = images()
    X = np.where(X > 240, high, low).astype(np.uint8 if type(low) is int else float)
    embedder = CircleEmbedder(4, **SMALL)
    if message is None:
        with warnings.catch_warnings():
            # Frozen norms of random weights.
            warnings.filterwarnings("ignore", "The embedding has collapsed")
            embedder.fit(X, y)
        return
    with pytest.raises(ValueError, match=f"0 to 1, as float; got values .* {message}"):
        embedder.fit(X, y)


def test_settings_for_pretrained_networks(with_weights):
    pretrained = build(SHUFFLENET, weights="DEFAULT")
    backbone_lr, settings = fine_tuning(pretrained, 1e-2, None)
    assert backbone_lr == pytest.approx(1e-2 * _build.BACKBONE_SHARE)
    assert settings == {"freeze_batch_norm": True}
    assert fine_tuning(pretrained, 1e-2, 0) == (0, settings)
    assert fine_tuning(build(SHUFFLENET), 1e-2, None) == (None, {})
    without_norms = nn.Sequential()
    without_norms.backbone = _pretrained.NamedNet(
        nn.Flatten(), 4, 3, pretrained[-1].statistics
    )
    assert fine_tuning(without_norms, 1.0, 0.5) == (0.5, {"freeze_batch_norm": False})


def images(n=16, size=32):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(n, 3, size, size)).astype(np.uint8)
    return X, np.arange(n) % 4


SMALL = {"max_epochs": 1, "batch_size": 8, "random_state": 0, "module": SHUFFLENET}


# Frozen norms of random weights.
@pytest.mark.filterwarnings("ignore:The embedding has collapsed")
def test_fit_trains_the_body_and_keeps_its_batch_norms(with_weights):
    X, y = images()
    embedder = CircleEmbedder(4, **SMALL).fit(X, y)
    maps = embedder.net_.module_.backbone.body.maps.state_dict()
    before = with_weights.state
    moved = {n for n, v in maps.items() if not torch.equal(v, before[n])}
    assert "conv1.0.weight" in moved
    assert not {n for n in moved if n.startswith("conv1.1.")}  # a batch norm
    rates = {group["lr"] for group in embedder.net_.optimizer_.param_groups}
    assert len(rates) == 2
    assert max(rates) == pytest.approx(min(rates) / _build.BACKBONE_SHARE)
    given = {"backbone_lr": 1e-3, "net_params": {"freeze_batch_norm": False}}
    embedder = CircleEmbedder(4, **SMALL, **given).fit(X, y)
    maps = embedder.net_.module_.backbone.body.maps.state_dict()
    assert not torch.equal(maps["conv1.1.running_mean"], before["conv1.1.running_mean"])


@pytest.mark.parametrize("module", [SHUFFLENET, "timm/test_resnet"])
def test_embedders_with_named_networks(module):
    X, y = images()
    params = {**SMALL, "module": module, "net_params": {"module__weights": None}}
    embedder = CircleEmbedder(4, **params)
    pipeline = make_pipeline(clone(embedder), KNeighborsClassifier(1)).fit(X, y)
    assert pipeline.predict(X).shape == y.shape
    embedding = pipeline[0].transform(X)
    copied = pickle.loads(pickle.dumps(pipeline[0]))
    np.testing.assert_array_equal(copied.transform(X), embedding)
    np.testing.assert_array_equal(embedder.fit(X, y).transform(X), embedding)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)
