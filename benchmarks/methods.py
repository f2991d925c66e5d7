"""Comparison of all methods, and with the losses of pytorch-metric-learning.

Quality, with ``--images`` and ``--rows``: .npz files with X and y. Every method is
trained with its default parameters on the first half of the classes and scored by
retrieval among the second half; the peer is its loss with its own defaults, under the
same backbone, batches, learning rates and epochs. Means and standard deviations over
seeds; median seconds; the largest memory of the process. Every training runs in a
process of its own, with one thread.

Cost, with ``--cost``: forward and backward of the losses alone on a batch of 512, with
16 samples of each class, 128 wide, among 1,000 classes for losses with proxies. Medians
of interleaved runs, and the ratio of the medians.
"""

import argparse
import inspect
import resource
import statistics
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from _report import added_memory, header, in_process, parse
from pytorch_metric_learning import losses as peers

from sk_dml import class_disjoint_split, losses
from sk_dml.metrics import retrieval_scores
from sk_dml.utils import all_embedders

PEER_NAMES = {
    "SNRContrastiveLoss": "SignalToNoiseRatioContrastiveLoss",
    "TripletLoss": "TripletMarginLoss",
}
EMBEDDERS = dict(all_embedders())
VARIANTS = {
    "CircleEmbedder": [{}, {"supervision": "class"}],
    "MarginEmbedder": [{}, {"learn_beta": "class"}],
    "AdaCosEmbedder": [{}, {"dynamic": False}],
}
PEER_MEMORY = 16 * 2**30  # bytes that a loss may reserve


def peer_loss(name, n_classes, n_features):
    """Build the peer of a loss with its own defaults."""
    sizes = {"num_classes": n_classes, "embedding_size": n_features}
    peer = getattr(peers, PEER_NAMES.get(name, name))
    return peer(**(sizes if has_proxies(name) else {}))


def own_loss(name, n_classes, n_features):
    """Build a loss with its defaults."""
    sizes = (n_classes, n_features) if has_proxies(name) else ()
    return getattr(losses, name)(*sizes)


def has_proxies(name):
    return (
        next(iter(inspect.signature(getattr(losses, name)).parameters)) == "n_classes"
    )


def peer_embedder(cls):
    """Return a subclass of an embedder that minimizes the peer's loss."""
    name = cls.__name__.removesuffix("Embedder") + "Loss"

    def make_loss(self, n_classes, n_samples):
        return peer_loss(name, n_classes, self.n_components)

    return type(f"Peer{cls.__name__}", (cls,), {"_make_loss": make_loss})


def train(name, params, path, epochs, seed, peer):
    """Train one embedder and score it; None stands for an untrained network."""
    torch.set_num_threads(1)
    with np.load(path) as data:
        X, y = data["X"], data["y"]
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    untrained = name is None
    cls = EMBEDDERS["CircleEmbedder" if untrained else name]
    params = {"max_epochs": epochs, "random_state": seed, **params}
    if untrained:  # the steps are too small to be any
        params |= {"max_epochs": 1, "lr": 1e-30, "weight_decay": 0.0}
    embedder = (peer_embedder(cls) if peer else cls)(**params)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scores = retrieval_scores(embedder.transform(X_test), y_test)
    return scores["map_at_r"], scores["precision_at_1"], seconds, memory


def has_peer(name):
    loss = name.removesuffix("Embedder") + "Loss"
    return hasattr(peers, PEER_NAMES.get(loss, loss))


def quality(title, path, epochs, given):
    """Print the table of one data set."""
    seeds, jobs, only = given.seeds, given.jobs, given.only
    which = (False,) if given.without_peers else (False, True)
    methods = [
        (name, params, peer)
        for name in EMBEDDERS
        if not only or name in only
        for params in VARIANTS.get(name, [{}])
        for peer in which
        if not peer or (has_peer(name) and not params)
    ]
    calls = [
        {"name": name, "params": params, "seed": seed, "peer": peer}
        for name, params, peer in [(None, {}, False), *methods]
        for seed in range(seeds)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        results = list(
            pool.map(
                lambda call: in_process(
                    __file__, "train", path=path, epochs=epochs, **call
                ),
                calls,
            )
        )
    table: dict = {}
    for call, result in zip(calls, results, strict=True):
        if isinstance(result, str):
            sys.exit(f"{call} failed: {result}")
        key = call["name"], str(call["params"] or ""), call["peer"]
        table.setdefault(key, []).append(result)
    with np.load(path) as data:
        *_, X_test, _, y_test = class_disjoint_split(data["X"], y=data["y"])
    raw = retrieval_scores(X_test.reshape(len(X_test), -1).astype(np.float32), y_test)
    print(f"\n## {title}: {epochs} epochs, {seeds} seeds, {jobs} at a time\n")
    print("| method | MAP@R | P@1 | s | MB | peer: MAP@R | P@1 | s | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(f"| raw | {raw['map_at_r']:.3f} | {raw['precision_at_1']:.3f} |||||||")
    pairs = []
    for (name, params, peer), rows in table.items():
        if peer:
            continue
        line = f"| {name or 'untrained'} {params} {cells(rows)}"
        theirs = table.get((name, params, True))
        if theirs:
            pairs.append([np.mean(rows, axis=0)[0], np.mean(theirs, axis=0)[0]])
            line += cells(theirs)
        print(line + "|")
    if pairs:
        ours, theirs = np.transpose(pairs)
        print(f"\nMean MAP@R of the {len(pairs)} methods with a peer: ours ", end="")
        print(f"{ours.mean():.3f}, peer {theirs.mean():.3f}; ours - peer from ", end="")
        print(f"{(ours - theirs).min():+.3f} to {(ours - theirs).max():+.3f}, ", end="")
        print(
            f"median {np.median(ours - theirs):+.3f}.\nBoth have their own defaults: "
        )
        print("what differs is the choice of defaults as well as the code.")


def cells(rows):
    rows = np.array(rows)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    seconds, memory = np.median(rows[:, 2]), rows[:, 3].max()
    return (
        f"| {mean[0]:.3f} ± {spread[0]:.3f} | {mean[1]:.3f} ± {spread[1]:.3f} "
        f"| {seconds:.0f} | {memory:.0f} "
    )


def cost(names, repeats=15, seconds=60):
    """Time losses in turns, slow ones less often.

    "peer" before a name stands for the peer's.
    """
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(512, 128, generator=generator, requires_grad=True)
    labels = torch.arange(512) // 16
    contestants = [build(name) for name in names]
    times: list = [[] for _ in contestants]
    end = time.perf_counter() + seconds
    while len(times[0]) < repeats + 2:
        for contestant, taken in zip(contestants, times, strict=True):
            start = time.perf_counter()
            contestant(embeddings, labels).backward()
            taken.append(time.perf_counter() - start)
        if len(times[0]) >= 5 and time.perf_counter() > end:
            break
    return [statistics.median(taken[2:]) for taken in times]


def build(name):
    kind, _, name = name.rpartition(" ")
    return (peer_loss if kind else own_loss)(name, 1000, 128)


def memory(name):
    """Measure the memory that a first forward and backward add, in MB."""
    return added_memory(build(name), 512, 128, torch.arange(512) // 16, PEER_MEMORY)


def costs(only):
    """Print the table of times and memory of the losses alone."""
    print("\n## Forward and backward of the loss, batch 512, 16 a class, 128 wide\n")
    print("| loss | ms | MB | peer: ms | MB | time, ours / peer |")
    print("|---|---|---|---|---|---|")
    for embedder in EMBEDDERS:
        if only and embedder not in only:
            continue
        name = embedder.removesuffix("Embedder") + "Loss"
        both = [name, f"peer {name}"] if has_peer(embedder) else [name]
        used = {which: in_process(__file__, "memory", name=which) for which in both}
        works = [which for which in both if not isinstance(used[which], str)]
        times = in_process(__file__, "cost", names=works)
        seconds = dict(zip(works, times, strict=True))
        line = f"| {name} "
        for which in both:
            if which in works:
                line += f"| {seconds[which] * 1e3:.2f} | {used[which]:.0f} "
            else:
                line += f"| {used[which]} | > {PEER_MEMORY >> 20} "
        if len(works) == 2:
            line += f"| {times[0] / times[1]:.2f} "
        print(f"{line}|", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", help=".npz file of images")
    parser.add_argument("--rows", help=".npz file of rows")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--image-epochs", type=int, default=20)
    parser.add_argument("--row-epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--only", nargs="*", help="names of embedders")
    parser.add_argument("--without-peers", action="store_true")
    given = parse(parser, globals())
    print(header("methods.py", "pytorch-metric-learning"))
    if given.images:
        quality("Images", given.images, given.image_epochs, given)
    if given.rows:
        quality("Rows", given.rows, given.row_epochs, given)
    if given.cost:
        costs(given.only)


if __name__ == "__main__":
    main()
