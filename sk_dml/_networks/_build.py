"""Construction of the network that the ``module`` parameter chooses."""

import copy
import difflib
import inspect
from collections import OrderedDict

import torch
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sk_dml._networks._augment import build_augmentation
from sk_dml._networks._default import (
    MLP,
    CenterCrop,
    ConvNet,
    FeatureHead,
    Features,
    Linear,
    Standardize,
)
from sk_dml._networks._pretrained import LIBRARIES, NamedNet, build_named

NETWORKS = {"linear": Linear, "mlp": MLP, "conv": ConvNet, "features": Features}

# Learning rate of a pretrained body, as a share of its head's.
BACKBONE_SHARE = 0.1
# Resampling may take floats beyond their range, by up to about this share of it.
OVERSHOOT = 0.25


def build_network(
    module, params, source, *, n_components, augment=None, sample=None, device="cpu"
):
    """Return the network: augmentation, standardization, and the backbone after them.

    Parameters
    ----------
    module : None, str, type or torch.nn.Module
        None picks the source's default. A class is called with ``params`` and with
        those of ``n_components``, ``input_shape`` and the source's ``size_names`` that
        its constructor names. An instance is deep-copied. "torchvision/NAME" and
        "timm/NAME" are networks of these libraries.
    params : dict
        Arguments for the constructor of the backbone.
    source : Source
        The training data: their shape, statistics, and what is particular to their
        kind. Of images larger than its ``image_size`` the backbone sees the middle,
        or, in training, random crops.
    n_components : int
        Width of the embedding.
    augment : "auto", "affine", "crop", None or callable, default=None
        What changes samples in training; "auto" is the source's default.
    sample : callable or None, default=None
        Called for a network that starts from learned features: yields training samples,
        tensors of shape (n, ...), with their classes, from which its head begins, and
        which must have the values that pretrained weights expect.
    device : torch.device or str, default="cpu"
        Where the network sees them.

    Returns
    -------
    torch.nn.Sequential
        With the children ``augment`` and ``crop``, where there is something to do,
        ``standardize`` and ``backbone``.
    """
    if isinstance(augment, str) and augment == "auto":
        augment = source.default_augment
    input_shape, crop_size = source.sample_shape, source.image_size
    changes = None
    if augment is not None:
        changes = build_augmentation(augment, source.is_image, crop_size)
    crop, seen_shape = None, input_shape
    if crop_size is not None:
        if crop_size > min(input_shape[1:]):
            raise ValueError(
                f"crop_size={crop_size} is larger than images of {input_shape[1]} x "
                f"{input_shape[2]}."
            )
        crop, seen_shape = CenterCrop(crop_size), (input_shape[0], crop_size, crop_size)
    backbone = _build_backbone(module, params, source, seen_shape, n_components)
    (mean, scale), limit = source.statistics(), source.limit
    if torch.device(device).type == "mps":  # which has no float64
        mean, scale = mean.float(), scale.float()
    if isinstance(backbone, Features):
        mean, scale, limit = torch.zeros_like(mean), torch.ones_like(scale), None
    pretrained = is_pretrained(backbone)
    if pretrained:
        mean, scale = (
            torch.tensor(values, dtype=mean.dtype)[:, None, None] * source.white
            for values in backbone.statistics
        )
    parts = {
        "augment": changes,
        "crop": crop,
        "standardize": Standardize(mean, scale, limit),
        "backbone": backbone,
    }
    present = {name: part for name, part in parts.items() if part is not None}
    network = nn.Sequential(OrderedDict(present))
    _check_output(network, input_shape, n_components, mean.dtype)
    if sample is not None and isinstance(getattr(backbone, "head", None), FeatureHead):
        # Rows are soon computed, in the double precision that some devices lack.
        device = device if source.is_image else "cpu"
        features, labels, (low, high) = _features(network, sample(), device)
        if pretrained:
            _check_range(module, low, high, source.white)
        backbone.head.start_from(features, labels)
    return network


def starts_from_features(module):
    """Return whether a network is a head on features that are learned already."""
    return isinstance(module, str) and (
        module == "features" or module.partition("/")[0] in LIBRARIES
    )


@torch.no_grad()
def _features(network, blocks, device):
    """Return what the head is given, the labels, and the range of the inputs."""
    network.eval().to(device)
    features, labels, ends = [], [], []
    for inputs, classes in blocks:
        outputs = network.backbone.features(network[:-1](inputs.to(device)))
        features.append(outputs.cpu())
        labels.append(classes)
        ends += [inputs.min().item(), inputs.max().item()]
    network.train().cpu()
    return torch.cat(features), torch.cat(labels), (min(ends), max(ends))


def _build_backbone(module, params, source, input_shape, n_components):
    if module is None:
        module = source.default_module
    if isinstance(module, nn.Module):
        if params:
            raise ValueError(
                f"net_params gives {_spelled(params)} for a module that is already "
                "built; pass its class instead of an instance to set them."
            )
        return copy.deepcopy(module)
    if isinstance(module, str):
        if module.partition("/")[0] in LIBRARIES and "/" in module:
            return build_named(
                module,
                params,
                input_shape=input_shape,
                n_components=n_components,
                is_image=source.is_image,
            )
        if module not in NETWORKS:
            close = difflib.get_close_matches(module, NETWORKS)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidParameterError(
                f"The 'module' parameter is {module!r}, which is no network. Allowed "
                f"are {sorted(NETWORKS)}, 'torchvision/NAME', 'timm/NAME', a torch "
                f"Module, its class, and None.{hint}"
            )
    if module == "conv" and not source.is_image:
        raise ValueError(
            "module='conv' needs images of shape (n, height, width), (n, channels, "
            f"height, width) or (n, height, width, channels), got {source.noun} of "
            f"shape {input_shape}; use 'mlp' or 'linear'."
        )
    offered = dict(zip(source.size_names, input_shape, strict=False))
    offered |= {"n_components": n_components, "input_shape": input_shape}
    return _construct(NETWORKS.get(module, module), params, offered)


def _check_range(module, low, high, largest):
    """Raise ValueError unless images have the values that the weights expect."""
    beyond = OVERSHOOT * largest
    is_binary = largest == 255 and high == 1
    if low < -beyond or high > largest + beyond or is_binary:
        raise ValueError(
            f"module={module!r} was trained on images with values from 0 to 255, as "
            f"uint8, or 0 to 1, as float; got values from {low:g} to {high:g}, where "
            f"{largest:g} was taken to be white. Undo a scaling of your own; values "
            "from 0 to 255 must be in an array of NumPy, as np.asarray(X, "
            "dtype=np.uint8) makes it. Or set module__weights=None in net_params."
        )


def _construct(constructor, params, offered):
    accepted = inspect.signature(constructor).parameters.values()
    names = [
        p.name for p in accepted if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in accepted)
    unknown = set(params) - set(names)
    if unknown and not takes_any:
        own = [f"module__{name}" for name in names if name not in offered]
        raise ValueError(
            f"net_params holds {_spelled(unknown)}, which "
            f"{constructor.__name__} does not take. Allowed are: {own}."
        )
    given = {name: value for name, value in offered.items() if name in names}
    try:
        return constructor(**{**given, **params})
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"module {constructor.__name__} cannot be built with the arguments "
            f"{params} (net_params gives them as module__*): {error}"
        ) from error


def _spelled(params):
    return ", ".join(repr(f"module__{name}") for name in sorted(params))


def _check_output(network, input_shape, n_components, dtype):
    """Run two blank samples through the network in evaluation mode.

    It keeps as ``n_multiplications`` about how many of these a sample takes.
    """
    count = 0

    def add(layer, inputs, output):
        nonlocal count
        if isinstance(output, tuple):  # of recurrent layers and attention
            output = output[0]
        for weight in layer.parameters(recurse=False):
            if weight.ndim > 1 and isinstance(output, torch.Tensor):
                # Each output of a linear layer or a convolution is a sum of these.
                count += weight[0].numel() * output.numel()

    hooks = [layer.register_forward_hook(add) for layer in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            output = network(torch.zeros((2, *input_shape), dtype=dtype))
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"module cannot be applied to a batch of shape (n, "
            f"{', '.join(map(str, input_shape))}): {error}"
        ) from error
    finally:
        network.train()
        for hook in hooks:
            hook.remove()
    network.n_multiplications = count // 2
    got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output)
    if got != (2, n_components):
        raise ValueError(
            f"module must return a tensor of shape (n, n_components) = (2, "
            f"{n_components}) for two samples, got {got}. Let its last layer have "
            "n_components outputs, or set n_components to what it returns."
        )


def is_pretrained(backbone):
    """Return whether a backbone has weights that a library trained."""
    return isinstance(backbone, NamedNet) and backbone.statistics is not None


def fine_tuning(network, lr, backbone_lr):
    """Return backbone_lr and settings of the net that suit a network's weights.

    A pretrained backbone has, unless given, a share of ``lr``, and frozen batch norms.
    """
    if not is_pretrained(network.backbone):
        return backbone_lr, {}
    if backbone_lr is None:
        backbone_lr = BACKBONE_SHARE * lr
    has_norms = any(isinstance(m, _BatchNorm) for m in network.backbone.modules())
    return backbone_lr, {"freeze_batch_norm": has_norms}
