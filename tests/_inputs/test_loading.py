import gc
import threading
import time

import numpy as np
import pytest
import torch

from sk_dml._inputs._files import DecodedImages, LazyImages, lazy_images
from sk_dml._inputs._loading import (
    THREADS,
    LazyDataset,
    ReadAhead,
    batches_in_order,
    make_dataset,
    make_loader,
)
from sk_dml.datasets import ImageSequence


class Counting(LazyImages):
    """Images of their own place, that count how they are read."""

    image_shape = (1, 1, 2)

    def __init__(self, n, delays=()):
        self.n, self.delays = n, dict(delays)
        self.begun, self.threads = [], set()

    def __len__(self):
        return self.n

    def read(self, places):
        self.begun.append(int(places[0]))
        self.threads.add(threading.current_thread())
        time.sleep(self.delays.get(int(places[0]), 0))
        images = np.broadcast_to(places[:, None, None, None], (len(places), 1, 1, 2))
        return images.astype(np.uint8), places % 5 != 4


CPU = torch.device("cpu")


def loader_of(X, y=None, **params):
    dataset = make_dataset(X, y, CPU)
    batches = batches_in_order(X, 4)
    factory = torch.utils.data.DataLoader
    return make_loader(factory, dataset, batches, params, CPU)


def test_batches_come_in_order_whoever_is_first(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = threading.Barrier(3)

    class Together(Counting):
        def read(self, places):
            if places[0] < 12:  # the first three batches, each by a thread of its own
                together.wait(60)
            return super().read(places)

    X = Together(38, delays={0: 0.05})
    found = [batch for batch, _ in loader_of(X)]
    assert len(found) == len(loader_of(X)) == 10
    assert torch.cat(found)[:, 0, 0, 0].tolist() == [*range(38)]
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
    assert not DecodedImages(ImageSequence([{"image": 1}]), 4, "raise").in_threads
    assert DecodedImages(ImageSequence(["a.png"]), 4, "raise").in_threads


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
        def read(self, places):
            permits.acquire(timeout=60)
            gc.collect()
            n_read.append(len(places))
            return places

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
        def read(self, places):
            if 8 in places:
                raise ValueError("the file 'x' cannot be read")
            return super().read(places)

    batches = iter(loader_of(Broken(40)))
    next(batches)
    next(batches)
    with pytest.raises(ValueError, match="the file 'x'"):
        next(batches)


def test_labels_of_what_has_none_tell_what_is_readable():
    _, labels = LazyDataset(Counting(9)).read(np.array([3, 4, 8]))
    assert labels.tolist() == [3, -5, 8]
    _, labels = LazyDataset(Counting(9), np.arange(9) * 2).read(np.array([3, 4]))
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

    batches = iter(ReadAhead(LazyDataset(Counting(20)), Batches(), 2))
    next(batches)
    assert drawn == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((9, 5), 512),
        ((9, 1, 28, 28), 128),
        ((9, 3, 144, 144), 25),
        ((1, 3, 2000, 2000), 1),
    ],
)
def test_large_images_are_embedded_in_small_batches(shape, size):
    class Samples:
        def __init__(self):
            self.shape = (1100, *shape[1:])

        def __len__(self):
            return 1100

    batches = batches_in_order(Samples())
    assert {len(batch) for batch in batches[:-1]} == {size}
    assert np.concatenate(batches).tolist() == [*range(1100)]
    assert [len(batch) for batch in batches_in_order(Samples(), 700)] == [700, 400]


def test_arrays_that_cannot_be_written_to_move_to_a_device():
    X = np.zeros((3, 2), np.float32)
    X.flags.writeable = False  # as those that joblib shares
    dataset = make_dataset(X, None, torch.device("meta"))
    samples, places = dataset[np.array([2, 0])]
    assert samples.shape == (2, 2)
    assert places.device.type == "meta"


def test_rows_are_no_lazy_images():
    class Estimator:
        image_size_ = None

    for X in (
        np.zeros((3, 2)),
        [[1, 2]],
        [],
        np.array(["a"])[:0],
        np.arange(3),
        None,
    ):
        assert lazy_images(Estimator(), X, reset=True) is None
