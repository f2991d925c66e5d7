"""Cost of training, compared with a hand-written torch loop for the same work.

``rows`` and ``images``: an epoch of fit against the bare loop (same network, loss,
batches and learning rates) with torch's stock AdamW and with its fused one, and against
pytorch-metric-learning's loop: its loss, its MPerClassSampler and a DataLoader. The
images are those of --images. The loops' networks have torch's own layers.
That sampler draws no class twice a batch: where classes are few, more samples of each.
``compile``: fit with ``net_params={"compile": True}``. ``growth``: seconds an epoch and
peak memory by the number of rows. ``grid``: a search with one job and with two.
``micro``: the memory of large batches. Repetitions are taken in turn, medians shown.
"""

import argparse
import copy
import gc
import statistics
import time

import numpy as np
import torch
from _report import (
    header,
    in_process,
    parse,
    peak_memory,
    reset_peak_memory,
    show_parts,
)
from pytorch_metric_learning import losses as peer_losses
from pytorch_metric_learning.samplers import MPerClassSampler
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import sk_dml
from sk_dml import CircleEmbedder, SoftTripleEmbedder, map_at_r
from sk_dml._training._sampling import ClassBatches, ShuffledBatches

PARTS = ("rows", "images", "compile", "growth", "grid", "micro")


def rows(n, n_classes=26):
    """Return random rows; the work does not depend on them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 16), dtype=np.float32)
    return X, rng.integers(0, n_classes, size=n)


def network_of(embedder):
    """Copy the network of a fitted embedder, with layers of torch."""
    network = copy.deepcopy(embedder.net_.module_)
    for module in network.modules():
        for layer in (nn.Conv2d, nn.Dropout):
            if isinstance(module, layer):
                module.__class__ = layer
    return network.train()


def train(network, loss_function, batches, epochs, n_batches, fused=None):
    """Train as a careful torch user would; return the seconds per epoch."""
    parameters = [*network.parameters(), *loss_function.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=epochs * n_batches, cycle_momentum=False
    )
    start = time.perf_counter()
    for _ in range(epochs):
        for inputs, labels in batches():
            optimizer.zero_grad()
            loss = loss_function(network(inputs), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss.item()
    return (time.perf_counter() - start) / epochs


def bare_loop(embedder, X, y, fused=None):
    """Time a hand-written loop over the same batches."""
    loss_function = copy.deepcopy(embedder.net_.criterion_)
    rng, size = np.random.default_rng(0), embedder.batch_size
    if embedder.samples_per_class is None:
        sampler = ShuffledBatches(len(X), size, rng)
    else:
        sampler = ClassBatches(y, size, embedder.samples_per_class, rng)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)

    def batches():
        for batch in sampler:
            places = torch.from_numpy(batch)
            yield inputs[places], labels[places]

    return train(
        network_of(embedder),
        loss_function,
        batches,
        embedder.max_epochs,
        len(sampler),
        fused,
    )


def fused_loop(embedder, X, y):
    """Time the hand-written loop with the fused AdamW."""
    return bare_loop(embedder, X, y, fused=True)


def peer_loop(embedder, X, y):
    """Time pytorch-metric-learning's loop."""
    if isinstance(embedder, CircleEmbedder):
        loss_function = peer_losses.CircleLoss(m=0.4, gamma=80)
    else:
        loss_function = peer_losses.SoftTripleLoss(
            int(y.max()) + 1, embedder.n_components, centers_per_class=10
        )
    size = embedder.batch_size
    per_class = 4
    while per_class * len(np.unique(y)) < size:
        per_class *= 2
    sampler = MPerClassSampler(y, per_class, size, length_before_new_iter=len(X))
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loader = DataLoader(data, batch_size=size, sampler=sampler)
    return train(
        network_of(embedder),
        loss_function,
        lambda: loader,
        embedder.max_epochs,
        len(loader),
    )


def fit(embedder, X, y):
    """Time a whole fit."""
    start = time.perf_counter()
    embedder.fit(X, y)
    return (time.perf_counter() - start) / embedder.max_epochs


def compare(settings, X, y, repeats, runs):
    """Print the times of several embedders, and the ratios of fit to the others."""
    names = list(runs)
    ratios = [f"fit / {name}" for name in names[1:]]
    print("| method | batch |", " | ".join([*names, *ratios]), "|")
    print("|---" * (2 + len(names) + len(ratios)) + "|")
    for cls, batch_size, epochs in settings:
        embedder = cls(max_epochs=1, batch_size=batch_size, random_state=0)
        embedder.fit(X[:2048], y[:2048])
        embedder.set_params(max_epochs=epochs)
        times = {name: [] for name in names}
        for _ in range(repeats):
            for name, run in runs.items():
                times[name].append(run(embedder, X, y))
        medians = [statistics.median(times[name]) for name in names]
        shares = [f"{medians[0] / other:.2f}" for other in medians[1:]]
        cells = [cls.__name__, batch_size, *(f"{m:.3f}" for m in medians), *shares]
        print("|", " | ".join(map(str, cells)), "|", flush=True)


RUNS = {"fit": fit, "loop": bare_loop, "fused loop": fused_loop, "peer": peer_loop}


def show_rows(options):
    """Rows, by default 20,000 x 16."""
    X, y = rows(options.n)
    settings = [
        (cls, batch_size, options.epochs)
        for cls in (CircleEmbedder, SoftTripleEmbedder)
        for batch_size in (32, 128, 512)
    ]
    compare(settings, X, y, options.repeats, RUNS)


def show_images(options):
    """Images of a file."""
    if options.images is None:
        print("Not run: no --images.")
        return
    with np.load(options.images) as data:
        X, y = data["X"], np.unique(data["y"], return_inverse=True)[1]
    X, y = X[: options.n].astype(np.float32)[:, None], y[: options.n]
    settings = [(cls, 64, 1) for cls in (CircleEmbedder, SoftTripleEmbedder)]
    compare(settings, X, y, max(1, options.repeats // 2), RUNS)


def show_compile(options):
    """Epochs of a compiled network, after the first one and with it."""
    X, y = rows(options.n)
    print("| batch | an epoch | compiled | ratio | first epoch compiled |")
    print("|---" * 5 + "|")
    for batch_size in (32, 128, 512):
        times = []
        for compiled in (False, True):
            embedder = CircleEmbedder(
                max_epochs=5,
                batch_size=batch_size,
                random_state=0,
                net_params={"compile": compiled},
            ).fit(X, y)
            seconds = [row["duration"] for row in embedder.history_]
            times += [statistics.median(seconds[1:]), seconds[0]]
        plain, _, later, first = times
        ratio = f"{later / plain:.2f} | {first:.1f}"
        print(f"| {batch_size} | {plain:.3f} | {later:.3f} | {ratio} |", flush=True)


def cost_of(n):
    """Measure the seconds of an epoch, and the memory of fit in sizes of the data."""
    warm_up = rows(2000)
    CircleEmbedder(max_epochs=1, batch_size=512).fit(*warm_up)
    X, y = rows(n)
    gc.collect()
    reset_peak_memory()
    before = peak_memory()
    embedder = CircleEmbedder(max_epochs=1, batch_size=512, random_state=0).fit(X, y)
    size = (X.nbytes + y.nbytes) / 2**20
    return embedder.history_[0]["duration"], peak_memory() - before, size


def show_growth(options):
    """Cost by the number of rows; peak memory without the data."""
    print("| rows | s an epoch | us a row | data, MB | fit adds, MB | peak / data |")
    print("|---" * 6 + "|")
    for n in (2_000, 20_000, 200_000, 2_000_000):
        if n > 100 * options.n:
            continue
        seconds, added, size = in_process(__file__, "cost_of", n=n)
        print(
            f"| {n:,} | {seconds:.2f} | {1e6 * seconds / n:.1f} | {size:.1f} "
            f"| {added:.1f} | {1 + added / size:.2f} |",
            flush=True,
        )


def search_time(n, n_jobs):
    """Time a search over eight candidates."""
    X, y = rows(n)
    grid = {"margin": [0.2, 0.3, 0.4, 0.5], "gamma": [32, 80]}
    search = GridSearchCV(
        CircleEmbedder(max_epochs=5, random_state=0),
        grid,
        scoring=map_at_r,
        cv=2,
        n_jobs=n_jobs,
        refit=False,
    )
    start = time.perf_counter()
    search.fit(X, y)
    return time.perf_counter() - start


def show_grid(options):
    """GridSearchCV; with threads=None, torch uses as many as there are cores."""
    print("| threads | n_jobs=1, s | n_jobs=2, s | speed-up |")
    print("|---" * 4 + "|")
    for threads in (1, None):
        one, two = (
            statistics.median(
                in_process(__file__, "search_time", threads, n=options.n, n_jobs=n_jobs)
                for _ in range(3)
            )
            for n_jobs in (1, 2)
        )
        print(f"| {threads} | {one:.1f} | {two:.1f} | {one / two:.2f} |", flush=True)


def memory_of(name, batch_size, micro_batch_size):
    """Measure what an epoch on images adds to the memory."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(4096, 32, 32)).astype(np.uint8)
    y = np.arange(4096) % 64
    cls = getattr(sk_dml, name)
    with_frozen = {"freeze_batch_norm": True}
    settings = {"random_state": 0, "net_params": with_frozen, "max_epochs": 1}
    cls(batch_size=32, **settings).fit(X[:64], y[:64] % 8)
    reset_peak_memory()
    before = peak_memory()
    cls(batch_size=batch_size, micro_batch_size=micro_batch_size, **settings).fit(X, y)
    return peak_memory() - before


def show_micro(options):
    """Batches of images; a loss on pairs takes its n x n matrices besides."""
    print("| method | batch | micro batch | fit adds, MB |")
    print("|---" * 4 + "|")
    for name in ("NormalizedSoftmaxEmbedder", "ContrastiveEmbedder"):
        for size, micro in ((256, None), (4096, None), (4096, 256), (4096, 64)):
            sizes = {"batch_size": size, "micro_batch_size": micro}
            added = in_process(__file__, "memory_of", name=name, **sizes)
            shown = added if isinstance(added, str) else f"{added:.0f}"
            print(f"| {name} | {size} | {micro} | {shown} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--n", type=int, default=20_000, help="samples")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", help=".npz file of gray images X with classes y")
    options = parse(parser, globals())
    print(header("training.py", "pytorch-metric-learning"))
    print()
    print(f"Seconds an epoch, medians; {torch.get_num_threads()} threads.")
    show_parts(globals(), options)


if __name__ == "__main__":
    main()
