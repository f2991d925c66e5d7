"""Sub-center ArcFace (Deng et al., 2020)."""

import math
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

from scipy.stats import loguniform, randint, uniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class SubCenterArcFaceLoss(ProxyLoss):
    r"""ArcFace with several proxies per class, of which the nearest counts.

    For an embedding x of class y and K proxies :math:`w_c^k` per class, all normalized,
    with margin m and scale s,

    .. math::

        L = -\log \frac{e^{s \cos(\theta_y + m)}}
            {e^{s \cos(\theta_y + m)} + \sum_{c \ne y} e^{s \cos\theta_c}} , \quad
        \cos\theta_c = \max_k x \cdot w_c^k ,

    averaged over the batch. If :math:`\theta_y + m` is more than :math:`\pi`,
    :math:`\cos\theta_y - m \sin m` replaces its cosine.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    n_centers : int, default=3
        Number of proxies per class, K, at least 1.
    margin : float, default=0.5
        Margin added to the angle to the own proxy, in radians, in [0, pi].
    scale : float, default=16.0
        Factor of the cosines, above 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_centers, n_features)
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] J. Deng, J. Guo, T. Liu, M. Gong, S. Zafeiriou. "Sub-center ArcFace: Boosting
           Face Recognition by Large-Scale Noisy Web Faces". ECCV 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SubCenterArcFaceLoss
    >>> loss = SubCenterArcFaceLoss(n_classes=3, n_features=4)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 3, 4])
    """

    _parameter_constraints = {
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "margin": [Interval(Real, 0, math.pi, closed="both")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_classes, n_features, n_centers=3, margin=0.5, scale=16.0):
        super().__init__(n_classes, n_centers, n_features)
        self.margin = margin
        self.scale = scale

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies.transpose(0, 1), embeddings).amax(dim=1)
        cosines = F.widen_own_angle(cosines, labels, self.margin)
        return F.cross_entropy(self.scale * cosines, labels)


@dataclass(eq=False, repr=False)
class SubCenterArcFaceEmbedder(ProxyEmbedder):
    """Embedding learned with ArcFace on several proxies per class.

    A sample must be near only one of the proxies of its class. The other proxies
    collect what is unlike the rest of the class, such as wrong labels. Choose it for
    many classes with many samples each and noisy labels.

    Parameters
    ----------
    n_centers : int, default=3
        Number of proxies per class, at least 1. The paper uses 3.
    margin : float, default=0.5
        How much smaller the angle to the own proxy must be than the angles to the
        others, in radians, in [0, pi]. The larger, the tighter the classes. The paper
        uses 0.5.
    scale : float, default=16.0
        Factor of the cosines, above 0: the inverse of a temperature. The paper uses 64
        for millions of faces; networks trained from scratch on small data do better
        with 16.

    See Also
    --------
    ArcFaceEmbedder : One proxy per class.
    SoftTripleEmbedder : Several proxies per class, all of which count.
    """

    _: KW_ONLY
    n_centers: int = 3
    margin: float = 0.5
    scale: float = 16.0

    loss_class = SubCenterArcFaceLoss
    _search_space = {
        "n_centers": randint(1, 7),
        "margin": uniform(0, 1),
        "scale": loguniform(4, 256),
    }
