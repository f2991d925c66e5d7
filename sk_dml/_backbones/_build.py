"""From the ``module`` parameter to a network for the data at hand."""

import copy
import inspect
from collections import OrderedDict

import torch
from torch import nn

from sk_dml._backbones._layers import Standardize
from sk_dml._backbones._networks import MLP, ConvNet, Linear

NETWORKS = {"linear": Linear, "mlp": MLP, "conv": ConvNet}

# Standardised features of rows are softly bounded here, in standard deviations.
ROW_LIMIT = 3.0


def build_network(module, params, *, input_shape, n_components, mean, scale):
    """Build the network: standardisation first, the backbone after it.

    Parameters
    ----------
    module : None, str, type or torch.nn.Module
        None picks "mlp" for rows and "conv" for images. A class is called with
        ``params`` and with those of ``n_components``, ``input_shape``, ``n_features``
        (rows) and ``n_channels`` (images) that its constructor names. An instance is
        deep-copied.
    params : dict
        Arguments for the constructor of the backbone.
    input_shape : tuple of int
        Shape of a sample: (features,) or (channels, height, width).
    n_components : int
        Width of the embedding.
    mean, scale : tensors
        Statistics of the training data.

    Returns
    -------
    torch.nn.Sequential
        With the children ``standardize`` and ``backbone``.

    Raises
    ------
    ValueError
        If ``params`` do not fit the backbone, or the backbone the data.
    """
    is_image = len(input_shape) == 3
    if module is None:
        module = "conv" if is_image else "mlp"
    if module == "conv" and not is_image:
        raise ValueError(
            "module='conv' needs images of shape (n, height, width), (n, channels, "
            f"height, width) or (n, height, width, channels), got X with "
            f"{input_shape[0]} features; for rows use 'mlp' or 'linear'."
        )
    if isinstance(module, nn.Module):
        if params:
            raise ValueError(
                f"net_params gives {_spelled(params)} for a module that is already "
                "built; pass its class instead of an instance to set them."
            )
        backbone = copy.deepcopy(module)
    else:
        offered = {"n_components": n_components, "input_shape": input_shape}
        offered["n_channels" if is_image else "n_features"] = input_shape[0]
        backbone = _construct(NETWORKS.get(module, module), params, offered)
    limit = None if is_image else ROW_LIMIT
    network = nn.Sequential(
        OrderedDict(standardize=Standardize(mean, scale, limit), backbone=backbone)
    )
    _check_output(network, input_shape, n_components, mean.dtype)
    return network


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
    """Run two blank samples through the network in evaluation mode."""
    network.eval()
    try:
        with torch.no_grad():
            output = network(torch.zeros((2, *input_shape), dtype=dtype))
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"module cannot be applied to a batch of shape (n, "
            f"{', '.join(map(str, input_shape))}): {error}"
        ) from error
    finally:
        network.train()
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output)
    if found != (2, n_components):
        raise ValueError(
            f"module must return a tensor of shape (n, n_components) = (2, "
            f"{n_components}) for two samples, got {found}. Let its last layer have "
            "n_components outputs, or set n_components to what it returns."
        )
