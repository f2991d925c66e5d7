"""ProxyNCA (Movshovitz-Attias et al., 2017)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class ProxyNCALoss(ProxyLoss):
    r"""ProxyNCA: the proxy of the own class against those of all other classes.

    For an embedding x of class y and proxies w, all normalized, and scale s,

    .. math::

        L = -\log \frac{e^{-s \lVert x - w_y \rVert^2}}
            {\sum_{c \ne y} e^{-s \lVert x - w_c \rVert^2}} ,

    averaged over the batch. The own proxy is not in the denominator, so that the loss
    may be negative and a sample that is already classified correctly still moves.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    n_features : int
        Width of the embeddings.
    scale : float, default=1.0
        Factor of the squared distances, above 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] Y. Movshovitz-Attias, A. Toshev, T. K. Leung, S. Ioffe, S. Singh. "No Fuss
           Distance Metric Learning Using Proxies". ICCV 2017.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import ProxyNCALoss
    >>> loss = ProxyNCALoss(n_classes=3, n_features=4)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 4])
    """

    _parameter_constraints = {"scale": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, n_classes, n_features, scale=1.0):
        if n_classes < 2:
            raise ValueError(
                f"n_classes must be at least 2, got {n_classes}: a proxy is compared "
                "with those of other classes."
            )
        super().__init__(n_classes, n_features)
        self.scale = scale

    def _compare(self, embeddings, labels):
        # |x - w|^2 = 2 - 2 x.w, and the 2 cancels in the ratio.
        logits = 2 * self.scale * F.proxy_cosines(self.proxies, embeddings)
        others = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
        own = logits.gather(1, labels[:, None])
        return (others.sum() - own.sum()) / max(len(labels), 1)


@dataclass(eq=False, repr=False)
class ProxyNCAEmbedder(ProxyEmbedder):
    """Embedding learned with ProxyNCA, the first of the methods with proxies.

    Learns one direction per class. Samples must be nearer to the direction of their own
    class than to those of the others. Choose it as the simple baseline of the proxy
    methods, for few clean classes.

    Parameters
    ----------
    scale : float, default=1.0
        Factor of the squared distances, above 0. The larger, the more the nearest of
        the other proxies dominates. The paper uses 1, ProxyNCA++ 9; the Reality Check
        found 8 to 14.

    See Also
    --------
    NormalizedSoftmaxEmbedder : The own proxy is in the denominator too.
    ProxyAnchorEmbedder : The proxies are the anchors.
    """

    _: KW_ONLY
    scale: float = 1.0

    loss_class = ProxyNCALoss
    _search_space = {"scale": loguniform(0.5, 32)}
