"""Fair comparisons of methods, by the protocol of the Reality Check."""

from sk_dml.reality_check._check import RealityCheck
from sk_dml.reality_check._concatenated import ConcatenatedEmbedder
from sk_dml.reality_check._result import RealityCheckResult

__all__ = ["ConcatenatedEmbedder", "RealityCheck", "RealityCheckResult"]
