"""Fair comparisons of methods, by the protocol of the Reality Check."""

from sk_dml.benchmark._check import RealityCheck
from sk_dml.benchmark._concatenated import ConcatenatedEmbedder
from sk_dml.benchmark._result import RealityCheckResult

__all__ = ["ConcatenatedEmbedder", "RealityCheck", "RealityCheckResult"]
