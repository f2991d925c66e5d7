"""Triplet loss (Schroff et al., 2015; Hermans et al., 2017)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import uniform
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss

MINING = ("all", "semihard", "hard")


class TripletLoss(PairLoss):
    r"""Triplet loss on the triplets of a batch.

    A triplet is an anchor, a positive of its class and a negative of another. With
    Euclidean distances :math:`d` between the normalized embeddings,

    .. math::

        L = \mathrm{mean}_{(a, p, n)} [d_{ap} - d_{an} + m]_+

    over the mined triplets whose term is not zero.

    Parameters
    ----------
    margin : float, default=0.2
        How much farther than the positive the negative must be, in [0, 2].
    mining : {"all", "semihard", "hard"}, default="semihard"
        Which triplets count:

        - "all": every triplet;
        - "semihard": for every anchor and positive, the nearest of the negatives that
          are farther than the positive [1]_;
        - "hard": for every anchor, its farthest positive and nearest negative [2]_.

    References
    ----------
    .. [1] F. Schroff, D. Kalenichenko, J. Philbin. "FaceNet: A Unified Embedding for
           Face Recognition and Clustering". CVPR 2015.
    .. [2] A. Hermans, L. Beyer, B. Leibe. "In Defense of the Triplet Loss for Person
           Re-Identification". arXiv:1703.07737, 2017.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import TripletLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = TripletLoss(mining="all")
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # half are sqrt(2) + 0.2
    0.9071...
    """

    _parameter_constraints = {
        "margin": [Interval(Real, 0, 2, closed="both")],
        "mining": [StrOptions(set(MINING))],
    }

    def __init__(self, margin=0.2, mining="semihard"):
        super().__init__()
        self.margin = margin
        self.mining = mining

    def _compare(self, rows, gallery, positives, negatives):
        distances = F.euclidean_distances(rows, gallery)
        if self.mining != "all":
            terms, mined = self._mine(distances, positives, negatives)
            return F.masked_mean(terms, mined & (terms > 0))
        # The active negatives of a pair are the nearest n_active ones of its anchor:
        # with their distances sorted and summed up once, each sum over them is a
        # difference, and nothing of the size of the triplets is in memory.
        reach, sorted_negatives, n_active = self._reach(distances, positives, negatives)
        finite = sorted_negatives.where(sorted_negatives.isfinite(), 0)
        sums = nn.functional.pad(finite.cumsum(dim=1), (1, 0))
        total = (n_active * reach - sums.gather(1, n_active)).sum()
        return total / n_active.sum().clamp(min=1)

    def _count_active(self, rows, gallery, positives, negatives):
        distances = F.euclidean_distances(rows, gallery)
        if self.mining != "all":
            terms, mined = self._mine(distances, positives, negatives)
            return (mined & (terms > 0)).sum(), (mined & terms.isfinite()).sum()
        _, _, n_active = self._reach(distances, positives, negatives)
        return n_active.sum(), (positives.sum(1) * negatives.sum(1)).sum()

    def _mine(self, distances, positives, negatives):
        """Return the terms before the hinge, and a mask of those that count."""
        if self.mining == "hard":
            # The added column is for anchors without a pair and for empty batches.
            farthest = _padded(distances.where(positives, -torch.inf), -torch.inf)
            nearest = _padded(distances.where(negatives, torch.inf), torch.inf)
            terms = farthest.amax(dim=1) - nearest.amin(dim=1) + self.margin
            return terms, positives.any(dim=1)
        sorted_negatives = _sorted_negatives(distances, negatives)
        first_farther = _count_below(sorted_negatives, distances, right=True)
        nearest = _padded(sorted_negatives, torch.inf).gather(1, first_farther)
        return distances - nearest + self.margin, positives

    def _reach(self, distances, positives, negatives):
        """Count the negatives nearer than each positive's distance plus the margin."""
        sorted_negatives = _sorted_negatives(distances, negatives)
        reach = distances + self.margin
        n_active = _count_below(sorted_negatives, reach).where(positives, 0)
        return reach, sorted_negatives, n_active


def _sorted_negatives(distances, negatives):
    # The negatives of each anchor, nearest first: n^2 log n steps and n^2 numbers,
    # instead of n^3 for a list of the triplets.
    return distances.where(negatives, torch.inf).sort(dim=1).values


def _padded(rows, value):
    return nn.functional.pad(rows, (0, 1), value=value)


def _count_below(sorted_rows, values, *, right=False):
    return torch.searchsorted(
        sorted_rows.detach(), values.detach().contiguous(), right=right
    )


@dataclass(eq=False, repr=False)
class TripletEmbedder(PairEmbedder):
    """Embedding learned with the triplet loss.

    Every sample must be nearer to its own class than to any other, by a margin;
    absolute distances do not matter. Choose it for classes of different widths.

    Parameters
    ----------
    margin : float, default=0.2
        How much farther than a positive a negative must be, in [0, 2]. The Reality
        Check found 0.05 to 0.12.
    mining : {"all", "semihard", "hard"}, default="semihard"
        Which triplets of a batch count. "all" uses every triplet; "semihard" for each
        pair of a class the nearest negative that is farther than the positive; "hard"
        for each anchor its farthest positive and its nearest negative, which learns
        fastest from clean labels and may collapse on noisy ones.

    See Also
    --------
    ContrastiveEmbedder : Compares distances with fixed margins.
    CircleEmbedder : Weighs every pair by how far it is from its optimum.
    """

    _: KW_ONLY
    margin: float = 0.2
    mining: str = "semihard"

    loss_class = TripletLoss
    _search_space = {
        "margin": uniform(0, 0.5),
        "mining": list(MINING),
    }
