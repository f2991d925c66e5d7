"""Precision@1 and MAP@R of many embeddings, beside what else computes or could.

Beside pytorch-metric-learning's AccuracyCalculator, which searches with faiss, a search
by faiss-cpu alone and by scikit-learn for as many neighbors as a class has items, and
the bare product of all rows in tiles. Medians of runs in turns, and their ratios; the
largest memory that ours and AccuracyCalculator add to processes of their own. The first
call, which compiles or loads compiled code, is told apart. Then the approximate search,
once a size, beside the exact one, for lists of neighbors and scores, on random rows or
on the principal components of images; compiling is told apart. Needs Linux.
"""

import argparse
import functools
import os
import statistics
import time
import warnings

import numpy as np
from _report import header, in_process, parse, peak_memory, reset_peak_memory

SIZES = [(20_000, 128, 5), (20_000, 128, 200), (60_000, 512, 5), (118_898, 128, 20)]


@functools.cache
def data(n, n_features, per_class):
    """Draw classes on the sphere that overlap with their neighbors."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) // per_class
    centers = rng.normal(size=(labels[-1] + 1, n_features)).astype(np.float32)
    X = centers[labels] + 1.5 * rng.normal(size=(n, n_features)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    order = rng.permutation(n)
    return X[order], labels[order]


def ours(X, labels):
    from sk_dml.metrics import retrieval_scores

    scores = retrieval_scores(X, labels)
    return scores["precision_at_1"], scores["map_at_r"]


def calculator(X, labels):
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    names = ("precision_at_1", "mean_average_precision_at_r")
    found = AccuracyCalculator(
        include=names, k="max_bin_count", device=torch.device("cpu")
    ).get_accuracy(torch.from_numpy(X), torch.from_numpy(labels))
    return tuple(float(found[name]) for name in names)


def flat(X, labels):
    import faiss

    index = faiss.IndexFlatIP(X.shape[1])
    index.add(X)
    index.search(X, int(np.bincount(labels).max()))


def brute(X, labels):
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(
        n_neighbors=int(np.bincount(labels).max()) - 1, algorithm="brute"
    )
    search.fit(X).kneighbors(return_distance=False)


def product(X, labels, tile=1024):
    out = np.empty((tile, tile), dtype=np.float32)
    for start in range(0, len(X), tile):
        rows = X[start : start + tile]
        for other in range(0, len(X), tile):
            columns = X[other : other + tile]
            np.matmul(rows, columns.T, out=out[: len(rows), : len(columns)])


def components(path, n):
    """Read images and project them, as rows of length one."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    with np.load(path) as archive:
        X, labels = archive["X"], archive["y"]
    X = X.reshape(len(X), -1).astype(np.float32)
    X = PCA(128, svd_solver="randomized", random_state=0).fit_transform(X)
    order = np.random.default_rng(0).permutation(len(X))[:n]
    return normalize(X)[order].astype(np.float32), labels[order]


def approximate(n, path):
    """Time lists of 10 neighbors and scores, exact and approximate, once each."""
    from sk_dml.metrics import retrieval_scores
    from sk_dml.neighbors import nearest_neighbors, neighbor_recall

    warnings.simplefilter("ignore")
    X, labels = components(path, n) if path else data(n, 128, 20)
    few = X[:2000], labels[:2000] % 100
    found = {}
    start = time.perf_counter()
    for search in ("approximate", "exact"):
        nearest_neighbors(few[0], search=search)
        retrieval_scores(*few, search=search)
    retrieval_scores(X[:5000], labels[:5000] % 100)
    found["first calls"] = time.perf_counter() - start
    for search in ("exact", "approximate"):
        start = time.perf_counter()
        _, indices = nearest_neighbors(X, search=search, random_state=0)
        found[f"lists, {search}"] = time.perf_counter() - start
        start = time.perf_counter()
        scores = retrieval_scores(
            X, labels, metrics=["map_at_r"], search=search, random_state=0
        )
        found[f"scores, {search}"] = time.perf_counter() - start
        found[f"MAP@R, {search}"] = scores["map_at_r"]
    found["recall"] = neighbor_recall(indices, X, random_state=0)
    return found


CONTESTANTS = {
    "sk_dml": ours,
    "AccuracyCalculator": calculator,
    "faiss flat": flat,
    "scikit-learn brute": brute,
    "bare product": product,
}


def seconds(size, repeats):
    """Time all contestants in turns."""
    warnings.simplefilter("ignore")
    X, labels = data(*size)
    times: dict = {name: [] for name in CONTESTANTS}
    results = {}
    for turn in range(repeats + 1):
        for name, contestant in CONTESTANTS.items():
            if turn == 0 and name != "sk_dml":
                continue
            start = time.perf_counter()
            results[name] = contestant(X, labels)
            times[name].append(time.perf_counter() - start)
    first = times["sk_dml"].pop(0)
    return first, {k: statistics.median(v) for k, v in times.items()}, results


def memory(size, name):
    """Measure what a contestant adds to the memory of the process, in MB."""
    warnings.simplefilter("ignore")
    X, labels = data(*size)
    few = np.arange(3000) % 5 == 0
    CONTESTANTS[name](
        X[: len(few)][few], labels[: len(few)][few] % 9
    )  # loads what it needs
    reset_peak_memory()
    before = peak_memory()
    CONTESTANTS[name](X, labels)
    return peak_memory() - before


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--sizes", type=int, default=len(SIZES), help="the first so many"
    )
    parser.add_argument(
        "--approximate",
        type=int,
        nargs="*",
        default=[30_000, 60_000, 118_898],
        help="rows to search approximately",
    )
    parser.add_argument("--images", help="a file with images X and classes y")
    given = parse(parser, globals())
    print(header("retrieval.py", "pytorch-metric-learning", "faiss-cpu"))
    for size in SIZES[: given.sizes]:
        n, n_features, per_class = size
        first, times, results = in_process(
            __file__, "seconds", threads=None, size=size, repeats=given.repeats
        )
        (p1, map_at_r), theirs = results["sk_dml"], results["AccuracyCalculator"]
        print(f"\n## {n:,} x {n_features}, {per_class} a class\n")
        print(f"P@1 {p1:.4f}, MAP@R {map_at_r:.4f}; AccuracyCalculator ", end="")
        print(f"{theirs[0]:.4f}, {theirs[1]:.4f}. First call {first:.2f} s.\n")
        print("| | s | sk_dml / it | MB |\n|---|---|---|---|")
        for name, taken in times.items():
            line = f"| {name} | {taken:.2f} | {times['sk_dml'] / taken:.2f} |"
            if name in ("sk_dml", "AccuracyCalculator"):
                used = in_process(
                    __file__, "memory", threads=None, size=size, name=name
                )
                line += f" {used:.0f} "
            print(f"{line}|", flush=True)
    if not given.approximate:
        return
    what = "random rows" if given.images is None else os.path.basename(given.images)
    print(f"\n## Approximate search, {what}, width 128, about 20 a class\n")
    print("| rows | lists of 10, s: exact | approximate | factor | recall@10 |", end="")
    print(" scores, s: exact | approximate | factor | MAP@R | less | first calls, s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for n in given.approximate:
        found = in_process(
            __file__, "approximate", threads=None, n=n, path=given.images
        )
        line = f"| {n:,} "
        for kind in ("lists", "scores"):
            exact, other = (found[f"{kind}, {s}"] for s in ("exact", "approximate"))
            line += f"| {exact:.1f} | {other:.1f} | {exact / other:.2f} "
            if kind == "lists":
                line += f"| {found['recall']:.3f} "
        best = found["MAP@R, exact"]
        line += f"| {best:.4f} | {best - found['MAP@R, approximate']:.4f} "
        print(f"{line}| {found['first calls']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
