"""Neighborhood components analysis (Goldberger et al., 2004), with a deep network."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class NCALoss(PairLoss):
    r"""Negative log-probability that a soft neighbor is of the same class.

    An anchor picks another sample of the batch with a probability that falls with the
    squared Euclidean distance d² of the normalized embeddings; with temperature T,

    .. math::

        L = -\log \frac{\sum_p e^{-d_p^2 / T}}{\sum_a e^{-d_a^2 / T}} ,

    where p are the other samples of the anchor's class and a are all other samples.
    The loss of a batch is the mean over the anchors that have a positive.

    Parameters
    ----------
    temperature : float, default=0.2
        T, above 0.

    References
    ----------
    .. [1] J. Goldberger, G. Hinton, S. Roweis, R. Salakhutdinov. "Neighbourhood
           Components Analysis". NeurIPS 2004.
    .. [2] N. Frosst, N. Papernot, G. Hinton. "Analyzing and Improving Representations
           with the Soft Nearest Neighbor Loss". ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import NCALoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = NCALoss(temperature=1.0)
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # log(1 + 2 exp(-2))
    0.2395...
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, temperature=0.2):
        super().__init__()
        self.temperature = temperature

    def _compare(self, rows, gallery, positives, negatives):
        # -|a - b|^2 = 2 a.b - |a|^2 - |b|^2, and |a| cancels in the ratio.
        squares = gallery.square().sum(dim=1)
        logits = (
            2 / self.temperature * F.similarities(rows, gallery)
            - squares / self.temperature
        )
        terms = nn.functional.softplus(
            F.masked_logsumexp(logits, negatives)
            - F.masked_logsumexp(logits, positives)
        )
        return F.masked_mean(terms, positives.any(dim=1))


@dataclass(eq=False, repr=False)
class NCAEmbedder(PairEmbedder):
    """Embedding learned by neighborhood components analysis with a deep network.

    Maximizes the probability that a soft nearest neighbor in the batch is of the same
    class. One near positive is enough, so that a class may form several clusters.
    Choose it for k-NN classification.

    Parameters
    ----------
    temperature : float, default=0.2
        Divisor of the squared distances, above 0. The smaller, the fewer neighbors
        count.

    See Also
    --------
    SupConEmbedder : Needs all positives to be near, not one of them.
    """

    _: KW_ONLY
    temperature: float = 0.2

    loss_class = NCALoss
    _search_space = {"temperature": loguniform(0.01, 2)}
