"""Smooth-AP (Brown et al., 2020)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss

# Number of comparisons that are in memory at a time.
CHUNK = 2**18


class _SumOfPrecisions(torch.autograd.Function):
    """Sum of the smooth precisions at the ranks of the positives of each anchor.

    The precision at positive p needs a comparison of p with the whole gallery: with P
    positive pairs and m samples in the gallery, P x m sigmoids. They are computed in
    chunks, and the gradient along with the value, so that they are never all in memory.

    With a = 1/2 + the sum of the sigmoids over the positives, b = their sum over the
    negatives and the rank r = a + b, the precision is a / r. Its derivative by the
    sigmoid of a positive is b / r^2, of a negative -a / r^2, and the sigmoid's own is
    s (1 - s). The similarity of p itself is in every sigmoid with the opposite sign.
    """

    @staticmethod
    def forward(ctx, similarities, positives, negatives):
        sums, slopes = (
            similarities.new_zeros(len(similarities)),
            torch.zeros_like(similarities),
        )
        pairs = positives.nonzero()
        for chunk in pairs.split(max(1, CHUNK // max(1, positives.shape[1]))):
            anchors, own = chunk.T
            # A row for each pair, with sigmoids near 1 for what ranks before it.
            before = similarities[anchors] - similarities[anchors, own][:, None]
            before.sigmoid_()
            same, other = positives[anchors], negatives[anchors]
            # The positive itself has a sigmoid of 1/2, and counts as 1 in its rank.
            in_class = 0.5 + (before * same).sum(dim=1)
            against = (before * other).sum(dim=1)
            rank = in_class + against
            sums.index_add_(0, anchors, in_class / rank)
            if not ctx.needs_input_grad[0]:
                continue
            moved = same * against[:, None] - other * in_class[:, None]
            moved *= before * (1 - before) / rank.square()[:, None]
            slopes.index_add_(0, anchors, moved)
            slopes.index_put_((anchors, own), -moved.sum(dim=1), accumulate=True)
        ctx.save_for_backward(slopes)
        return sums

    @staticmethod
    def backward(ctx, gradient):
        F.refuse_second_derivatives("SmoothAPLoss")
        (slopes,) = ctx.saved_tensors
        return slopes * gradient[:, None], None, None


class SmoothAPLoss(PairLoss):
    r"""One minus the average precision, with sigmoids instead of steps in the ranks.

    With the cosine similarities s of an anchor to its positives P and negatives N, and
    the sigmoid :math:`\sigma` of temperature T,

    .. math::

        L = 1 - \frac{1}{|P|} \sum_{p \in P} \frac{1 + \sum_{j \in P, j \ne p}
            \sigma((s_j - s_p) / T)}
            {1 + \sum_{j \in P \cup N, j \ne p} \sigma((s_j - s_p) / T)} ,

    averaged over the anchors that have a positive. Each positive of an anchor is
    compared with the whole gallery: with many samples per class and a large
    cross-batch memory, a step takes seconds.

    Parameters
    ----------
    temperature : float, default=0.01
        T, above 0.

    References
    ----------
    .. [1] A. Brown, W. Xie, V. Kalogeiton, A. Zisserman. "Smooth-AP: Smoothing the Path
           Towards Large-Scale Image Retrieval". ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SmoothAPLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> loss = SmoothAPLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # all precisions are 1
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # a rank of 2.5
    0.6000...
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, temperature=0.01):
        super().__init__()
        self.temperature = temperature

    def _compare(self, rows, gallery, positives, negatives):
        similarities = F.similarities(rows, gallery) / self.temperature
        sums = _SumOfPrecisions.apply(similarities, positives, negatives)
        n_positives = positives.sum(dim=1)
        return F.masked_mean(1 - sums / n_positives.clamp(min=1), n_positives > 0)


@dataclass(eq=False, repr=False)
class SmoothAPEmbedder(PairEmbedder):
    """Embedding learned with Smooth-AP, a differentiable average precision.

    Optimizes the ranking of the whole batch for every anchor. Choose it for retrieval,
    with large batches and several samples of each class.

    Parameters
    ----------
    temperature : float, default=0.01
        Width of the sigmoids, above 0. The smaller, the closer the loss is to the true
        average precision, and the fewer pairs receive a gradient. The paper uses 0.01.

    See Also
    --------
    FastAPEmbedder : Average precision from histograms.
    """

    _: KW_ONLY
    temperature: float = 0.01

    loss_class = SmoothAPLoss
    _search_space = {"temperature": loguniform(1e-3, 0.2)}
