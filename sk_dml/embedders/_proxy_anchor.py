"""Proxy-Anchor loss (Kim et al., 2020)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class ProxyAnchorLoss(ProxyLoss):
    r"""Proxy-Anchor loss: every proxy is an anchor, the batch its pairs.

    With the cosine similarities s of the proxy of a class to the samples of the batch,
    margin :math:`\delta` and scale :math:`\alpha`,

    .. math::

        L = \mathrm{mean}_{c \in C^+} \log\Big(1 + \sum_{y = c}
            e^{-\alpha (s - \delta)}\Big)
          + \mathrm{mean}_{c} \log\Big(1 + \sum_{y \ne c}
            e^{\alpha (s + \delta)}\Big) ,

    where :math:`C^+` are the classes in the batch. The second mean is over all classes.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    margin : float, default=0.1
        The paper's delta, in [-1, 1].
    scale : float, default=32.0
        The paper's alpha, above 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] S. Kim, D. Kim, M. Cho, S. Kwak. "Proxy Anchor Loss for Deep Metric
           Learning". CVPR 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import ProxyAnchorLoss
    >>> loss = ProxyAnchorLoss(n_classes=3, n_features=4)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 4])
    """

    _parameter_constraints = {
        "margin": [Interval(Real, -1, 1, closed="both")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_classes, n_features, margin=0.1, scale=32.0):
        super().__init__(n_classes, n_features)
        self.margin = margin
        self.scale = scale

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies, embeddings)
        cosines = cosines.T  # a row for each proxy
        own = labels == torch.arange(len(cosines), device=labels.device)[:, None]
        # softplus(logsumexp(v)) is log(1 + sum(exp(v))), without overflow.
        pull = nn.functional.softplus(
            F.masked_logsumexp(-self.scale * (cosines - self.margin), own)
        )
        push = nn.functional.softplus(
            F.masked_logsumexp(self.scale * (cosines + self.margin), ~own)
        )
        return F.masked_mean(pull, own.any(dim=1)) + push.mean()


@dataclass(eq=False, repr=False)
class ProxyAnchorEmbedder(ProxyEmbedder):
    """Embedding learned with the Proxy-Anchor loss.

    Learns one direction per class, pulls the samples of the class to it, above all the
    farthest, and pushes the others away, above all the nearest. It converges quickly.
    Choose it if there are too many pairs, and several samples of each class.

    Parameters
    ----------
    margin : float, default=0.1
        Similarities should be above ``margin`` to the own proxy and below ``-margin``
        to the others. In [-1, 1]. The paper uses 0.1.
    scale : float, default=32.0
        Factor of the similarities, above 0. The larger, the more the hardest samples of
        a batch dominate. The paper uses 32.

    See Also
    --------
    NormalizedSoftmaxEmbedder : For every sample, compares the proxies with each other.
    """

    _: KW_ONLY
    margin: float = 0.1
    scale: float = 32.0

    loss_class = ProxyAnchorLoss
    _search_space = {
        "margin": uniform(0, 0.5),
        "scale": loguniform(4, 128),
    }
