"""The losses alone: torch modules for any training loop.

Every loss is called with embeddings of shape (n, d) and integer labels of shape (n,)
and returns a scalar. Losses with proxies take ``n_classes`` and ``n_features`` first
and hold them in ``proxies``. Give these to the optimiser too, or they stay as they are;
ten times the learning rate of the network suits them:

>>> import torch
>>> from sk_dml.losses import ProxyAnchorLoss
>>> network, loss = torch.nn.Linear(8, 4), ProxyAnchorLoss(n_classes=3, n_features=4)
>>> optimizer = torch.optim.Adam(
...     [{"params": network.parameters()}, {"params": loss.parameters(), "lr": 1e-2}],
...     lr=1e-3,
... )
>>> X, y = torch.randn(30, 8), torch.arange(30) % 3
>>> for _ in range(5):
...     optimizer.zero_grad()
...     loss(network(X), y).backward()
...     optimizer.step()
"""

from sk_dml._pairs import CrossBatchMemory
from sk_dml.embedders import *

__all__ = ["CrossBatchMemory", *(name for name in dir() if name.endswith("Loss"))]
