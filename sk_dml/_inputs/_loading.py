"""Batches for torch, and threads that read batches ahead."""

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from skorch.dataset import Dataset  # so that skorch finds X and y in it

# Data up to this size move to an accelerator once, if there is room for four times
# as much, instead of batch by batch.
MODERATE_SIZE = 2**30

THREADS = "sk_dml-images"  # how the names of threads that read begin


class BatchDataset(Dataset):
    """Samples of a Source, fetched a whole batch at a time.

    With labels y, of shape (n,) and int64, a batch is (samples, labels), as skorch's
    callbacks expect it; without, (samples, indices, readable). Arrays of moderate size
    are kept on the device, if there is one.
    """

    def __init__(self, source, y=None, device=None):
        self.X, self.y = source, y
        self.on_device = None
        array = source.array
        if array is None or device is None or device.type == "cpu":
            return
        if _is_moderate(array, device):
            n = len(array)
            labels = (y,) if y is not None else (np.arange(n), np.ones(n, bool))
            # Not from_numpy, which warns of arrays that cannot be written to.
            self.on_device = tuple(
                torch.tensor(part, device=device) for part in (array, *labels)
            )

    def __len__(self):
        return len(self.X)

    def __getitem__(self, batch):
        if self.on_device is not None:
            indices = torch.from_numpy(batch).to(self.on_device[0].device)
            return tuple(part[indices] for part in self.on_device)
        return batch.result() if isinstance(batch, Future) else self.read(batch)

    def read(self, indices):
        """Read the batch of some indices, an ndarray."""
        array, y = self.X.array, self.y
        if array is not None and y is not None:  # as fast as can be: small batches
            return torch.from_numpy(array[indices]), torch.from_numpy(y[indices])
        samples, readable = self.X.take(indices)
        if y is not None:
            return torch.from_numpy(samples), torch.from_numpy(y[indices])
        return tuple(map(torch.from_numpy, (samples, indices, readable)))


def _is_moderate(X, device):
    if device.type == "cuda" and 4 * X.nbytes > torch.cuda.mem_get_info(device)[0]:
        return False
    return X.nbytes <= MODERATE_SIZE


class ReadAhead:
    """Batches of a BatchDataset that threads begin to read before they are needed.

    The sampler of a DataLoader without workers: the dataset takes what it yields. None
    reads one batch more ahead than there are threads.
    """

    def __init__(self, dataset, batches, n_ahead=None):
        self.dataset = dataset
        self.batches = batches
        self.n_ahead = n_ahead

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        pool = ThreadPoolExecutor(n_threads(), thread_name_prefix=THREADS)
        n_ahead = n_threads() + 1 if self.n_ahead is None else self.n_ahead
        pending: deque = deque()
        try:
            for indices in self.batches:
                pending.append(pool.submit(self.dataset.read, indices))
                if len(pending) > n_ahead:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            # One of the threads may collect this as garbage; it cannot await itself.
            is_own = threading.current_thread().name.startswith(THREADS)
            pool.shutdown(wait=not is_own, cancel_futures=True)


def make_loader(factory, dataset, batches, params, device):
    """Return an iterable of the batches of a BatchDataset.

    Without ``num_workers``, threads read ahead where the source allows it; then
    ``prefetch_factor`` is the number of batches ahead. The batches are the same ones,
    whoever reads them. ``factory`` is a DataLoader or called like it, with ``params``
    as further arguments; ``batches`` is an iterable of indices with a length.
    """
    params = dict(params)
    if dataset.X.in_threads and params.get("num_workers") is None:
        batches = ReadAhead(dataset, batches, params.pop("prefetch_factor", None))
    if device.type == "cuda" and dataset.on_device is None:
        params.setdefault("pin_memory", True)  # so that batches are copied aside
    # Without a generator of its own, a DataLoader draws from the global one.
    params.setdefault("generator", torch.Generator())
    return factory(dataset, batch_size=None, sampler=batches, **params)


def batches_in_order(n_samples, size):
    """Return the indices 0 .. n_samples - 1 as a list of arrays of some size."""
    indices = np.arange(n_samples)
    return np.split(indices, range(size, n_samples, size))


def n_threads():
    """Return how many threads read files: as many as torch may use, and at most 8."""
    return min(torch.get_num_threads(), 8)
