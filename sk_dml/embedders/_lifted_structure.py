"""Lifted structured loss (Oh Song et al., 2016)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml._base import BaseEmbedder

__all__ = ["LiftedStructureEmbedder", "LiftedStructureLoss"]


class LiftedStructureLoss(nn.Module):
    r"""Lifted structured loss on the pairs of a batch.

    For every pair i, j of one class, with Euclidean distances D between the normalised
    embeddings and the negatives of either end,

    .. math::

        J_{ij} = D_{ij} + \log\Big(\sum_k e^{m - D_{ik}} + \sum_l e^{m - D_{jl}}\Big) ,
        \quad L = \tfrac{1}{2} \operatorname{mean}_{(i, j)} [J_{ij}]_+^2 .

    The paper leaves the embeddings unnormalised; here they are normalised, as in the
    Reality Check, because it is the directions that are compared after training.

    Parameters
    ----------
    margin : float, default=1.0
        The margin m.

    References
    ----------
    .. [1] H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via
           Lifted Structured Feature Embedding". CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import LiftedStructureLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> loss = LiftedStructureLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()  # J = log(4) - 1
    0.0746...
    """

    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    @F.full_precision
    def forward(self, embeddings, labels):
        """Compute the loss of a batch.

        Parameters
        ----------
        embeddings : tensor of shape (n, d), floating point
            Any length of row; they are normalised here.
        labels : tensor of shape (n,), int64
            The classes.

        Returns
        -------
        scalar tensor
            The loss; 0 if no two samples are of one class, or all are.
        """
        embeddings, labels = F.check_batch(embeddings, labels)
        distances = F.euclidean_distances(F.unit_rows(embeddings))
        positives, negatives = F.pair_masks(labels)
        # One sum an anchor, not one a pair: n^2 numbers instead of n^3.
        against = F.masked_logsumexp(self.margin - distances, negatives)
        terms = distances + torch.logaddexp(against[:, None], against)
        return F.masked_mean(terms.clamp(min=0).square(), positives) / 2


@dataclass(eq=False, repr=False)
class LiftedStructureEmbedder(BaseEmbedder):
    """Embedding learned with the lifted structured loss.

    Sets every pair of a class against all negatives of both its ends at once. Choose it
    as the historical step from triplets to whole batches.

    Parameters
    ----------
    margin : float, default=1.0
        What is added to the negatives' closeness, at least 0. The larger, the more
        pairs keep moving. The paper uses 1.

    See Also
    --------
    MultiSimilarityEmbedder : Weighs positives and negatives apart, and mines.

    References
    ----------
    .. [1] H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via
           Lifted Structured Feature Embedding". CVPR 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_dml import LiftedStructureEmbedder
    >>> X, y = load_wine(return_X_y=True)
    >>> embedder = LiftedStructureEmbedder(8, max_epochs=9, random_state=0)
    >>> embedder.fit_transform(X, y).shape
    (178, 8)
    """

    _: KW_ONLY
    margin: float = 1.0

    _parameter_constraints = {
        **BaseEmbedder._parameter_constraints,
        "margin": [Interval(Real, 0, None, closed="left")],
    }

    def _make_loss(self, n_classes):
        return LiftedStructureLoss(self.margin)
