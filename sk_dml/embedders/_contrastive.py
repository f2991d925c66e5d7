"""Contrastive loss (Hadsell et al., 2006)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import uniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class ContrastiveLoss(PairLoss):
    r"""Contrastive loss on the pairs of a batch.

    With Euclidean distances :math:`d` between the normalized embeddings,

    .. math::

        L = \mathrm{mean}_{(i, p)} [d_{ip} - m_\text{pos}]_+
          + \mathrm{mean}_{(i, n)} [m_\text{neg} - d_{in}]_+ ,

    where p are the samples of the class of i, n are the others, and each mean is taken
    over the terms that are not zero. This is the form that the Reality Check [2]_
    compared. The original squares the terms and does not normalize the embeddings.

    Parameters
    ----------
    pos_margin : float, default=0.0
        Distance up to which pairs of one class have no loss, in [0, 2].
    neg_margin : float, default=0.5
        Distance from which on pairs of two classes have no loss, in [0, 2].

    References
    ----------
    .. [1] R. Hadsell, S. Chopra, Y. LeCun. "Dimensionality Reduction by Learning an
           Invariant Mapping". CVPR 2006.
    .. [2] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import ContrastiveLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = ContrastiveLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # sqrt(2) + 0.5
    1.91421...
    """

    _parameter_constraints = {
        "pos_margin": [Interval(Real, 0, 2, closed="both")],
        "neg_margin": [Interval(Real, 0, 2, closed="both")],
    }

    def __init__(self, pos_margin=0.0, neg_margin=0.5):
        super().__init__()
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin

    def _compare(self, rows, gallery, positives, negatives):
        (pull, pulls), (push, pushes) = self._terms(rows, gallery, positives, negatives)
        return F.masked_mean(pull, pulls) + F.masked_mean(push, pushes)

    def _count_active(self, rows, gallery, positives, negatives):
        (_, pulls), (_, pushes) = self._terms(rows, gallery, positives, negatives)
        return pulls.sum() + pushes.sum(), positives.sum() + negatives.sum()

    def _terms(self, rows, gallery, positives, negatives):
        distances = F.euclidean_distances(rows, gallery)
        pull = distances - self.pos_margin
        push = self.neg_margin - distances
        return (pull, positives & (pull > 0)), (push, negatives & (push > 0))


@dataclass(eq=False, repr=False)
class ContrastiveEmbedder(PairEmbedder):
    """Embedding learned with the contrastive loss.

    Pulls every pair of a class together and pushes pairs of different classes apart up
    to a margin. Choose it first for rows, and as the classical baseline: it is the
    oldest method, and in fair comparisons hard to beat.

    Parameters
    ----------
    pos_margin : float, default=0.0
        Distance below which a pair of one class is not pulled any more, in [0, 2]. If
        above 0, classes keep some width.
    neg_margin : float, default=0.5
        Distance above which a pair of different classes is not pushed any more, in
        [0, 2]. The larger, the more pairs are pushed. The Reality Check found 0.38 to
        0.54.

    See Also
    --------
    TripletEmbedder : Compares distances with each other instead of with a margin.
    CircleEmbedder : Weighs every pair by how far it is from its optimum.
    """

    _: KW_ONLY
    pos_margin: float = 0.0
    neg_margin: float = 0.5

    loss_class = ContrastiveLoss
    _search_space = {
        "pos_margin": uniform(0, 0.4),
        "neg_margin": uniform(0.2, 1.2),
    }
