"""Datasets whose every fetch is a batch, and threads that read batches ahead."""

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from skorch.dataset import Dataset  # so that skorch finds X and y in it

from sk_dml._inputs._files import LazyImages, n_threads

# Data up to this size move to an accelerator once, if there is room for four times
# as much, instead of batch by batch.
MODERATE_SIZE = 2**30

# What is embedded at once outside training: rows; images, no more than training takes
# by default, so that they need no more memory; and pixels of these.
INFERENCE_ROWS = 512
INFERENCE_IMAGES = 128
INFERENCE_PIXELS = 2**19

THREADS = "sk_dml-images"  # how the names of those that read begin


class ArrayDataset(Dataset):
    """Rows or images in memory, fetched a whole batch at a time.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
    y : ndarray of shape (n_samples,), int64, or None
        None stands for data without labels.
    device : torch.device or None, default=None
        Where to keep data of moderate size; None leaves them where they are.
    """

    def __init__(self, X, y=None, device=None):
        self.X = X
        self.y = y
        self.on_device = None
        if device is not None and device.type != "cpu" and _is_moderate(X, device):
            labels = np.arange(len(X)) if y is None else y
            # Not from_numpy, which warns of arrays that cannot be written to.
            self.on_device = tuple(torch.tensor(a, device=device) for a in (X, labels))

    def __len__(self):
        return len(self.X)

    def __getitem__(self, indices):
        if self.on_device is not None:
            X, y = self.on_device
            places = torch.from_numpy(indices).to(X.device)
            return X[places], y[places]
        labels = indices if self.y is None else self.y[indices]
        return torch.from_numpy(self.X[indices]), torch.from_numpy(labels)


def _is_moderate(X, device):
    if device.type == "cuda" and 4 * X.nbytes > torch.cuda.mem_get_info(device)[0]:
        return False
    return X.nbytes <= MODERATE_SIZE


class LazyDataset(Dataset):
    """Images that are read when a batch of them is fetched.

    Parameters
    ----------
    X : LazyImages
    y : ndarray of shape (n_samples,), int64, or None
        Of data without labels, the label of a sample is its place, or the complement
        of that, which is negative, if the image cannot be read.
    """

    on_device = None

    def __init__(self, X, y=None):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, batch):
        return batch.result() if isinstance(batch, Future) else self.read(batch)

    def read(self, places):
        """Read a batch.

        Parameters
        ----------
        places : ndarray of int

        Returns
        -------
        images, labels : tensors
        """
        images, readable = self.X.read(places)
        if self.y is None:
            labels = np.where(readable, places, ~places)
        else:
            labels = self.y[places]
        return torch.from_numpy(images), torch.from_numpy(labels)


class ReadAhead:
    """Batches of a LazyDataset that threads begin to read before they are asked for.

    To be the sampler of a DataLoader without workers: the dataset takes what it yields.

    Parameters
    ----------
    dataset : LazyDataset
    batches : iterable of ndarrays of int, with a length
    n_ahead : int or None
        How many batches to read ahead; None takes one more than there are threads.
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
            for places in self.batches:
                pending.append(pool.submit(self.dataset.read, places))
                if len(pending) > n_ahead:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            # One of the threads may collect this as garbage; it cannot await itself.
            is_own = threading.current_thread().name.startswith(THREADS)
            pool.shutdown(wait=not is_own, cancel_futures=True)


def make_dataset(X, y, device):
    """Wrap X so that a batch is one fetch.

    Parameters
    ----------
    X : ndarray or LazyImages
    y : ndarray or None
    device : torch.device or None
        Where to keep arrays of moderate size.

    Returns
    -------
    torch.utils.data.Dataset
    """
    if isinstance(X, LazyImages):
        return LazyDataset(X, y)
    return ArrayDataset(X, y, device)


def make_loader(factory, dataset, batches, params, device):
    """Build what iterates over batches.

    Without ``num_workers``, threads read files ahead. The batches are the same ones,
    whoever reads them.

    Parameters
    ----------
    factory : callable
        A DataLoader, or what is called like it.
    dataset : ArrayDataset or LazyDataset
    batches : iterable of ndarrays of int, with a length
    params : dict
        More arguments. Where threads read, ``prefetch_factor`` is the number of batches
        that they are ahead.
    device : torch.device
        Where the batches go.

    Returns
    -------
    iterable of tuples (samples, labels)
    """
    params = dict(params)
    is_lazy = isinstance(dataset, LazyDataset) and dataset.X.in_threads
    if is_lazy and params.get("num_workers") is None:
        batches = ReadAhead(dataset, batches, params.pop("prefetch_factor", None))
    if device.type == "cuda" and dataset.on_device is None:
        params.setdefault("pin_memory", True)  # so that batches are copied aside
    # Without a generator of its own, a DataLoader draws from the global one.
    params.setdefault("generator", torch.Generator())
    return factory(dataset, batch_size=None, sampler=batches, **params)


def batches_in_order(X, size=None):
    """Split samples into batches to embed.

    Parameters
    ----------
    X : ndarray or LazyImages
        Rows or images.
    size : int or None, default=None
        Samples a batch. None takes fewer of large images.

    Returns
    -------
    list of ndarrays of int
    """
    if size is None:
        size = INFERENCE_ROWS
        if len(X.shape) == 4:
            n_pixels = X.shape[2] * X.shape[3]
            size = max(1, min(INFERENCE_IMAGES, INFERENCE_PIXELS // n_pixels))
    rows = np.arange(len(X))
    return np.split(rows, range(size, len(rows), size))
