import gc
import threading
import time

import numpy as np
import pytest
import torch

from sk_dml._inputs._files import DecodedImages, ImageSequence
from sk_dml._inputs._images import ArrayImages, Images
from sk_dml._inputs._loading import (
    THREADS,
    BatchDataset,
    ReadAhead,
    batches_in_order,
    make_loader,
)
from sk_dml._inputs._source import Source


class Counting(Images):
    """Images whose values are their index, and which count how they are read."""

    sample_shape = (1, 1, 2)
    dtype = np.dtype(np.uint8)
    in_threads = True

    def __init__(self, n, delays=()):
        self.n, self.delays = n, dict(delays)
        self.begun, self.threads = [], set()

    def __len__(self):
        return self.n

    def take(self, indices):
        self.begun.append(int(indices[0]))
        self.threads.add(threading.current_thread())
        time.sleep(self.delays.get(int(indices[0]), 0))
        images = np.broadcast_to(indices[:, None, None, None], (len(indices), 1, 1, 2))
        return images.astype(np.uint8), indices % 5 != 4


CPU = torch.device("cpu")


def loader_of(X, y=None, **params):
    dataset = BatchDataset(X, y, CPU)
    batches = batches_in_order(len(X), 4)
    factory = torch.utils.data.DataLoader
    return make_loader(factory, dataset, batches, params, CPU)


def test_batches_come_in_order_whoever_is_first(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = threading.Barrier(3)

    class Together(Counting):
        def take(self, indices):
            if indices[0] < 12:  # the first three batches, each by a thread of its own
                together.wait(60)
            return super().take(indices)

    X = Together(38, delays={0: 0.05})
    read = [images for images, _, _ in loader_of(X)]
    assert len(read) == len(loader_of(X)) == 10
    assert torch.cat(read)[:, 0, 0, 0].tolist() == [*range(38)]
    assert threading.main_thread() not in X.threads
    assert len(X.threads) == 3


@pytest.mark.parametrize("n_ahead", [1, 3])
def test_no_more_is_read_ahead_than_was_asked_for(n_ahead):
    X = Counting(80)
    batches = iter(loader_of(X, prefetch_factor=n_ahead))
    for i in range(5):
        next(batches)
        end = time.monotonic() + 60
        while len(X.begun) < i + 1 + n_ahead and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.02)  # for one that should not be
        assert len(X.begun) == i + 1 + n_ahead


def test_zero_workers_read_in_step():
    X = Counting(12)
    batches = iter(loader_of(X, num_workers=0))
    next(batches)
    assert X.begun == [0]
    assert X.threads == {threading.main_thread()}


def test_what_is_not_safe_in_threads_is_read_in_step():
    X = Counting(12)
    X.in_threads = False
    assert len([*loader_of(X)]) == 3
    assert X.threads == {threading.main_thread()}
    assert not DecodedImages.of_side(ImageSequence([{"image": 1}]), 4).in_threads
    assert DecodedImages.of_side(ImageSequence(["a.png"]), 4).in_threads


def test_threads_go_with_the_loop(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    before = threading.active_count()
    batches = iter(loader_of(Counting(400)))
    next(batches)
    assert threading.active_count() > before
    del batches
    gc.collect()
    assert threading.active_count() == before


def test_threads_may_collect_the_loop_as_garbage(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    permits, n_read = threading.Semaphore(1), []

    class Dataset:
        def read(self, indices):
            permits.acquire(timeout=60)
            gc.collect()
            n_read.append(len(indices))
            return indices

    batches = iter(ReadAhead(Dataset(), [np.arange(2)] * 9, 1))
    next(batches).result()
    thread = [t for t in threading.enumerate() if t.name.startswith(THREADS)][-1]
    cycle = {"batches": batches}
    cycle["itself"] = cycle
    gc.disable()
    try:
        del batches, cycle
        permits.release()  # for the thread to read one batch, and collect the loop
        thread.join(60)
    finally:
        gc.enable()
    assert n_read == [2, 2]  # what was not begun is not read
    assert not thread.is_alive()


def test_errors_of_threads_arrive():
    class Broken(Counting):
        def take(self, indices):
            if 8 in indices:
                raise ValueError("the file 'x' cannot be read")
            return super().take(indices)

    batches = iter(loader_of(Broken(40)))
    next(batches)
    next(batches)
    with pytest.raises(ValueError, match="the file 'x'"):
        next(batches)


def test_batches_say_what_is_readable_where_there_are_no_labels():
    _, indices, readable = BatchDataset(Counting(9))[np.array([3, 4, 8])]
    assert indices.tolist() == [3, 4, 8]
    assert readable.tolist() == [True, False, True]
    _, labels = BatchDataset(Counting(9), np.arange(9) * 2)[np.array([3, 4])]
    assert labels.tolist() == [6, 8]


def test_batches_are_drawn_as_late_as_they_are_read():
    drawn = []

    class Batches:
        def __len__(self):
            return 20

        def __iter__(self):
            for i in range(20):
                drawn.append(i)
                yield np.array([i])

    batches = iter(ReadAhead(BatchDataset(Counting(20)), Batches(), 2))
    next(batches)
    assert drawn == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [
        (Source, (5,), 512),
        (Source, (2**20, 4), 1),
        (ArrayImages, (1, 28, 28), 128),
        (ArrayImages, (3, 144, 144), 25),
        (ArrayImages, (3, 2000, 2000), 1),
    ],
)
def test_large_samples_are_embedded_in_small_batches(kind, shape, size):
    source = kind.from_array(np.broadcast_to(np.float32(0), (1100, *shape)))
    assert source.inference_size == size
    batches = batches_in_order(1100, 700)
    assert [len(batch) for batch in batches] == [700, 400]
    assert np.concatenate(batches).tolist() == [*range(1100)]


def test_arrays_that_cannot_be_written_to_move_to_a_device():
    X = np.zeros((3, 2), np.float32)
    X.flags.writeable = False  # as those that joblib shares
    dataset = BatchDataset(Source.from_array(X), None, torch.device("meta"))
    samples, indices, readable = dataset[np.array([2, 0])]
    assert samples.shape == (2, 2)
    assert indices.device.type == readable.device.type == "meta"
