"""The losses alone: torch modules for any training loop.

Every loss is called with embeddings of shape (n, d) and integer labels of shape (n,)
and returns a scalar. Losses with proxies take ``n_classes`` and ``n_features`` first
and hold them in ``proxies``: give these to the optimiser too.
"""

from sk_dml._pairs import CrossBatchMemory
from sk_dml.embedders import *

__all__ = ["CrossBatchMemory", *(name for name in dir() if name.endswith("Loss"))]
