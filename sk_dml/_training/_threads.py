"""Number of torch threads of a training, by the size of its steps."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

# Multiplications of the forward pass of a batch from which on several threads pay.
LARGE_STEP = 1e8

_LOCK = threading.Lock()


@contextmanager
def limited_threads(net, X):
    """Use one thread in a block if the steps of a training are small.

    Threads wait for each other after every operation, and spin while they do: small
    steps gain little from several, and lose much if other programs use the cores.
    """
    n_threads = torch.get_num_threads()
    # Where threads read files, as many as torch uses, reading takes longest.
    if n_threads == 1 or X.in_threads or step_size(net, X) >= LARGE_STEP:
        yield
        return
    _set_own_threads(1)
    try:
        yield
    finally:
        _set_own_threads(n_threads)


def step_size(net, X):
    """Return about how many multiplications the forward pass of a batch takes."""
    count = 0

    def add(layer, inputs, output):
        nonlocal count
        for weight in layer.parameters(recurse=False):
            if weight.ndim > 1 and isinstance(output, torch.Tensor):
                # Each output of a linear map or a convolution: once its weights.
                count += weight[0].numel() * output.numel()

    hooks = [layer.register_forward_hook(add) for layer in net.module_.modules()]
    blank = torch.zeros((1, *X.sample_shape), dtype=net.module_.standardize.mean.dtype)
    try:
        net.evaluation_step((blank, None))
    finally:
        for hook in hooks:
            hook.remove()
    # Proxies, and the queue of a cross-batch memory.
    compared = [*net.criterion_.parameters(), *net.criterion_.buffers()]
    count += sum(tensor.numel() for tensor in compared)
    return count * (net.micro_batch_size or net.batch_size)


def _set_own_threads(n_threads):
    """Set the number of threads of operations of the calling thread, of no other.

    torch.set_num_threads sets that of the calling thread and that of threads which use
    torch for the first time later. A new thread sets the latter back, so that fits in
    several threads do not change what each other, or any thread, finds.
    """
    with _LOCK, ThreadPoolExecutor(1) as other_thread:
        default = other_thread.submit(torch.get_num_threads).result()
        torch.set_num_threads(n_threads)
        other_thread.submit(torch.set_num_threads, default).result()
