"""Torch's random numbers from scikit-learn's ``random_state``."""

import threading
from contextlib import contextmanager

import torch

# Torch's generators are global: seeded blocks in several threads take turns.
_LOCK = threading.RLock()


@contextmanager
def torch_seed(seed, device):
    """Seed torch inside a ``with`` block and put everything back after it.

    Layers such as dropout draw from torch's global generators, so these are seeded
    for the block and restored at its end, whatever happens in between. Blocks in
    several threads run one after the other.

    Parameters
    ----------
    seed : int
        Seed of the CPU's generator and, where there is one, of the device's.
    device : torch.device
        The device that the block computes on.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.utils import torch_seed
    >>> before = torch.get_rng_state()
    >>> with torch_seed(0, torch.device("cpu")):
    ...     first = torch.rand(1).item()
    >>> with torch_seed(0, torch.device("cpu")):
    ...     first == torch.rand(1).item()
    True
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    accelerator = None if device.type == "cpu" else torch.get_device_module(device)
    arguments = () if device.type in ("cpu", "mps") else (device,)
    with _LOCK:
        yield from _seeded(seed, device, accelerator, arguments)


def _seeded(seed, device, accelerator, arguments):
    cpu_state = torch.get_rng_state()
    state = accelerator.get_rng_state(*arguments) if accelerator else None
    try:
        torch.default_generator.manual_seed(seed)
        if accelerator and device.type == "cuda":
            with accelerator.device(device):
                accelerator.manual_seed(seed)
        elif accelerator:
            accelerator.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if accelerator:
            accelerator.set_rng_state(state, *arguments)
