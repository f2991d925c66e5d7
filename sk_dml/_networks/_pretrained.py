"""Networks of torchvision and timm by name, pretrained or not."""

import difflib
import importlib
import os
import re
import sys
from collections import OrderedDict

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sk_dml._networks._default import FeatureHead, MeanMaxPool

LIBRARIES = ("torchvision", "timm")
# These expect what others do, but their pretrained weights come from elsewhere.
CENTRED = {"googlenet", "inception_v3"}

# Learning rate of a pretrained body, as a share of its head's.
BACKBONE_SHARE = 0.1


class NamedNet(nn.Module):
    """A network of a library without its classifier, and a head for the embedding.

    Parameters
    ----------
    body : torch.nn.Module
        From images with three channels to features of shape (n, n_features).
    n_features, n_components : int
    statistics : tuple (mean, std) or None
        Of the values in [0, 1] that the weights were trained on, for each of the three
        channels; None for random weights.
    start : {"discriminant", "principal"}, default="discriminant"
        What the head begins with.
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
        """Embed a batch of images; one channel stands for three."""
        return self.head(self.features(images))

    def features(self, images):
        """Compute what the head is given."""
        images = images.expand(-1, 3, -1, -1)
        # On CPUs with this layout a step takes two thirds of the time.
        return self.body(images.contiguous(memory_format=torch.channels_last))


class _TimmMaps(nn.Module):
    """A timm network whose feature maps have their channels second."""

    def __init__(self, model, channels_last):
        super().__init__()
        self.model, self.channels_last = model, channels_last

    def forward(self, images):
        maps = self.model(images)
        return maps.permute(0, 3, 1, 2) if self.channels_last else maps


def build_named(module, params, *, input_shape, n_components):
    """Build a network that a library knows by name.

    Parameters
    ----------
    module : str
        "torchvision/NAME" or "timm/NAME".
    params : dict
        Arguments for the library's constructor; ``weights``: "DEFAULT", the name of
        weights, for torchvision also its enum member, or None for random ones; and
        ``start``, of the head.
    input_shape : tuple of int
        Channels, height and width.
    n_components : int

    Returns
    -------
    NamedNet

    Raises
    ------
    ImportError
        If the library is missing.
    ValueError
        If there is no such network, or there are no such weights, or the arguments or
        the images do not fit.
    OSError
        If the weights can be neither found nor downloaded.
    """
    library, _, name = module.partition("/")
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
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
    with torch.no_grad():
        n_features = _applied(module, body.eval(), images).shape[1]
    return NamedNet(body.train(), n_features, n_components, statistics, start)


def _from_torchvision(name, weights, params, images):
    from torchvision import models

    module = f"torchvision/{name}"
    _check_name(module, name, models.list_models(module=models))
    known = models.get_model_weights(name)
    choices = {w.name: w for w in known} | {"DEFAULT": known.DEFAULT}
    if isinstance(weights, known):
        weights = weights.name
    if weights is not None and str(weights) not in choices:
        raise _unknown_weights(module, weights, choices)
    if name in CENTRED:
        params = {"aux_logits": False, "init_weights": weights is None, **params}
    model = _constructed(module, models.get_model_builder(name), params)
    statistics = None
    if weights is not None:
        weights = choices[weights]
        _load(module, model, weights)
        preset = weights.transforms()
        statistics = tuple(preset.mean), tuple(preset.std)
        if name in CENTRED:
            statistics = (0.5,) * 3, (0.5,) * 3
    model.eval()
    trunk = _trunk(module, model, images)
    if trunk is not None:
        return nn.Sequential(OrderedDict(maps=trunk, pool=MeanMaxPool())), statistics
    _remove_last_linear(model)
    return model, statistics


def _load(module, model, weights):
    """Load weights of torchvision, and nothing but tensors from their file."""
    try:
        state = weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, weights_only=True
        )
    except Exception as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        files = {w.name: os.path.basename(w.url) for w in type(weights)}
        wanted = f"the file {files[weights.name]} in {folder}, where TORCH_HOME says"
        there = [
            name
            for name, file in files.items()
            if name != weights.name and os.path.isfile(os.path.join(folder, file))
        ]
        raise _not_loaded(module, weights.name, error, wanted, there) from error
    if "densenet" in module:  # whose files have the names of an early version
        state = {
            re.sub(r"\.(norm|relu|conv)\.(\d)\.", r".\1\2.", key): value
            for key, value in state.items()
        }
    missing, _ = model.load_state_dict(state, strict=False)
    if missing:
        raise ValueError(
            f"module={module!r} with the arguments given has parameters that the "
            f"weights {weights.name} lack: {missing[:3]}."
        )


def _trunk(module, model, images):
    """Take what comes before the pooling, if it is a chain of submodules.

    That it is one is seen by what it returns: what the pooling, or the classifier
    after it, receives from the whole.
    """
    children = list(model.named_children())
    names = [name for name, _ in children]
    place = names.index("avgpool") if "avgpool" in names else len(names) - 1
    received = []
    hook = children[place][1].register_forward_pre_hook(
        lambda _, arguments: received.append(arguments[0])
    )
    try:
        with torch.no_grad():
            _applied(module, model, images)
    finally:
        hook.remove()
    chain = OrderedDict(children[:place])
    for more in ({}, {"relu_": nn.ReLU()}):  # DenseNet has none of its own
        trunk = nn.Sequential(chain | more)
        try:
            with torch.no_grad():
                maps = trunk(images)
        except (AssertionError, NotImplementedError, RuntimeError, TypeError):
            return None
        expected = received[0] if received else maps.new_empty(0)
        if maps.ndim == 4 and (
            _are_close(maps, expected) or _are_close(maps.mean((2, 3)), expected)
        ):
            return trunk
    return None


def _are_close(found, expected):
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-5)


def _remove_last_linear(model):
    name = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())


def _from_timm(name, weights, params, images):
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

    def create(**pooling):
        def constructor(**arguments):
            return timm.create_model(
                architecture, num_classes=0, **pooling, **arguments
            ).eval()

        if weights is None:
            return _constructed(module, constructor, params)
        try:
            return constructor(pretrained=True, **params)
        except (TypeError, ValueError) as error:
            raise _not_built(module, params, error) from error
        except Exception as error:
            config = timm.get_pretrained_cfg(architecture)
            repository = config and config.hf_hub_id
            wanted = f"{repository} of Hugging Face in its cache, where HF_HOME says"
            raise _not_loaded(module, weights, error, wanted) from error

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
    with torch.no_grad():
        n_features = _applied(module, pooled, images).shape[-1]
    if maps.ndim != 4 or n_features not in (maps.shape[1], maps.shape[3]):
        return pooled, statistics
    trunk = _TimmMaps(model, channels_last=maps.shape[1] != n_features)
    return nn.Sequential(OrderedDict(maps=trunk, pool=MeanMaxPool())), statistics


def _constructed(module, constructor, params):
    try:
        return constructor(**params)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise _not_built(module, params, error) from error


def _not_built(module, params, error):
    return ValueError(
        f"module={module!r} cannot be built with the arguments {params} (net_params "
        f"gives them as module__*): {error}"
    )


def _applied(module, network, images):
    try:
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
        hint = f"Close names are {close}; " if close else ""
        raise ValueError(
            f"module={module!r}: {library} has no such classification model. {hint}"
            f"{listing}.list_models() names all that it has."
        )


def _unknown_weights(module, weights, choices):
    return ValueError(
        f"module__weights={weights!r} is unknown for module={module!r}. Allowed are "
        f"None and {sorted(choices)}."
    )


def _not_loaded(module, weights, error, wanted, there=()):
    """Say which weights are missing, where, and which others ``there`` are."""
    others = "names others"
    if there:
        others = f"takes others that are there already, {' or '.join(map(repr, there))}"
    return OSError(
        f"The weights {weights!r} of module={module!r} could not be loaded "
        f"({type(error).__name__}: {error}). Wanted is {wanted}; it is downloaded "
        f"once, which needs the internet. In net_params, module__weights {others}, and "
        "None for random ones."
    )


def is_pretrained(backbone):
    """Tell whether a backbone has weights that a library trained.

    Parameters
    ----------
    backbone : torch.nn.Module

    Returns
    -------
    bool
    """
    return isinstance(backbone, NamedNet) and backbone.statistics is not None


def fine_tuning(network, lr, backbone_lr):
    """Choose what a training does differently for a pretrained network.

    Parameters
    ----------
    network : torch.nn.Module
        As build_network makes it.
    lr : float
    backbone_lr : float or None
        What the user gave.

    Returns
    -------
    backbone_lr : float or None
        A share of ``lr`` if none was given and the network is pretrained.
    settings : dict
        For the net, unless they are given: batch norms that are pretrained are frozen.
    """
    if not is_pretrained(network.backbone):
        return backbone_lr, {}
    if backbone_lr is None:
        backbone_lr = BACKBONE_SHARE * lr
    norms = any(isinstance(m, _BatchNorm) for m in network.backbone.modules())
    return backbone_lr, {"freeze_batch_norm": norms}
