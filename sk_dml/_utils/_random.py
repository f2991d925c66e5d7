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
    >>> from sk_dml._utils._random import torch_seed
    >>> before = torch.get_rng_state()
    >>> with torch_seed(0, torch.device("cpu")):
    ...     first = torch.rand(1).item()
    >>> with torch_seed(0, torch.device("cpu")):
    ...     first == torch.rand(1).item()
    True
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    with _LOCK:
        state = get_torch_state(device)
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            elif device.type != "cpu":
                torch.get_device_module(device).manual_seed(seed)
            yield
        finally:
            set_torch_state(state, device)


def get_torch_state(device):
    """Get the state of torch's global random numbers.

    Parameters
    ----------
    device : torch.device
        Where a computation draws from them.

    Returns
    -------
    cpu : tensor
        That of the CPU's generator.
    on_device : tensor or None
        That of the device's; None for the CPU.

    Examples
    --------
    >>> import torch
    >>> from sk_dml._utils._random import get_torch_state, set_torch_state
    >>> state = get_torch_state(torch.device("cpu"))
    >>> first = torch.rand(1)
    >>> set_torch_state(state, torch.device("cpu"))
    >>> torch.equal(first, torch.rand(1))
    True
    """
    return torch.get_rng_state(), _accelerator("get_rng_state", device)


def set_torch_state(state, device):
    """Put torch's global random numbers into a state.

    Parameters
    ----------
    state : tuple of (tensor, tensor or None)
        As :func:`get_torch_state` returns it. None leaves the device's as it is.
    device : torch.device
        Where a computation draws from them.

    Examples
    --------
    >>> import torch
    >>> from sk_dml._utils._random import get_torch_state, set_torch_state
    >>> state = get_torch_state(torch.device("cpu"))
    >>> set_torch_state(state, torch.device("cpu"))
    """
    on_cpu, on_device = state
    torch.set_rng_state(on_cpu)
    if on_device is not None:
        _accelerator("set_rng_state", device, on_device)


def _accelerator(name, device, *states):
    if device.type == "cpu":
        return None
    arguments = () if device.type == "mps" else (device,)
    return getattr(torch.get_device_module(device), name)(*states, *arguments)
