"""SoftTriple loss (Qian et al., 2019)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss

# Smallest distance at which two centers of length one are counted as different.
DISTINCT = 0.1


class _SoftMaximum(torch.autograd.Function):
    """Mean over the second axis, weighted by a softmax of the same values.

    With weights w = softmax(v / gamma) and the mean M = sum(w v), the derivative of M
    by a value v is w (1 + (v - M) / gamma). This closed form takes half the time and
    memory of autograd's gradient. With many classes and centers it is most of a step.
    """

    @staticmethod
    def forward(ctx, values, gamma):
        weights = (values / gamma).softmax(dim=1)
        means = (weights * values).sum(dim=1)
        ctx.save_for_backward(values, weights, means)
        ctx.gamma = gamma
        return means

    @staticmethod
    def backward(ctx, gradient):
        F.refuse_second_derivatives("SoftTripleLoss")
        values, weights, means = ctx.saved_tensors
        slope = (values - means[:, None]).div_(ctx.gamma).add_(1)
        return slope.mul_(weights).mul_(gradient[:, None]), None


class SoftTripleLoss(ProxyLoss):
    r"""SoftTriple loss: softmax over classes that each have several centers.

    With the embedding x of class y and K centers :math:`w_c^k` per class, all
    normalized, the similarity to a class is a soft maximum over its centers,

    .. math::

        S_c = \sum_k \frac{e^{x \cdot w_c^k / \gamma}}
            {\sum_j e^{x \cdot w_c^j / \gamma}} \; x \cdot w_c^k ,

    and, with scale :math:`\lambda` and margin :math:`\delta`, the loss is

    .. math::

        L = -\log \frac{e^{\lambda (S_y - \delta)}}
            {e^{\lambda (S_y - \delta)} + \sum_{c \ne y} e^{\lambda S_c}}
          + \frac{\tau}{C K (K - 1)} \sum_c \sum_{s < t}
            \sqrt{2 - 2 w_c^s \cdot w_c^t} .

    The first term is averaged over the batch. The second pulls the centers of a class
    together, so that only as many stay apart as the class needs.

    Parameters
    ----------
    n_classes : int
        Number of classes, C.
    n_features : int
        Width of the embeddings.
    n_centers : int, default=10
        Number of centers per class, K, at least 1.
    scale : float, default=20.0
        Factor of the similarities, above 0.
    gamma : float, default=0.1
        Softness of the maximum over the centers, above 0. Near 0, only the nearest
        center counts.
    tau : float, default=0.2
        Weight of the second term, at least 0.
    margin : float, default=0.01
        Margin subtracted from the similarity to the own class, at least 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_centers, n_features)
        The centers, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] Q. Qian, L. Shang, B. Sun, J. Hu, H. Li, R. Jin. "SoftTriple Loss: Deep
           Metric Learning Without Triplet Sampling". ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SoftTripleLoss
    >>> loss = SoftTripleLoss(n_classes=3, n_features=4, n_centers=2)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 2, 4])
    """

    _parameter_constraints = {
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "tau": [Interval(Real, 0, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_classes,
        n_features,
        n_centers=10,
        scale=20.0,
        gamma=0.1,
        tau=0.2,
        margin=0.01,
    ):
        super().__init__(n_classes, n_centers, n_features)
        self.scale = scale
        self.gamma = gamma
        self.tau = tau
        self.margin = margin

    def _compare(self, embeddings, labels):
        # (n, n_centers, n_classes): a softmax over a short last axis is slow.
        cosines = F.proxy_cosines(self.proxies.transpose(0, 1), embeddings)
        similarities = _SoftMaximum.apply(cosines, self.gamma)
        margins = similarities.new_full((len(labels), 1), -self.margin)
        similarities = similarities.scatter_add(1, labels[:, None], margins)
        loss = F.cross_entropy(self.scale * similarities, labels)
        if self.proxies.shape[1] > 1 and self.tau > 0:
            loss = loss + self.tau * self._spread(F.unit_rows(self.proxies))
        return loss

    def _spread(self, centers):
        # Centers are compared with those of their own class only: C blocks of K x K
        # instead of one matrix of (C K)^2, which may take gigabytes.
        n_classes, n_centers, _ = centers.shape
        first, second = torch.triu_indices(
            n_centers, n_centers, offset=1, device=centers.device
        )
        gram = centers @ centers.transpose(1, 2)
        distances = F.safe_sqrt(2 - 2 * gram[:, first, second])
        return distances.sum() / (n_classes * n_centers * (n_centers - 1))


@dataclass(eq=False, repr=False)
class SoftTripleEmbedder(ProxyEmbedder):
    """Embedding learned with the SoftTriple loss.

    Classifies by the similarity to several learned centers per class, which is the same
    as comparing triplets of a sample and two centers. Choose it for classes that
    consist of several clusters: poses, hands, varieties.

    Parameters
    ----------
    n_centers : int, default=10
        Number of centers per class, at least 1. Those that are not needed are pulled
        together.
    scale : float, default=20.0
        Factor of the similarities, above 0. The larger, the less a sample that is
        already classified correctly still moves.
    gamma : float, default=0.1
        Softness of the maximum over the centers, above 0. Near 0, only the nearest
        center counts.
    tau : float, default=0.2
        Weight of the term that pulls the centers of a class together, at least 0. The
        larger, the fewer clusters a class keeps.
    margin : float, default=0.01
        How much larger the similarity to the own class must be, at least 0.

    Attributes
    ----------
    n_centers_ : ndarray of shape (n_classes,)
        Number of different centers that each class kept, in the order of ``classes_``.
        Centers less than 0.1 apart, also by way of others, count as one. The number
        depends on ``tau`` and on ``max_epochs``, as centers move together slowly.

    See Also
    --------
    NormalizedSoftmaxEmbedder : One center per class.
    CircleEmbedder : Compares pairs of samples instead of learning centers.
    """

    _: KW_ONLY
    n_centers: int = 10
    scale: float = 20.0
    gamma: float = 0.1
    tau: float = 0.2
    margin: float = 0.01

    loss_class = SoftTripleLoss
    _search_space = {
        "n_centers": [1, 2, 5, 10, 20],
        "scale": loguniform(4, 256),
        "gamma": loguniform(0.01, 1),
        "tau": loguniform(1e-3, 1),
        "margin": uniform(0, 0.8),
    }

    @property
    def n_centers_(self):
        """Number of different centers that each class kept."""
        check_is_fitted(self, "net_")
        centers = F.unit_rows(self.net_.criterion_.proxies.detach()).cpu()
        squares = 2 - 2 * centers @ centers.transpose(1, 2)
        joined = (squares < DISTINCT**2).numpy()
        return np.array([connected_components(block)[0] for block in joined])
