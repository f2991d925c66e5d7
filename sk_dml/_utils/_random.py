"""Torch's global random numbers: seeding, saving and restoring."""

import threading
from contextlib import contextmanager

import torch

# Torch's generators are global: seeded blocks in several threads take turns.
_LOCK = threading.RLock()


@contextmanager
def torch_seed(seed, device):
    """Seed torch's generators of the CPU and a device in a block; restore them after.

    Layers such as dropout draw from these. Blocks in several threads take turns.
    """
    devices = [] if device.type == "cpu" else [device]
    with _LOCK, torch.random.fork_rng(devices, device_type=device.type):
        # Not torch.manual_seed, which seeds devices that are not restored too.
        states = [
            torch.Generator(one).manual_seed(seed).get_state()
            for one in ("cpu", device)
        ]
        set_torch_state(states, device)
        yield


def get_torch_state(device):
    """Return the states of the generators of the CPU and a device (None if the CPU)."""
    if device.type == "cpu":
        return torch.get_rng_state(), None
    on_device = torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), on_device


def set_torch_state(state, device):
    """Set the generators to states of :func:`get_torch_state`; None changes nothing."""
    on_cpu, on_device = state
    torch.set_rng_state(on_cpu)
    if device.type != "cpu" and on_device is not None:
        torch.get_device_module(device).set_rng_state(on_device, device)
