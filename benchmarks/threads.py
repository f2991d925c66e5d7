"""Seconds of a fit by its number of threads, alone and beside other programs.

``before``: every fit uses all threads, one for each core unless told otherwise.
``after``: a fit whose steps are small uses one. ``1 busy`` and ``2 busy``: beside
processes that each keep a core busy. ``2 fits``: two processes fit the same at once,
seconds until both have finished. Every fit runs in a process that has fitted before;
repetitions are taken in turn, medians shown. The first table shows steps by their size,
in the rule's multiplications, with one thread and with all.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import torch
from _report import header
from sklearn.datasets import load_digits

from sk_dml import CircleEmbedder
from sk_dml._utils import _torch

# Each with the number of busy processes and that of fits.
NEIGHBORS = {"none": (0, 1), "1 busy": (1, 1), "2 busy": (2, 1), "2 fits": (0, 2)}
RULES = {"before": 0, "after": _torch.LARGE_STEP}


def digits():
    """Return 1,797 rows of 64 numbers, and the epochs to train."""
    return *load_digits(return_X_y=True), 100


def rows():
    """Return random rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 16), dtype=np.float32)
    return X, rng.integers(26, size=20_000), 3


def images():
    """Return random images."""
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(2_000, 32, 32), dtype=np.uint8)
    return X, np.arange(2_000) % 20, 1


DATA = {"digits": digits, "20,000 x 16": rows, "2,000 images": images}


def start(threads, others):
    """Prepare a process, as the others do: fit everything once, shortly."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    for name in DATA:
        fit(name, "after", max_epochs=1)
    others.wait()


def fit(name, rule, max_epochs=None):
    """Return when a fit has started and when it has ended."""
    _torch.LARGE_STEP = RULES[rule]
    X, y, epochs = DATA[name]()
    embedder = CircleEmbedder(max_epochs=max_epochs or epochs, random_state=0)
    begin = time.time()
    embedder.fit(X, y)
    return begin, time.time()


# Shape of a sample, batch size, widths of hidden layers of rows.
STEPS = [
    ((16,), 32, 512),
    ((16,), 128, 512),
    ((784,), 128, 512),
    ((16,), 512, 512),
    ((16,), 128, 1024),
    ((16,), 128, 2048),
    ((8, 8), 32, None),
    ((8, 8), 128, None),
    ((28, 28), 32, None),
]


def steps(shape, batch_size, width, threads, repeats):
    """Return the size of a step, and its milliseconds with one thread and with all."""
    _torch.LARGE_STEP = RULES["before"]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8 * batch_size, *shape), dtype=np.float32)
    params = {"module__hidden": (width, width)} if width else {}
    embedder = CircleEmbedder(
        max_epochs=4, batch_size=batch_size, random_state=0, net_params=params
    )
    times = {1: [], threads: []}
    for _ in range(repeats):
        for n_threads, seconds in times.items():
            torch.set_num_threads(n_threads)
            embedder.fit(X, np.arange(len(X)) % 8)
            seconds += [row["duration"] / 8 for row in embedder.history_[1:]]
    torch.set_num_threads(threads)
    size = _torch.step_size(embedder.net_, None, training=True)
    return size, [1000 * statistics.median(seconds) for seconds in times.values()]


def show_steps(pool, given):
    """Print the times of steps by their size."""
    print(f"| a sample | batch | hidden | size | 1, ms | {given.threads}, ms | ratio |")
    print("|---" * 7 + "|", flush=True)
    for setting in STEPS:
        done = pool.submit(steps, *setting, given.threads, given.repeats)
        size, (one, several) = done.result()
        shape, batch_size, width = setting
        shown = " x ".join(map(str, shape))
        print(
            f"| {shown} | {batch_size} | {width or ''} | {size:.1e} | {one:.2f} "
            f"| {several:.2f} | {one / several:.2f} |",
            flush=True,
        )


def show_fits(pool, given):
    """Print the times of fits alone and beside other programs."""
    print("\n| data | neighbors | before | after | before / after |")
    print("|---" * 5 + "|", flush=True)
    for name in DATA:
        for neighbors, (n_busy, n_fits) in NEIGHBORS.items():
            times = {rule: [] for rule in RULES}
            with busy_processes(n_busy):
                for _ in range(given.repeats):
                    for rule, seconds in times.items():
                        fits = [pool.submit(fit, name, rule) for _ in range(n_fits)]
                        begins, ends = zip(*(f.result() for f in fits), strict=True)
                        seconds.append(max(ends) - min(begins))
            before, after = map(statistics.median, times.values())
            print(
                f"| {name} | {neighbors} | {before:.2f} | {after:.2f} "
                f"| {before / after:.1f} |",
                flush=True,
            )


@contextmanager
def busy_processes(n):
    """Keep n cores busy in a block."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    print(header("threads.py"))
    print(f"\nMedians of {given.repeats}; fits in seconds; {given.threads} threads.\n")
    context = get_context("spawn")
    settings = given.threads, context.Barrier(2)
    with ProcessPoolExecutor(2, context, start, settings) as pool:
        for started in [pool.submit(os.getpid) for _ in range(2)]:
            started.result()
        show_steps(pool, given)
        show_fits(pool, given)


if __name__ == "__main__":
    main()
