"""NT-Xent (Sohn, 2016; Oord et al., 2018; Chen et al., 2020)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class NTXentLoss(PairLoss):
    r"""Normalized temperature-scaled cross-entropy on the pairs of a batch.

    For every pair of an anchor and a positive with cosine similarity :math:`s_p`, the
    similarities :math:`s_n` of the anchor to all negatives, and temperature T,

    .. math:: L = -\log \frac{e^{s_p / T}}{e^{s_p / T} + \sum_n e^{s_n / T}} ,

    averaged over the pairs. Other positives of the anchor are not in the denominator.
    With one positive per anchor, this is the loss of the paper.

    Parameters
    ----------
    temperature : float, default=0.1
        T, above 0.

    References
    ----------
    .. [1] K. Sohn. "Improved Deep Metric Learning with Multi-class N-pair Loss
           Objective". NeurIPS 2016.
    .. [2] T. Chen, S. Kornblith, M. Norouzi, G. Hinton. "A Simple Framework for
           Contrastive Learning of Visual Representations". ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import NTXentLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = NTXentLoss(temperature=0.5)
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # log(1 + 2 exp(-2))
    0.2395...
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def _compare(self, rows, gallery, positives, negatives):
        logits = F.similarities(rows, gallery) / self.temperature
        # One sum over the negatives serves all pairs of an anchor: n^2 numbers, where
        # a row of negatives for each pair would take n^3.
        against = F.masked_logsumexp(logits, negatives)
        pairs = (positives & negatives.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
        terms = nn.functional.softplus(against[pairs[0]] - logits[pairs])
        return terms.sum() / max(len(terms), 1)


@dataclass(eq=False, repr=False)
class NTXentEmbedder(PairEmbedder):
    """Embedding learned with the normalized temperature-scaled cross-entropy.

    Classifies, for each pair of a class, the positive against all negatives of the
    batch. Choose it for large batches with few samples of each class.

    Parameters
    ----------
    temperature : float, default=0.1
        Divisor of the cosines, above 0. The smaller, the more the hardest negatives
        dominate. SimCLR uses 0.1 to 0.5, CLIP ends near 0.01, and the
        Reality Check found 0.0002 to 0.022.

    See Also
    --------
    SupConEmbedder : Treats all positives of an anchor together.
    """

    _: KW_ONLY
    temperature: float = 0.1

    loss_class = NTXentLoss
    _search_space = {"temperature": loguniform(1e-4, 1)}
