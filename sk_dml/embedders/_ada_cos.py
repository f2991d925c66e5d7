"""AdaCos: adaptively scaled cosine logits (Zhang et al., 2019)."""

import math
from dataclasses import KW_ONLY, dataclass

import torch

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class AdaCosLoss(ProxyLoss):
    r"""AdaCos: softmax on cosines whose scale sets itself.

    For an embedding x of class y and proxies w, all normalized, and the angles
    :math:`\theta_c` between them,

    .. math:: L = -\log \frac{e^{s \cos\theta_y}}{\sum_c e^{s \cos\theta_c}} ,

    averaged over the batch. The fixed scale, with which the dynamic one begins, is
    :math:`s = \sqrt 2 \ln(C - 1)` for C classes. In training mode each batch renews the
    dynamic one first,

    .. math::

        s \leftarrow \frac{\ln B}{\cos(\min(\pi / 4, \theta_\text{med}))} , \quad
        B = \mathrm{mean}_i \sum_{c \ne y_i} e^{s \cos\theta_{i, c}} ,

    with the median :math:`\theta_\text{med}` of the angles to the own proxies. As the
    logarithm nears 0 for few classes, C - 1 counts as 2 at least. The dynamic scale
    stays above :math:`\ln(C - 1)`, its value for perfect angles, and below twice the
    fixed one: in few dimensions the directions of many classes lie close, B grows with
    the scale as fast as the scale with B, and without a bound both would explode.

    Parameters
    ----------
    n_classes : int
        Number of classes, C.
    n_features : int
        Width of the embeddings.
    dynamic : bool, default=True
        Whether the scale is renewed with each batch.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized where they are used.
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
            self._renew_scale(cosines.detach(), labels)
        # The scale may move again before the backward pass.
        return F.cross_entropy(self.scale.clone() * cosines, labels)

    def _renew_scale(self, cosines, labels):
        own = labels[:, None]
        others = (self.scale * cosines).scatter(1, own, -torch.inf)
        log_mean = others.logsumexp(dim=(0, 1)) - math.log(len(labels))
        # The median of the angles has the median of the cosines.
        median = cosines.gather(1, own).median().clamp(min=math.cos(math.pi / 4))
        renewed = (log_mean / median).clamp(self.smallest_scale, self.largest_scale)
        # A batch of NaN would stay in the scale after it has gone.
        self.scale.copy_(renewed.where(renewed.isfinite(), self.scale))


@dataclass(eq=False, repr=False)
class AdaCosEmbedder(ProxyEmbedder):
    """Embedding learned with AdaCos, a softmax on cosines without a scale to tune.

    Learns one direction a class; the scale of the cosines follows from the number of
    classes and from how far training is. Choose it for many known classes if there is
    no time to search for parameters.

    Parameters
    ----------
    dynamic : bool, default=True
        Whether the scale follows the training, or stays sqrt(2) ln(n_classes - 1). The
        dynamic one falls as the angles shrink, which keeps the samples moving.

    See Also
    --------
    NormalizedSoftmaxEmbedder : The scale is a parameter.
    CosFaceEmbedder : The scale and a margin are.
    """

    _: KW_ONLY
    dynamic: bool = True

    loss_class = AdaCosLoss
    _search_space = {"dynamic": [True, False]}
