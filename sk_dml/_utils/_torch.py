"""Torch's devices, and its global random numbers and threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

# Torch's generators are global: seeded blocks in several threads take turns.
_LOCK = threading.RLock()
_THREADS_LOCK = threading.Lock()

# Multiplications in the network for a batch from which on a fit, and transform, use all
# threads. A step of the default network on rows takes 1 to 3e8, on images 7e8 and more.
LARGE_STEP = 3e8


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


@contextmanager
def torch_seed(seed, device):
    """Seed torch's generators of the CPU and a device in a block; restore them after.

    Layers such as dropout draw from these. Blocks in several threads take turns.
    """
    devices = [] if device.type == "cpu" else [device]
    with _LOCK, torch.random.fork_rng(devices, device_type=device.type):
        # Not torch.manual_seed, which seeds devices that are not restored too.
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            on_device = torch.Generator(device).manual_seed(seed).get_state()
            set_torch_state((torch.get_rng_state(), on_device), device)
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


class RandomNumbers:
    """Random generators: ``sampling`` draws batches, ``loader`` seeds their workers.

    Torch's own are global, so they are saved and restored in place: use the two methods
    inside of ``torch_seed`` only.
    """

    def __init__(self, seed, device):
        self.sampling = np.random.default_rng(seed)
        self.loader = torch.Generator()
        self.device = torch.device(device)

    def state_dict(self):
        """Return the states of all generators."""
        on_cpu, on_device = get_torch_state(self.device)
        return {
            "sampling": self.sampling.bit_generator.state,
            "loader": self.loader.get_state(),
            "cpu": on_cpu,
            "device": on_device,
        }

    def load_state_dict(self, state):
        """Put all generators into a state."""
        self.sampling.bit_generator.state = state["sampling"]
        self.loader.set_state(state["loader"])
        set_torch_state((state["cpu"], state["device"]), self.device)


@contextmanager
def limited_threads(net, X, training=False):
    """Use one thread in a block if the batches of a Source are small.

    Threads wait for each other after every operation, and spin while they do: small
    batches gain little from several, and lose much if other programs use the cores.
    """
    with _THREADS_LOCK:
        n_threads = torch.get_num_threads()
    # As many threads as torch has read files, and this takes longest there.
    if n_threads == 1 or X.in_threads or step_size(net, X, training) >= LARGE_STEP:
        yield
        return
    _set_own_threads(1)
    try:
        yield
    finally:
        _set_own_threads(n_threads)


def step_size(net, X, training):
    """Return about how many multiplications a batch takes."""
    count = net.module_.n_multiplications
    if not training:
        return count * min(len(X), X.inference_size)
    # Proxies, and the queue of a cross-batch memory, are compared with every sample.
    compared = [*net.criterion_.parameters(), *net.criterion_.buffers()]
    count += sum(tensor.numel() for tensor in compared)
    return 3 * count * (net.micro_batch_size or net.batch_size)  # forward and backward


def _set_own_threads(n_threads):
    """Set the number of threads of the calling thread, and of no other.

    torch.set_num_threads sets it for the calling thread and for all that use torch for
    the first time later. A new thread sets the latter back, so that what other threads
    compute, and fits in them, does not depend on this one; but for a thread that uses
    torch for the first time within these few microseconds.
    """
    with _THREADS_LOCK, ThreadPoolExecutor(1) as new_thread:
        default = new_thread.submit(torch.get_num_threads).result()
        torch.set_num_threads(n_threads)
        new_thread.submit(torch.set_num_threads, default).result()
