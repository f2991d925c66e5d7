"""Number of torch threads of a training or of an embedding."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

# Multiplications in the network for a batch from which on a fit, and transform, use all
# threads. A step of the default network on rows takes 1 to 3e8, on images 7e8 and more.
LARGE_STEP = 3e8

_LOCK = threading.Lock()


@contextmanager
def limited_threads(net, X, training=False):
    """Use one thread in a block if the batches of a Source are small.

    Threads wait for each other after every operation, and spin while they do: small
    batches gain little from several, and lose much if other programs use the cores.
    """
    with _LOCK:
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
    compute, and fits in them, does not depend on this one.
    """
    with _LOCK, ThreadPoolExecutor(1) as new_thread:
        default = new_thread.submit(torch.get_num_threads).result()
        torch.set_num_threads(n_threads)
        new_thread.submit(torch.set_num_threads, default).result()
