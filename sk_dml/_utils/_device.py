"""Devices that a network can run on."""

import torch


def resolve_device(device):
    """Return the torch device of the ``device`` parameter, or raise ValueError."""
    available = ["cpu"]
    if torch.accelerator.is_available():
        available.insert(0, str(torch.accelerator.current_accelerator()))
    try:
        resolved = torch.device(available[0] if device == "auto" else device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is not None and resolved.type in available:
        n_devices = torch.accelerator.device_count()
        if resolved.type == "cpu" or (resolved.index or 0) < n_devices:
            return resolved
    raise ValueError(
        f"device={device!r} cannot be used here. Allowed are 'auto' and the devices of "
        f"this machine: {', '.join(map(repr, available))}."
    )
