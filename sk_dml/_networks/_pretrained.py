"""Networks of torchvision and timm by name, with pretrained or random weights."""

import difflib
import importlib
import os
import re
import sys
from collections import OrderedDict

import torch
from torch import nn

from sk_dml._networks._default import FeatureHead, MeanMaxPool

LIBRARIES = ("torchvision", "timm")
# torchvision's weights of these were trained elsewhere, on values from -1 to 1.
CENTERED = {"googlenet", "inception_v3"}


class NamedNet(nn.Module):
    """A library's network without its classifier, and a head for the embedding.

    ``body`` maps images with three channels to features (n, n_features). ``statistics``
    are the mean and the deviation per channel of the values in [0, 1] that the weights
    were trained on, None for random weights.
    """

    def __init__(
        self, body, n_features, n_components, statistics, start="discriminant"
    ):
        super().__init__()
        self.body = body
        n_parts = 2 if hasattr(body, "pool") else 1
        self.head = FeatureHead(n_features, n_components, n_parts, start=start)
        self.statistics = statistics

    def forward(self, images):
        return self.head(self.features(images))

    def features(self, images):
        """Return the head's inputs (n, n_features) for images (n, 1 or 3, H, W)."""
        images = images.expand(-1, 3, -1, -1)
        # On CPUs a step takes two thirds of the time in this layout.
        return self.body(images.contiguous(memory_format=torch.channels_last))


class _TimmMaps(nn.Module):
    """A timm network whose feature maps are (n, C, H, W)."""

    def __init__(self, model, channels_last):
        super().__init__()
        self.model, self.channels_last = model, channels_last

    def forward(self, images):
        maps = self.model(images)
        return maps.permute(0, 3, 1, 2) if self.channels_last else maps


def build_named(module, params, *, input_shape, n_components, is_image=True):
    """Return the NamedNet for "torchvision/NAME" or "timm/NAME".

    ``params`` are arguments for the library's constructor, besides ``weights``
    ("DEFAULT", a name, for torchvision also an enum member, or None) and ``start``.
    """
    library, _, name = module.partition("/")
    if not is_image or input_shape[0] not in (1, 3):
        raise ValueError(
            f"module={module!r} needs images with 1 or 3 channels, got samples of "
            f"shape {input_shape}."
        )
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            f"module={module!r} needs {library}: pip install 'sk-dml[vision]'."
        ) from error
    params = dict(params)
    weights = params.pop("weights", "DEFAULT")
    start = params.pop("start", "discriminant")
    images = torch.linspace(-2, 2, 6 * input_shape[1] * input_shape[2])
    images = images.reshape(2, 3, *input_shape[1:])
    build = _from_torchvision if library == "torchvision" else _from_timm
    body, statistics = build(name, weights, params, images)
    n_features = _apply(module, body.eval(), images).shape[1]
    return NamedNet(body.train(), n_features, n_components, statistics, start)


def _from_torchvision(name, weights, params, images):
    """Return the body, and the statistics that its weights expect."""
    from torchvision import models

    module = f"torchvision/{name}"
    _check_name(module, name, models.list_models(module=models))
    known = models.get_model_weights(name)
    choices = {w.name: w for w in known} | {"DEFAULT": known.DEFAULT}
    if isinstance(weights, known):
        weights = weights.name
    if weights is not None and str(weights) not in choices:
        raise _unknown_weights(module, weights, choices)
    if name in CENTERED:
        params = {"aux_logits": False, "init_weights": weights is None, **params}
    try:
        model = models.get_model(name, **params).eval()
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise _not_built(module, params, error) from error
    statistics = None
    if weights is not None:
        weights = choices[weights]
        _load(module, model, weights)
        preset = weights.transforms()
        statistics = tuple(preset.mean), tuple(preset.std)
        if name in CENTERED:
            statistics = (0.5,) * 3, (0.5,) * 3
    trunk = _trunk(module, model, images)
    return _remove_last_linear(model) if trunk is None else _pooled(trunk), statistics


def _load(module, model, weights):
    """Load torchvision's weights, and nothing but tensors from their file."""
    try:
        state = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        files = {w.name: os.path.basename(w.url) for w in type(weights)}
        source = f"{files[weights.name]} in {folder} (TORCH_HOME)"
        present = [
            name
            for name, file in files.items()
            if name != weights.name and os.path.isfile(os.path.join(folder, file))
        ]
        raise _not_loaded(module, weights.name, error, source, present) from error
    if "densenet" in module:  # whose files hold the names of an early version
        state = {
            re.sub(r"\.(norm|relu|conv)\.(\d)\.", r".\1\2.", key): value
            for key, value in state.items()
        }
    missing, _ = model.load_state_dict(state, strict=False)
    if missing:
        raise ValueError(
            f"module={module!r} with these arguments has parameters that the weights "
            f"{weights.name} lack: {missing[:3]}."
        )


def _trunk(module, model, images):
    """Return the children before the pooling if they form a chain, else None.

    They do if, called one after another, they return what the pooling, or the
    classifier after it, receives in the network itself.
    """
    children = list(model.named_children())
    names = [name for name, _ in children]
    n_before = names.index("avgpool") if "avgpool" in names else len(names) - 1
    received: list[torch.Tensor] = []
    hook = children[n_before][1].register_forward_pre_hook(
        lambda _, inputs: received.append(inputs[0])
    )
    _apply(module, model, images)
    hook.remove()
    trunk = nn.Sequential(OrderedDict(children[:n_before]))
    if "densenet" in module:  # which calls this as a function
        trunk.add_module("relu_", nn.ReLU())
    try:
        with torch.no_grad():
            maps = trunk(images)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError):
        return None
    is_chain = maps.ndim == 4 and any(
        values.shape == tensor.shape and torch.allclose(values, tensor, atol=1e-5)
        for values in (maps, maps.mean((2, 3)))
        for tensor in received
    )
    return trunk if is_chain else None


def _pooled(trunk):
    return nn.Sequential(OrderedDict(maps=trunk, pool=MeanMaxPool()))


def _remove_last_linear(model):
    name = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def _from_timm(name, weights, params, images):
    """Return the body, and the statistics that its weights expect."""
    import timm

    module = f"timm/{name}"
    architecture, _, tag = name.partition(".")
    _check_name(module, architecture, timm.list_models())
    tags = [
        known.partition(".")[2]
        for known in timm.list_pretrained(f"{architecture}*")
        if known.partition(".")[0] == architecture
    ]
    if weights is not None:
        chosen = tag if weights == "DEFAULT" else weights
        if chosen not in ["", *tags] or not tags:
            raise _unknown_weights(module, chosen or weights, ["DEFAULT", *tags])
        architecture = f"{architecture}.{chosen}".removesuffix(".")

    def create(**options):
        if weights is not None:
            options["pretrained"] = True
        try:
            return timm.create_model(
                architecture, num_classes=0, **options, **params
            ).eval()
        except Exception as error:
            is_argument = isinstance(error, AssertionError | TypeError | ValueError)
            if weights is None or is_argument:
                raise _not_built(module, params, error) from error
            config = timm.get_pretrained_cfg(architecture)
            source = f"{config and config.hf_hub_id} of Hugging Face (HF_HOME)"
            raise _not_loaded(module, weights, error, source) from error

    pooled = create()
    statistics = None
    if weights is not None:
        config = pooled.pretrained_cfg
        statistics = tuple(config["mean"]), tuple(config["std"])
    try:
        model = create(global_pool="")
        with torch.no_grad():
            maps = model(images)
    except (AssertionError, RuntimeError, ValueError):
        return pooled, statistics
    n_features = _apply(module, pooled, images).shape[-1]
    if maps.ndim != 4 or n_features not in (maps.shape[1], maps.shape[3]):
        return pooled, statistics
    trunk = _TimmMaps(model, channels_last=maps.shape[1] != n_features)
    return _pooled(trunk), statistics


def _apply(module, network, images):
    """Return a network's outputs without gradients; name the module in errors."""
    try:
        with torch.no_grad():
            return network(images)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"module={module!r} cannot be applied to images of "
            f"{images.shape[2]} x {images.shape[3]}: {error}"
        ) from error


def _check_name(module, name, names):
    if name not in names:
        close = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
        library = module.partition("/")[0]
        listing = "torchvision.models" if library == "torchvision" else library
        hint = f"close names are {close}; " if close else ""
        raise ValueError(
            f"module={module!r}: {library} has no such classification model; {hint}"
            f"{listing}.list_models() lists all."
        )


def _not_built(module, params, error):
    return ValueError(
        f"module={module!r} cannot be built with the arguments {params} (module__* in "
        f"net_params): {error}"
    )


def _unknown_weights(module, weights, choices):
    return ValueError(
        f"module__weights must be None or one of {sorted(choices)} for "
        f"module={module!r}, got {weights!r}."
    )


def _not_loaded(module, weights, error, source, present=()):
    """Return the error for weights that were neither found nor downloaded."""
    choices = " or ".join([*map(repr, present), "None (random weights)"])
    return OSError(
        f"The weights {weights!r} of module={module!r} could not be loaded "
        f"({type(error).__name__}: {error}). They are {source}, downloaded once. "
        f"Offline, set module__weights in net_params to {choices}."
    )
