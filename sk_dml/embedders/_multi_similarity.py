"""Multi-Similarity loss (Wang et al., 2019)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class MultiSimilarityLoss(PairLoss):
    r"""Multi-Similarity loss on mined pairs of a batch.

    With the cosine similarities :math:`s_p` of an anchor to its mined positives and
    :math:`s_n` to its mined negatives,

    .. math::

        L = \frac{1}{\alpha} \log\Big[1 + \sum_p e^{-\alpha (s_p - \lambda)}\Big]
          + \frac{1}{\beta} \log\Big[1 + \sum_n e^{\beta (s_n - \lambda)}\Big] .

    A positive is mined if it is less similar than the most similar negative plus
    :math:`\epsilon`; a negative if it is more similar than the least similar positive
    minus :math:`\epsilon`. The loss of a batch is the mean over the anchors that have
    both positives and negatives in it.

    Parameters
    ----------
    alpha : float, default=2.0
        Factor of the similarities of positives, above 0.
    beta : float, default=50.0
        Factor of the similarities of negatives, above 0.
    base : float, default=0.5
        The paper's lambda, in [-1, 1].
    epsilon : float or None, default=0.1
        Margin of the miner, at least 0. None uses every pair.

    References
    ----------
    .. [1] X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott. "Multi-Similarity Loss with
           General Pair Weighting for Deep Metric Learning". CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import MultiSimilarityLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = MultiSimilarityLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # nothing is mined
    0.0
    >>> bool(loss(embeddings, torch.tensor([0, 1, 0, 1])) > 1)
    True
    """

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "base": [Interval(Real, -1, 1, closed="both")],
        "epsilon": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(self, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1):
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon

    def _compare(self, rows, gallery, positives, negatives):
        similarities = F.similarities(rows, gallery)
        counted = positives.any(dim=1) & negatives.any(dim=1)
        positives, negatives = self._mine(similarities, positives, negatives)
        offsets = similarities - self.base
        # softplus(logsumexp(v)) is log(1 + sum(exp(v))), without overflow.
        pull = nn.functional.softplus(
            F.masked_logsumexp(-self.alpha * offsets, positives)
        )
        push = nn.functional.softplus(
            F.masked_logsumexp(self.beta * offsets, negatives)
        )
        return F.masked_mean(pull / self.alpha + push / self.beta, counted)

    def _mine(self, similarities, positives, negatives):
        if self.epsilon is None or not len(similarities):
            return positives, negatives
        hardest_negative = similarities.where(negatives, -torch.inf).amax(dim=1)
        hardest_positive = similarities.where(positives, torch.inf).amin(dim=1)
        near = similarities < hardest_negative[:, None] + self.epsilon
        far = similarities > hardest_positive[:, None] - self.epsilon
        return positives & near, negatives & far

    def _count_active(self, rows, gallery, positives, negatives):
        if self.epsilon is None:
            return 0, 0
        similarities = F.similarities(rows, gallery)
        mined, pushed = self._mine(similarities, positives, negatives)
        return mined.sum() + pushed.sum(), positives.sum() + negatives.sum()


@dataclass(eq=False, repr=False)
class MultiSimilarityEmbedder(PairEmbedder):
    """Embedding learned with the Multi-Similarity loss.

    Mines the pairs of a batch that are in the wrong order, and weighs each by its own
    similarity and the similarities of the anchor's other pairs. Choose it as a strong
    general method for retrieval.

    Parameters
    ----------
    alpha : float, default=2.0
        Factor of the similarities of positives, above 0. The larger, the more the
        farthest positive dominates.
    beta : float, default=50.0
        Factor of the similarities of negatives, above 0. The larger, the more the
        nearest negative dominates. The paper uses 50, its code 40.
    base : float, default=0.5
        Similarity that positives should be above and negatives below, in [-1, 1]. The
        paper uses 1, its code 0.5, which trains better from scratch.
    epsilon : float or None, default=0.1
        Margin of the miner, at least 0: pairs that are in the right order by more than
        it have no loss. None uses every pair.

    See Also
    --------
    CircleEmbedder : Weighs every pair by how far it is from its optimum.
    """

    _: KW_ONLY
    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    epsilon: float | None = 0.1

    loss_class = MultiSimilarityLoss
    _search_space = {
        "alpha": loguniform(0.5, 50),
        "beta": loguniform(5, 200),
        "base": uniform(0, 1),
        "epsilon": uniform(0, 0.8),
    }
