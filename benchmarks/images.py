"""Images of classes never seen in training: retrieval by MAP@R and precision@1.

The first half of the classes is for training, the second for test (of 81, 41 and 40).
``omniglot`` and ``glyphs``: .npz files of gray images X with classes y; raw pixels,
embedders with default parameters, the same without augmentation, and a network of three
convolutions.
``grocery``: a folder of photographs with index.csv (path, label), cut to squares of 128
pixels; the features of torchvision's mobilenet_v2 (IMAGENET1K_V1, found by TORCH_HOME)
unchanged, embedders that fine-tune it, and pytorch-metric-learning with its usual
recipe on the same network and head: its loss and MPerClassSampler, a DataLoader,
torchvision's RandomResizedCrop and flip image by image, AdamW at 1e-4 for the network
and 1e-3 for the head, batch norms frozen; as many epochs as fit into the time of ours.
Both take batches of 32.

Every training runs in a process of its own, with a thread for each core unless
told otherwise.
"""

import argparse
import csv
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import answer, header, in_process, peak_memory
from torch import nn

import sk_dml
from sk_dml import class_disjoint_split
from sk_dml._inputs._images import ArrayImages
from sk_dml._networks._build import build_network
from sk_dml.metrics import retrieval_scores

SIDE = 128
BACKBONE = "torchvision/mobilenet_v2"
WEIGHTS = "IMAGENET1K_V1"
GROCERY_BATCH = 32


class ThreeLayers(nn.Sequential):
    """Three convolutions, each followed by a halving, and a linear layer."""

    def __init__(self, n_components, n_channels):
        layers: list[nn.Module] = []
        for n_in, n_out in ((n_channels, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, *pool, nn.Linear(128, n_components))


def load(path):
    """Read a file of arrays, or a folder of photographs, and split their classes."""
    path = Path(path)
    if path.is_file():
        with np.load(path) as data:
            X, y = data["X"], data["y"]
    else:
        from PIL import Image, ImageOps

        with open(path / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        y = np.array([int(row["label"]) for row in rows])
        X = np.empty((len(rows), 3, SIDE, SIDE), dtype=np.uint8)
        for image, row in zip(X, rows, strict=True):
            with Image.open(path / row["path"]) as opened:
                square = ImageOps.fit(opened.convert("RGB"), (SIDE, SIDE))
            image[:] = np.moveaxis(np.asarray(square), -1, 0)
    return class_disjoint_split(X, y=y, test_size=len(np.unique(y)) // 2)


def scores(embedding, y, seconds):
    found = retrieval_scores(embedding, y)
    return found["map_at_r"], found["precision_at_1"], seconds, peak_memory()


def raw(path):
    """Score pixels, scaled to length one."""
    _, X, _, y = load(path)
    rows = X.reshape(len(X), -1).astype(np.float32)
    return scores(rows / np.linalg.norm(rows, axis=1, keepdims=True), y, 0)


def train(path, name, seed, epochs=None, **params):
    """Train an embedder, with its defaults for other parameters."""
    X, X_test, y, y_test = load(path)
    if params.get("module") == "three layers":
        params["module"] = ThreeLayers
    if epochs is not None:
        params["max_epochs"] = epochs
    embedder = getattr(sk_dml, name)(random_state=seed, **params)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder.fit(X, y)
    seconds = time.perf_counter() - start
    return scores(embedder.transform(X_test), y_test, seconds)


def pretrained(n_components=64):
    """Build the pretrained network as the embedders do."""
    blank = ArrayImages.from_array(np.zeros((2, 3, SIDE, SIDE), np.uint8))
    return build_network(
        BACKBONE, {"weights": WEIGHTS}, blank, n_components=n_components
    )


@torch.no_grad()
def embed(network, X):
    network.eval()
    blocks = torch.from_numpy(X).split(256)
    rows = torch.cat([network(block) for block in blocks])
    return nn.functional.normalize(rows).numpy()


def features(path, pool):
    """Score the pretrained features, scaled to length one."""
    _, X, _, y = load(path)
    network = pretrained()
    network.backbone.head = nn.Identity()
    rows = embed(network, X)
    if pool == "mean":
        rows = rows[:, : rows.shape[1] // 2]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return scores(rows, y, 0)


def peer(path, loss, seed, seconds):
    """Train with pytorch-metric-learning for a given time."""
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.samplers import MPerClassSampler
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    X, X_test, y, y_test = load(path)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - its sampler draws from there
    change = v2.Compose(
        [v2.RandomResizedCrop(SIDE, (0.16, 1)), v2.RandomHorizontalFlip()]
    )

    class Photographs(Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, place):
            return change(torch.from_numpy(X[place])), int(y[place])

    network = pretrained()
    head = set(network.backbone.head.parameters())
    body = [p for p in network.parameters() if p not in head]
    groups = [{"params": body, "lr": 1e-4}, {"params": [*head], "lr": 1e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    loss_function = getattr(losses, loss)(**PEERS[loss])
    sampler = MPerClassSampler(y, 4, GROCERY_BATCH, length_before_new_iter=len(X))
    loader = DataLoader(Photographs(), batch_size=GROCERY_BATCH, sampler=sampler)
    start, epochs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        network.train()
        for module in network.modules():
            module.train(not isinstance(module, nn.BatchNorm2d))
        for images, labels in loader:
            optimizer.zero_grad()
            loss_function(network(images), labels).backward()
            optimizer.step()
            if time.perf_counter() - start > seconds:
                break
        epochs += 1
    taken = time.perf_counter() - start
    return *scores(embed(network, X_test), y_test, taken), epochs


PEERS = {"CircleLoss": {"m": 0.4, "gamma": 80}, "ContrastiveLoss": {}}


def row(label, results):
    """Print means, and standard deviations over several seeds."""
    failed = [result for result in results if isinstance(result, str)]
    if failed:
        print(f"| {label} | {failed[0]} ||||", flush=True)
        return None
    found = np.array([result[:4] for result in results])
    shown = [f"{mean:.3f}" for mean in found[:, :2].mean(0)]
    if len(found) > 1:
        spreads = found[:, :2].std(0)
        shown = [f"{m} ± {s:.3f}" for m, s in zip(shown, spreads, strict=True)]
    seconds, memory = np.median(found[:, 2]), found[:, 3].max()
    print(
        f"| {label} | {' | '.join(shown)} | {seconds:.0f} | {memory:.0f} |", flush=True
    )
    return np.median(found[:, 2])


def show(title, path, runs, seeds, threads):
    """Print the table of a part; return the seconds of every row."""
    *_, y_test = load(path)
    print(f"\n## {title}\n\n{len(y_test):,} test images, ", end="")
    print(f"{len(np.unique(y_test))} classes; {seeds} seed(s).\n")
    print("| method | MAP@R | P@1 | s | MB |")
    print("|---" * 5 + "|", flush=True)
    times = {}
    for label, function, arguments in runs:
        wanted = range(seeds) if function in ("train", "peer") else [None]
        results = []
        for seed in wanted:
            given = dict(arguments) if seed is None else {**arguments, "seed": seed}
            if function == "peer":
                given["seconds"] = times[given.pop("as_long_as")]
            results.append(in_process(__file__, function, threads, path=path, **given))
        times[label] = row(label, results)
        if function == "peer" and not isinstance(results[0], str):
            print(f"| (epochs of the peer: {results[0][4]}) |||||", flush=True)


def gray_runs(names, epochs):
    plain = {"augment": None}
    yield "raw pixels", "raw", {}
    for name in names:
        default = {"name": name, "epochs": epochs}
        yield name, "train", default
        yield f"{name}, no augmentation", "train", {**default, **plain}
        three = {**default, "module": "three layers"}
        yield f"{name}, three layers", "train", three
        yield f"{name}, three layers, no augmentation", "train", {**three, **plain}


def grocery_runs(names, epochs):
    yield "pretrained, mean", "features", {"pool": "mean"}
    yield "pretrained, mean and maximum", "features", {"pool": "both"}
    weights = {"module__weights": WEIGHTS}
    for name in names:
        ours = {"name": name, "module": BACKBONE, "epochs": epochs}
        ours |= {"net_params": weights, "batch_size": GROCERY_BATCH}
        yield name, "train", ours
        yield f"{name}, 256 components", "train", {**ours, "n_components": 256}
        yield f"{name}, no augmentation", "train", {**ours, "augment": None}
        loss = name.removesuffix("Embedder") + "Loss"
        yield f"peer: {loss}", "peer", {"loss": loss, "as_long_as": name}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--omniglot", help=".npz file")
    parser.add_argument("--glyphs", help=".npz file")
    parser.add_argument("--grocery", help="folder with index.csv")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--epochs", type=int, help="of gray images; the default if not")
    parser.add_argument("--grocery-epochs", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=["CircleEmbedder"])
    parser.add_argument("--call", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.call:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        answer(globals(), given.call)
        return
    print(header("images.py", "torchvision", "pytorch-metric-learning"))
    settings = given.seeds, given.threads
    if given.omniglot:
        runs = gray_runs(given.only, given.epochs)
        show("Omniglot", given.omniglot, runs, *settings)
    if given.glyphs:
        runs = gray_runs(given.only, given.epochs)
        show("Glyphs", given.glyphs, runs, *settings)
    if given.grocery:
        epochs = given.grocery_epochs
        runs = grocery_runs(given.only, epochs)
        show(f"Photographs, {epochs} epochs", given.grocery, runs, *settings)


if __name__ == "__main__":
    main()
