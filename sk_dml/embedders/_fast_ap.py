"""FastAP (Cakir et al., 2019)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

from scipy.stats import randint
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class FastAPLoss(PairLoss):
    r"""One minus the average precision, from soft histograms of the distances.

    For an anchor with :math:`N^+` positives, the squared distances of the normalized
    embeddings lie in [0, 4], which is cut into ``n_bins`` bins. Each distance counts at
    the two edges of its bin, more at the nearer edge. With :math:`h^+_j` positives and
    :math:`h_j` samples at edge j, and their sums :math:`H^+_j` and :math:`H_j` over the
    edges up to j,

    .. math:: L = 1 - \frac{1}{N^+} \sum_j \frac{H^+_j h^+_j}{H_j} ,

    averaged over the anchors that have a positive.

    Parameters
    ----------
    n_bins : int, default=10
        Number of bins of the histogram, at least 1.

    References
    ----------
    .. [1] F. Cakir, K. He, X. Xia, B. Kulis, S. Sclaroff. "Deep Metric Learning to
           Rank". CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import FastAPLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> loss = FastAPLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # all precisions are 1
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # average precision 1 / 3
    0.6666...
    """

    _parameter_constraints = {"n_bins": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_bins=10):
        super().__init__()
        self.n_bins = n_bins

    def _compare(self, rows, gallery, positives, negatives):
        squares = (2 - 2 * F.similarities(rows, gallery)).clamp(0, 4)
        positions = squares * (self.n_bins / 4)  # in bins: the edges are the integers
        pairs = (positives | negatives).to(positions.dtype)
        # Each pair adds to two edges: in the first half of the columns if it is a
        # positive, in the second half if not.
        lower = positions.detach().nan_to_num().floor().clamp(max=self.n_bins - 1)
        upper_share = (positions - lower) * pairs
        n_edges = self.n_bins + 1
        edge = lower.long() + n_edges * negatives
        histogram = positions.new_zeros(len(rows), 2 * n_edges)
        histogram = histogram.scatter_add(1, edge, pairs - upper_share)
        histogram = histogram.scatter_add(1, edge + 1, upper_share)
        positive, negative = histogram.tensor_split(2, dim=1)
        total = (positive + negative).cumsum(dim=1)
        hits = positive.cumsum(dim=1) * positive
        precision = hits / total.where(total > 0, 1)  # the first edges may be empty
        n_positives = positives.sum(dim=1)
        average = precision.sum(dim=1) / n_positives.clamp(min=1)
        return F.masked_mean(1 - average, n_positives > 0)


@dataclass(eq=False, repr=False)
class FastAPEmbedder(PairEmbedder):
    """Embedding learned with FastAP, a differentiable average precision.

    Optimizes the ranking of the whole batch for every anchor. Choose it for large
    batches with several samples of each class.

    Parameters
    ----------
    n_bins : int, default=10
        Number of bins of the histogram of squared distances, at least 1. With more
        bins, the ranking is finer, and fewer pairs receive a gradient. The paper uses
        10; the Reality Check found 16 to 27.

    See Also
    --------
    NCAEmbedder : Needs one near neighbor of the class instead of a good ranking.
    """

    _: KW_ONLY
    n_bins: int = 10

    loss_class = FastAPLoss
    _search_space = {"n_bins": randint(5, 41)}
