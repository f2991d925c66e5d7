"""The mathematics that the losses share: pure functions of torch tensors.

Everything here keeps values and gradients finite on degenerate batches: duplicate
rows, zero rows, a single class, all classes different, a single sample.
"""

from sk_dml._functional._checks import check_batch, check_proxy_batch, full_precision
from sk_dml._functional._pairs import (
    euclidean_distances,
    masked_logsumexp,
    masked_mean,
    pair_masks,
    refuse_second_derivatives,
    safe_sqrt,
    similarities,
    unit_rows,
)
from sk_dml._functional._proxies import (
    cross_entropy,
    proxy_cosines,
    random_directions,
    widen_own_angle,
)

__all__ = [
    "check_batch",
    "check_proxy_batch",
    "cross_entropy",
    "euclidean_distances",
    "full_precision",
    "masked_logsumexp",
    "masked_mean",
    "pair_masks",
    "proxy_cosines",
    "random_directions",
    "refuse_second_derivatives",
    "safe_sqrt",
    "similarities",
    "unit_rows",
    "widen_own_angle",
]
