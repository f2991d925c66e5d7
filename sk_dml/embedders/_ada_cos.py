"""AdaCos: adaptively scaled cosine logits (Zhang et al., 2019)."""

import math
from dataclasses import KW_ONLY, dataclass

import torch

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class AdaCosLoss(ProxyLoss):
    r"""AdaCos: softmax on cosines with a scale that adapts itself.

    For an embedding x of class y and proxies w, all normalized, and the angles
    :math:`\theta_c` between them,

    .. math:: L = -\log \frac{e^{s \cos\theta_y}}{\sum_c e^{s \cos\theta_c}} ,

    averaged over the batch. The fixed scale is :math:`s = \sqrt 2 \ln(C - 1)` for C
    classes. The dynamic scale begins with it. In training mode each batch first updates
    it to

    .. math::

        s \leftarrow \frac{\ln B}{\cos(\min(\pi / 4, \theta_\text{med}))} , \quad
        B = \mathrm{mean}_i \sum_{c \ne y_i} e^{s \cos\theta_{i, c}} ,

    with the median :math:`\theta_\text{med}` of the angles to the own proxies. As the
    logarithm is near 0 for few classes, C - 1 is replaced by 2 if it is less. The
    dynamic scale is bounded below by :math:`\ln(C - 1)`, its value for perfect angles,
    and above by twice the fixed scale: in few dimensions the directions of many classes
    are close, B and the scale increase each other, and without a bound both would
    grow without limit.

    Parameters
    ----------
    n_classes : int
        Number of classes, C.
    n_features : int
        Width of the embeddings.
    dynamic : bool, default=True
        Whether the scale is updated with each batch.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.
    scale : buffer of shape ()
        The scale s.

    References
    ----------
    .. [1] X. Zhang, R. Zhao, Y. Qiao, X. Wang, H. Li. "AdaCos: Adaptively Scaling
           Cosine Logits for Effectively Learning Deep Face Representations". CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import AdaCosLoss
    >>> loss = AdaCosLoss(n_classes=101, n_features=4)
    >>> loss.scale.item()  # sqrt(2) * log(100)
    6.51...
    """

    scale: torch.Tensor
    _parameter_constraints = {"dynamic": ["boolean"]}

    def __init__(self, n_classes, n_features, dynamic=True):
        super().__init__(n_classes, n_features)
        self.dynamic = dynamic
        self.smallest_scale = math.log(max(n_classes - 1, 2))
        first = math.sqrt(2) * self.smallest_scale
        self.largest_scale = 2 * first
        self.register_buffer("scale", torch.tensor(first))

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies, embeddings)
        if self.dynamic and self.training and len(labels):
            self._update_scale(cosines.detach(), labels)
        # A copy: the scale may change again before the backward pass.
        return F.cross_entropy(self.scale.clone() * cosines, labels)

    def _update_scale(self, cosines, labels):
        own = labels[:, None]
        others = (self.scale * cosines).scatter(1, own, -torch.inf)
        log_mean = others.logsumexp(dim=(0, 1)) - math.log(len(labels))
        # The cosine of the median angle is the median of the cosines.
        median = cosines.gather(1, own).median().clamp(min=math.cos(math.pi / 4))
        updated = (log_mean / median).clamp(self.smallest_scale, self.largest_scale)
        # One batch of NaN would make the scale NaN for ever.
        self.scale.copy_(updated.where(updated.isfinite(), self.scale))


@dataclass(eq=False, repr=False)
class AdaCosEmbedder(ProxyEmbedder):
    """Embedding learned with AdaCos, a softmax on cosines without a scale to tune.

    Learns one direction per class. The scale of the cosines follows from the number of
    classes and the progress of training. Choose it for many known classes if there is
    no time to search for parameters.

    Parameters
    ----------
    dynamic : bool, default=True
        Whether the scale changes during training, or is always sqrt(2) ln(n_classes -
        1). The dynamic scale falls as the angles become smaller, so that the samples
        keep moving.

    See Also
    --------
    NormalizedSoftmaxEmbedder : The scale is a parameter.
    CosFaceEmbedder : The scale and a margin are parameters.
    """

    _: KW_ONLY
    dynamic: bool = True

    loss_class = AdaCosLoss
    _search_space = {"dynamic": [True, False]}
