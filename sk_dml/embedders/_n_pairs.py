"""N-pair loss (Sohn, 2016)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class NPairsLoss(PairLoss):
    r"""Multi-class N-pair loss: a positive against one negative of every other class.

    For every pair of an anchor a and a positive p of the batch, with the embeddings
    :math:`f`, not normalized, and the set :math:`G_c` of the samples of class c,

    .. math::

        L = \log\Big[1 + \sum_{c \ne y_a} \frac{1}{|G_c|} \sum_{n \in G_c}
            e^{f_a \cdot f_n - f_a \cdot f_p}\Big] ,

    averaged over the pairs, plus ``l2_weight`` times the mean of
    :math:`\lVert f \rVert^2`. The paper's batches hold two samples of each class, one
    of which is the negative of the other classes. The mean over a class is what one of
    its samples, drawn at random, contributes on average; with it, any batch can be
    used, in any order. The loss needs labels, and accepts no masks.

    Parameters
    ----------
    l2_weight : float, default=0.02
        Weight of the mean squared length, at least 0.

    References
    ----------
    .. [1] K. Sohn. "Improved Deep Metric Learning with Multi-class N-pair Loss
           Objective". NeurIPS 2016.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import NPairsLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = NPairsLoss(l2_weight=0.0)
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # log(1 + exp(-1))
    0.3132...
    """

    needs_labels = True
    _normalizes = False
    _parameter_constraints = {"l2_weight": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, l2_weight=0.02):
        super().__init__()
        self.l2_weight = l2_weight

    def _compare(
        self, rows, gallery, positives, negatives, labels=None, gallery_labels=None
    ):
        products = F.similarities(rows, gallery)
        _, index, sizes = gallery_labels.unique(return_inverse=True, return_counts=True)
        # The mean over a class is the sum of e^(product - log size).
        shares = products - sizes.to(products.dtype).log()[index]
        against = F.masked_logsumexp(shares, negatives)
        pairs = (positives & negatives.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
        terms = torch.nn.functional.softplus(against[pairs[0]] - products[pairs])
        loss = terms.sum() / max(len(terms), 1)
        lengths = rows.square().sum() / max(len(rows), 1)
        return loss + self.l2_weight * lengths


@dataclass(eq=False, repr=False)
class NPairsEmbedder(PairEmbedder):
    """Embedding learned with the multi-class N-pair loss.

    Compares each positive with one negative of every other class at once, where a
    triplet has a single negative. Choose it for batches of many classes with two
    samples each.

    Parameters
    ----------
    l2_weight : float, default=0.02
        Weight of the mean squared length of the embeddings, at least 0. Without it,
        embeddings may grow instead of changing their direction. The paper regularizes
        them too.

    See Also
    --------
    NTXentEmbedder : The same idea on normalized embeddings, with a temperature.
    """

    _: KW_ONLY
    samples_per_class: int | None = 2
    l2_weight: float = 0.02

    loss_class = NPairsLoss
    _search_space = {"l2_weight": loguniform(1e-4, 1)}
