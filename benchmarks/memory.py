"""Memory of the losses at sizes where other formulations need many gigabytes.

Forward and backward in a process of its own; what they add to the memory of the
process at their largest, the gradients of the proxies included, the proxies not. Needs
Linux.
"""

import argparse

import torch
from _report import added_memory, header, in_process, parse

from sk_dml import losses

PAIRS = [
    "NTXentLoss",
    "SupConLoss",
    "LiftedStructureLoss",
    "NPairsLoss",
    "CircleLoss",
    "SmoothAPLoss",
]
MANY_CLASSES = ["ProxyNCALoss", "ProxyAnchorLoss", "ArcFaceLoss", "CosFaceLoss"]


def proxies(name, n_classes, n_features):
    """Measure a loss with proxies on a batch of 128."""
    loss = getattr(losses, name)(n_classes, n_features)
    return added_memory(loss, 128, n_features, torch.arange(128) * (n_classes // 128))


def pairs(name, n, per_class):
    """Measure a loss on pairs."""
    return added_memory(getattr(losses, name)(), n, 128, torch.arange(n) // per_class)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parse(parser, globals())
    print(header("memory.py"))
    print("\n| loss | sizes | MB | for comparison |")
    print("|---|---|---|---|")
    used = in_process(
        __file__, "proxies", name="SoftTripleLoss", n_classes=11318, n_features=64
    )
    square = (11318 * 10) ** 2 * 4 / 2**20
    print(
        "| SoftTripleLoss | 11,318 classes, 10 centers, 64 wide, batch 128 "
        f"| {used:.0f} | one matrix of all centers: {square:.0f} MB |"
    )
    for name in PAIRS:
        used = in_process(__file__, "pairs", name=name, n=2048, per_class=32)
        blocks = 2048 * 31 * 2016 * 4 / 2**20
        print(
            f"| {name} | batch 2,048, 32 a class, 128 wide | {used:.0f} "
            f"| a row of negatives for each pair: {blocks:.0f} MB |"
        )
    for name in MANY_CLASSES:
        used = in_process(
            __file__, "proxies", name=name, n_classes=100_000, n_features=64
        )
        print(f"| {name} | 100,000 classes, 64 wide, batch 128 | {used:.0f} | |")


if __name__ == "__main__":
    main()
