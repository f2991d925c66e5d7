"""One epoch of fit against a hand-written torch loop that does the same work.

Same network, loss, batches and learning rates, on 20,000 x 16 random rows in 26
classes. Prints ratios of medians over repetitions taken in turn in one run.
"""

import argparse
import copy
import statistics
import time

import numpy as np
import torch
from _report import header

from sk_dml import CircleEmbedder, SoftTripleEmbedder
from sk_dml._training._sampling import ClassBatches, ShuffledBatches


def hand_written_epochs(embedder, X, y, *, epochs, fused):
    """Train as a careful torch user would; return the seconds an epoch."""
    network = copy.deepcopy(embedder.net_.module_)
    loss_function = copy.deepcopy(embedder.net_.criterion_)
    rng = np.random.default_rng(0)
    size = embedder.net_.batch_size
    if embedder.samples_per_class is None:
        batches = ShuffledBatches(len(X), size, rng)
    else:
        batches = ClassBatches(y, size, embedder.samples_per_class, rng)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    parameters = [*network.parameters(), *loss_function.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=epochs * len(batches), cycle_momentum=False
    )
    network.train()
    start = time.perf_counter()
    for _ in range(epochs):
        for batch in batches:
            rows = torch.from_numpy(batch)
            optimizer.zero_grad()
            loss = loss_function(network(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            loss.item()
    return (time.perf_counter() - start) / epochs


def fit_epochs(embedder, X, y):
    start = time.perf_counter()
    embedder.fit(X, y)
    return (time.perf_counter() - start) / embedder.max_epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 16)).astype(np.float32)
    y = rng.integers(0, 26, size=20_000)
    print(header("training.py"))
    print()
    print("Seconds an epoch, medians; fit counts all of fit, set-up included.")
    print()
    print(
        "| method | batch | fit | loop | loop, fused | fit / loop | fit / fused loop |"
    )
    print("|---|---|---|---|---|---|---|")
    for cls in (CircleEmbedder, SoftTripleEmbedder):
        for batch_size in (128, 32):
            embedder = cls(
                max_epochs=arguments.epochs, batch_size=batch_size, random_state=0
            ).fit(X, y)
            times = {"fit": [], "loop": [], "fused": []}
            for _ in range(arguments.repeats):
                times["fit"].append(fit_epochs(embedder, X, y))
                for name in ("loop", "fused"):
                    seconds = hand_written_epochs(
                        embedder, X, y, epochs=arguments.epochs, fused=name == "fused"
                    )
                    times[name].append(seconds)
            fit, loop, fused = (statistics.median(times[n]) for n in times)
            print(
                f"| {cls.__name__} | {batch_size} | {fit:.3f} | {loop:.3f} "
                f"| {fused:.3f} | {fit / loop:.2f} | {fit / fused:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
