"""Helpers of the oracles of the losses.

An oracle is a loss again, in float64 numpy loops, written from its paper.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sk_dml import losses

N_CLASSES, N_FEATURES = 4, 6


@dataclass
class Method:
    """A loss with its arguments and its oracle.

    ``oracle(rows, labels, state)`` receives the embeddings and, by name, the parameters
    and buffers of the loss; rows and proxies have length one unless ``raw``. For a pair
    loss the labels may be two masks. ``frozen`` names the methods of the loss whose
    result has no gradient by definition. ``state`` replaces the first values of
    parameters and buffers.
    """

    name: str
    oracle: Any
    arguments: dict = field(default_factory=dict)
    has_proxies: bool = False
    raw: bool = False
    frozen: tuple = ()
    state: dict = field(default_factory=dict)

    def make(self, n_classes=N_CLASSES, n_features=N_FEATURES):
        sizes = (n_classes, n_features) if self.has_proxies else ()
        loss = getattr(losses, self.name)(*sizes, **self.arguments)
        given = {name: torch.tensor(value) for name, value in self.state.items()}
        loss.load_state_dict({**loss.state_dict(), **given})
        return loss

    def __str__(self):
        return f"{self.name}({self.arguments})"


def pairs(labels):
    """Indices of the positives and negatives of every sample, from labels or masks."""
    if isinstance(labels, tuple):
        return [[np.flatnonzero(row).tolist() for row in mask] for mask in labels]
    n = len(labels)
    positives = [
        [j for j in range(n) if j != i and labels[j] == labels[i]] for i in range(n)
    ]
    negatives = [[j for j in range(n) if labels[j] != labels[i]] for i in range(n)]
    return positives, negatives


def mean_of_nonzero(terms):
    active = [term for term in terms if term > 0]
    return sum(active) / len(active) if active else 0.0
