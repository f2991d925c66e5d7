"""Cost of images in files: memory, and time of an epoch.

``memory``: fit and transform from 100,000 paths, the files of --folder repeated, each
in a process of its own; what they add at their largest to the memory after the imports.
``throughput``: epochs of fit on files against epochs on the same images as an array,
decoded before: the same network, batches and steps. Files are read by threads, as is
the default, by worker processes, or by nobody else. Repetitions are taken in turn,
medians shown. Needs Linux.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path

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
from torch import nn

from sk_dml import CircleEmbedder
from sk_dml._inputs._decode import load_square
from sk_dml.datasets import load_image_folder

PARTS = ("memory", "throughput")
N_CLASSES = 32  # of the throughput


class Tiny(nn.Sequential):
    """A network that takes almost no time, so that reading is measured."""

    def __init__(self, n_channels, n_components):
        pool = nn.AdaptiveAvgPool2d(4)
        super().__init__(pool, nn.Flatten(), nn.Linear(16 * n_channels, n_components))


NETWORKS = {"default": None, "tiny": Tiny}


def memory_of(folder, n, network, image_size):
    """Measure the memory that fit and transform add, and their seconds."""
    paths, y = load_image_folder(folder, return_X_y=True)
    paths, y = np.resize(paths, n), np.resize(y, n)
    embedder = CircleEmbedder(
        module=NETWORKS[network], max_epochs=1, image_size=image_size, random_state=0
    )
    gc.collect()
    reset_peak_memory()
    before = peak_memory()
    start = time.perf_counter()
    embedder.fit(paths, y)
    fitted, added_by_fit = time.perf_counter(), peak_memory() - before
    embedding = embedder.transform(paths)
    seconds = fitted - start, time.perf_counter() - fitted
    return added_by_fit, peak_memory() - before, *seconds, embedding.nbytes / 2**20


def show_memory(options):
    """Resident memory by the number of paths, batches of 128; fewer of the largest."""
    print("| network | image_size | paths | fit adds, MB | with transform, MB ", end="")
    print("| of these the embedding, MB | fit, s | transform, s |")
    print("|---" * 8 + "|")
    for network, size, share in (
        ("default", 32, 1),
        ("tiny", 128, 1),
        ("tiny", 227, 10),
    ):
        for n in (1_000, options.n // share):
            sizes = {"n": n, "network": network, "image_size": size}
            fit, both, *seconds, embedding = in_process(
                __file__, "memory_of", None, folder=options.folder, **sizes
            )
            times = " | ".join(f"{s:.0f}" for s in seconds)
            print(
                f"| {network} | {size} | {n:,} | {fit:.0f} | {both:.0f} "
                f"| {embedding:.0f} | {times} |",
                flush=True,
            )


def show_throughput(options):
    """Seconds an epoch of files and of the decoded array; set-up is not counted."""
    folder = load_image_folder(options.folder)
    chosen = folder.target < N_CLASSES
    paths, y = folder.paths[chosen], folder.target[chosen]
    workers = {
        "threads": None,
        "2 processes": {"iterator_train__num_workers": 2},
        "in step": {"iterator_train__num_workers": 0},
    }
    print(f"{len(paths)} files.\n")
    columns = ["array", *workers, *(f"array / {name}" for name in workers)]
    print("| image_size | batch |", " | ".join(columns), "|")
    print("|---" * (2 + len(columns)) + "|")
    for size, batch_size in ((128, 32), (64, 32), (32, 32)):
        side = round(size * 256 / 227)
        X = np.stack([load_square(path, side) for path in paths])
        times = {name: [] for name in ("array", *workers)}
        settings = {"batch_size": batch_size, "random_state": 0, "max_epochs": 1}
        for _ in range(options.repeats):
            found = CircleEmbedder(**settings).fit(X, y)
            times["array"] += [row["duration"] for row in found.history_]
            for name, net_params in workers.items():
                on_files = CircleEmbedder(
                    image_size=size, net_params=net_params, **settings
                ).fit(paths, y)
                times[name] += [row["duration"] for row in on_files.history_]
        medians = {name: statistics.median(seconds) for name, seconds in times.items()}
        shares = [f"{medians['array'] / medians[name]:.2f}" for name in workers]
        cells = [*(f"{m:.2f}" for m in medians.values()), *shares]
        print(f"| {size} | {batch_size} |", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--folder", help="images, a subfolder for every class")
    parser.add_argument("--n", type=int, default=100_000, help="paths")
    parser.add_argument("--repeats", type=int, default=3)
    options = parse(parser, globals())
    if options.folder is None or not Path(options.folder).is_dir():
        parser.error(f"--folder must be a folder, got {options.folder!r}")
    print(header("images_input.py", "pillow"))
    print()
    print(f"{torch.get_num_threads()} threads.")
    show_parts(globals(), options)


if __name__ == "__main__":
    main()
