"""Center loss (Wen et al., 2016)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class CenterLoss(ProxyLoss):
    r"""Softmax cross-entropy plus the squared distance to the center of the class.

    For an embedding x of class y, not normalized, weights w and a bias b of every
    class, the center :math:`c_y` of the class and the weight :math:`\lambda`,

    .. math::

        L = -\log \frac{e^{x \cdot w_y + b_y}}{\sum_j e^{x \cdot w_j + b_j}}
          + \frac{\lambda}{2} \lVert x - c_y \rVert^2 ,

    averaged over the batch. The centers have no gradient. In training mode, each batch
    moves the center of every class that has :math:`n_j > 0` samples in it by

    .. math:: \Delta c_j = \alpha \frac{\sum_{y_i = j} (x_i - c_j)}{1 + n_j} .

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    weight : float, default=0.003
        The paper's lambda, at least 0.
    center_lr : float, default=0.5
        The paper's alpha, in [0, 1].

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The weights of the classifier.
    bias : parameter of shape (n_classes,)
        The bias of the classifier.
    centers : buffer of shape (n_classes, n_features)
        The centers, which begin as 0.

    References
    ----------
    .. [1] Y. Wen, K. Zhang, Z. Li, Y. Qiao. "A Discriminative Feature Learning Approach
           for Deep Face Recognition". ECCV 2016.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import CenterLoss
    >>> loss = CenterLoss(n_classes=2, n_features=2)
    >>> value = loss(torch.tensor([[3.0, 0.0]]), torch.tensor([1]))
    >>> loss.centers[1]  # a step of 0.5 * 3 / (1 + 1)
    tensor([0.7500, 0.0000])
    """

    centers: torch.Tensor
    _parameter_constraints = {
        "weight": [Interval(Real, 0, None, closed="left")],
        "center_lr": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, n_classes, n_features, weight=0.003, center_lr=0.5):
        super().__init__(n_classes, n_features)
        self.weight = weight
        self.center_lr = center_lr
        self.bias = nn.Parameter(torch.zeros(n_classes))
        self.register_buffer("centers", torch.zeros(n_classes, n_features))

    def _compare(self, embeddings, labels):
        dtype = embeddings.dtype
        logits = nn.functional.linear(
            embeddings, self.proxies.to(dtype), self.bias.to(dtype)
        )
        offsets = embeddings - self.centers.to(dtype)[labels]
        pull = offsets.square().sum() / max(len(labels), 1)
        if self.training:
            self._move_centers(offsets.detach(), labels)
        return F.cross_entropy(logits, labels) + self.weight / 2 * pull

    def _move_centers(self, offsets, labels):
        sizes = torch.bincount(labels, minlength=len(self.centers))
        steps = torch.zeros_like(self.centers)
        steps.index_add_(0, labels, offsets.to(steps.dtype))
        self.centers += self.center_lr * steps / (1 + sizes[:, None])


@dataclass(eq=False, repr=False)
class CenterEmbedder(ProxyEmbedder):
    """Embedding learned by a classifier that pulls classes to their centers.

    A classifier only separates the classes; the center term also makes each class
    compact. Choose it if a classifier works well and its embedding should form
    clusters.

    Parameters
    ----------
    weight : float, default=0.003
        Weight of the center term, at least 0. The larger, the tighter the classes. If
        it is far too large, all classes collapse. The paper uses 0.003.
    center_lr : float, default=0.5
        How far a center moves towards the mean of its samples in a batch, in [0, 1].
        The smaller, the less it follows single batches. The paper uses 0.5.

    See Also
    --------
    SoftmaxEmbedder : The classifier alone.
    CosFaceEmbedder : Compact classes by a margin.
    """

    _: KW_ONLY
    weight: float = 0.003
    center_lr: float = 0.5

    loss_class = CenterLoss
    _search_space = {
        "weight": loguniform(1e-4, 1e-1),
        "center_lr": uniform(0, 1),
    }
