"""Where a network runs."""

import torch


def resolve_device(device):
    """Turn the ``device`` parameter into a torch device.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes the first of CUDA, MPS and the CPU that is there.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If torch does not know the device, or this machine lacks it.

    Examples
    --------
    >>> from sk_dml._utils._device import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        available.insert(0, "mps")
    if device == "auto":
        return torch.device(available[0])
    message = (
        f"device={device!r} cannot be used here. Allowed are 'auto' and the devices of "
        f"this machine: {', '.join(map(repr, available))}."
    )
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(message) from error
    in_range = resolved.type != "cuda" or (
        resolved.index is None or resolved.index < torch.cuda.device_count()
    )
    if resolved.type not in available or not in_range:
        raise ValueError(message)
    return resolved
