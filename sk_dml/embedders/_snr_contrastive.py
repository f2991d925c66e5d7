"""Contrastive loss on signal-to-noise ratios (Yuan et al., 2019)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss

# Smallest share of an anchor's squared length that its variance must be, as a signal.
SIGNAL = 1e-4


class SNRContrastiveLoss(PairLoss):
    r"""Contrastive loss whose distance is the inverse of a signal-to-noise ratio.

    The anchor :math:`h_i` is the signal, its difference from another sample the noise,
    both of normalized embeddings; with the variance over the features of an embedding,

    .. math::

        d_{ij} = \frac{\mathrm{var}(h_j - h_i)}{\mathrm{var}(h_i)} , \quad
        L = \mathrm{mean}_{(i, p)} [d_{ip} - m_\text{pos}]_+
          + \mathrm{mean}_{(i, n)} [m_\text{neg} - d_{in}]_+
          + \lambda \mathrm{mean}_i \Big|\sum_k h_{ik}\Big| ,

    where p are the samples of the class of i, n are the others, and the first two means
    are taken over the terms that are not zero. The last term pulls the mean of the
    features of an embedding to zero. An anchor whose features are almost equal (the sum
    of the squares of their differences from their mean is at most 1e-4 of the sum of
    their squares) has no signal: its pairs are left out.

    Parameters
    ----------
    pos_margin : float, default=0.0
        Distance up to which positives have no loss, at least 0.
    neg_margin : float, default=1.0
        Distance from which on negatives have no loss, at least 0.
    regularization : float, default=0.1
        The paper's lambda, at least 0.

    References
    ----------
    .. [1] T. Yuan, W. Deng, J. Tang, Y. Tang, B. Chen. "Signal-to-Noise Ratio: A Robust
           Distance Metric for Deep Metric Learning". CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SNRContrastiveLoss
    >>> embeddings = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])
    >>> loss = SNRContrastiveLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # d is 4 and 0
    5.0...
    """

    _parameter_constraints = {
        "pos_margin": [Interval(Real, 0, None, closed="left")],
        "neg_margin": [Interval(Real, 0, None, closed="left")],
        "regularization": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, pos_margin=0.0, neg_margin=1.0, regularization=0.1):
        super().__init__()
        self.pos_margin = pos_margin
        self.neg_margin = neg_margin
        self.regularization = regularization

    def _compare(self, rows, gallery, positives, negatives):
        (pull, pulls), (push, pushes) = self._terms(rows, gallery, positives, negatives)
        offsets = rows.sum(dim=1).abs().sum() / max(len(rows), 1)
        return (
            F.masked_mean(pull, pulls)
            + F.masked_mean(push, pushes)
            + self.regularization * offsets
        )

    def _count_active(self, rows, gallery, positives, negatives):
        (_, pulls), (_, pushes) = self._terms(rows, gallery, positives, negatives)
        return pulls.sum() + pushes.sum(), positives.sum() + negatives.sum()

    def _terms(self, rows, gallery, positives, negatives):
        # For centered rows, the ratio of variances is that of squared lengths.
        centered = gallery - gallery.mean(dim=1, keepdim=True)
        gram = centered[: len(rows)] @ centered.T
        squares = centered.square().sum(dim=1)
        signal = squares[: len(rows), None]
        has_signal = signal > SIGNAL * rows.square().sum(dim=1, keepdim=True)
        noise = (signal + squares - 2 * gram).clamp(min=0)
        distances = noise / signal.where(has_signal, 1)
        pull = distances - self.pos_margin
        push = self.neg_margin - distances
        pulls = positives & has_signal & (pull > 0)
        pushes = negatives & has_signal & (push > 0)
        return (pull, pulls), (push, pushes)


@dataclass(eq=False, repr=False)
class SNRContrastiveEmbedder(PairEmbedder):
    """Embedding learned with the contrastive loss on signal-to-noise ratios.

    Measures the distance of a sample from an anchor in units of the anchor's variance.
    Choose it as a variant of the contrastive loss whose margins are fractions of a
    variance, with eight or more components: with two or three, the variance of a row is
    often almost zero.

    Parameters
    ----------
    pos_margin : float, default=0.0
        Ratio of noise to the anchor's variance up to which positives have no loss, at
        least 0.
    neg_margin : float, default=1.0
        Ratio from which on negatives have no loss, at least 0. The larger, the farther
        apart the classes.
    regularization : float, default=0.1
        How strongly the mean of the features is pulled to zero, at least 0.

    See Also
    --------
    ContrastiveEmbedder : The same on Euclidean distances.
    """

    _: KW_ONLY
    pos_margin: float = 0.0
    neg_margin: float = 1.0
    regularization: float = 0.1

    loss_class = SNRContrastiveLoss
    _search_space = {
        "pos_margin": uniform(0, 0.5),
        "neg_margin": uniform(0.2, 1.6),
        "regularization": loguniform(1e-3, 1),
    }
