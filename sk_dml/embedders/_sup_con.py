"""Supervised contrastive loss (Khosla et al., 2020)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class SupConLoss(PairLoss):
    r"""Supervised contrastive loss on the pairs of a batch.

    With the cosine similarities s of an anchor to the other samples of the batch, the
    set P of those of its class, and temperature T,

    .. math::

        L = -\frac{1}{|P|} \sum_{p \in P} \log \frac{e^{s_p / T}}{\sum_a e^{s_a / T}} ,

    where a are all samples except the anchor. The paper calls this form
    :math:`L_\text{out}`. The loss of a batch is the mean over the anchors that have a
    positive.

    Parameters
    ----------
    temperature : float, default=0.1
        T, above 0.

    References
    ----------
    .. [1] P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola, A. Maschinot,
           C. Liu, D. Krishnan. "Supervised Contrastive Learning". NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SupConLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> loss = SupConLoss(temperature=0.5)
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
        total = F.masked_logsumexp(logits, positives | negatives)
        n_positives = positives.sum(dim=1)
        mean = logits.where(positives, 0).sum(dim=1) / n_positives.clamp(min=1)
        return F.masked_mean(total - mean, n_positives > 0)


@dataclass(eq=False, repr=False)
class SupConEmbedder(PairEmbedder):
    """Embedding learned with the supervised contrastive loss.

    Classifies all positives of an anchor together against the whole batch. Hard
    positives and hard negatives have the largest weights without mining. Choose it for
    batches with many samples of each class.

    Parameters
    ----------
    temperature : float, default=0.1
        Divisor of the cosines, above 0. The smaller, the more the hardest pairs
        dominate. The paper uses 0.1.

    See Also
    --------
    NTXentEmbedder : Treats every positive of an anchor separately.
    """

    _: KW_ONLY
    temperature: float = 0.1

    loss_class = SupConLoss
    _search_space = {"temperature": loguniform(0.01, 1)}
