"""Numbers of half the width, for the network and the training alone."""

import warnings
from contextlib import nullcontext

import torch

PRECISIONS = ("float32", "bfloat16", "float16")

# Torch begins with 2**16, at which the steep losses of the field overflow: each time a
# step is lost. From here the scale finds its way in either direction.
FIRST_SCALE = 2.0**10


def check_precision(precision, device):
    """Check that a device computes in a precision.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Raises
    ------
    ValueError
        If it does not.
    """
    if precision == "float32" or _is_supported(precision, device):
        return
    allowed = [p for p in PRECISIONS if p == "float32" or _is_supported(p, device)]
    raise ValueError(
        f"precision={precision!r} cannot be computed on the device {str(device)!r}. "
        f"Allowed are: {allowed}."
    )


def autocast(precision, device):
    """Make the context that computes a network in a precision.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Returns
    -------
    context manager
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def make_scaler(precision, device):
    """Make what keeps the small gradients of float16 from becoming zero.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Returns
    -------
    torch.amp.GradScaler or None
        None where the precision needs none.
    """
    if precision != "float16":
        return None
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE)


def _is_supported(precision, device):
    if device.type == "cuda" and precision == "bfloat16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns, and stays at float32
            row = torch.ones((1, 1), device=device)
            with autocast(precision, device):
                return (row @ row).dtype == getattr(torch, precision)
    except (RuntimeError, TypeError):
        return False
