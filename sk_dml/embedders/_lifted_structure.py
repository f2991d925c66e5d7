"""Lifted structured loss (Song et al., 2016)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import uniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class LiftedStructureLoss(PairLoss):
    r"""Lifted structured loss: each positive pair against all negatives of both ends.

    With Euclidean distances :math:`d` between the embeddings, not normalized, and
    margin m, for every pair of samples i and j of one class,

    .. math::

        J_{ij} = \log\Big[\sum_{n : y_n \ne y_i} e^{m - d_{in}}
            + \sum_{n : y_n \ne y_j} e^{m - d_{jn}}\Big] + d_{ij} ,
        \quad L = \tfrac{1}{2} \mathrm{mean}_{(i, j)} [J_{ij}]_+^2 .

    Parameters
    ----------
    margin : float, default=1.0
        The paper's alpha, m, at least 0.

    References
    ----------
    .. [1] H. O. Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via
           Lifted Structured Feature Embedding". CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import LiftedStructureLoss
    >>> embeddings = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]])
    >>> loss = LiftedStructureLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item() > 100
    True
    """

    _normalizes = False
    _parameter_constraints = {"margin": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def _compare(self, rows, gallery, positives, negatives):
        # From differences, not products: rows are not normalized, so that long rows may
        # be close to each other.
        distances = torch.cdist(
            rows, gallery, compute_mode="donot_use_mm_for_euclid_dist"
        )
        closeness = self.margin - distances
        against = F.masked_logsumexp(closeness, negatives)
        # One sum per sample serves all its pairs. References have their negatives in
        # the batch only.
        others = slice(len(rows), None)
        against_others = F.masked_logsumexp(closeness.T[others], negatives.T[others])
        both = torch.logaddexp(against[:, None], torch.cat([against, against_others]))
        terms = (distances + both).clamp(min=0)
        return F.masked_mean(terms.square(), positives) / 2


@dataclass(eq=False, repr=False)
class LiftedStructureEmbedder(PairEmbedder):
    """Embedding learned with the lifted structured loss.

    Compares every pair of a class with all negatives of its two samples in the batch.
    Choose it for comparison with the methods that came after it.

    Parameters
    ----------
    margin : float, default=1.0
        Distance above which a negative has little weight, at least 0. The paper uses 1.

    See Also
    --------
    MultiSimilarityEmbedder : Weighs positives and negatives separately, on cosines.
    TripletEmbedder : One negative at a time.
    """

    _: KW_ONLY
    margin: float = 1.0

    loss_class = LiftedStructureLoss
    _search_space = {"margin": uniform(0.2, 1.8)}
