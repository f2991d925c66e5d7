"""ArcFace: additive angular margin loss (Deng et al., 2019)."""

import math
from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class ArcFaceLoss(ProxyLoss):
    r"""ArcFace: softmax on cosines, with a margin added to the own angle.

    For an embedding x of class y and proxies w, all normalized, with the angles
    :math:`\theta_c` between x and :math:`w_c`, margin m and scale s,

    .. math::

        L = -\log \frac{e^{s \cos(\theta_y + m)}}
            {e^{s \cos(\theta_y + m)} + \sum_{c \ne y} e^{s \cos\theta_c}} ,

    averaged over the batch. If :math:`\theta_y + m` is more than :math:`\pi`, where
    its cosine would rise again, :math:`\cos\theta_y - m \sin m` replaces the cosine, as
    in the authors' code.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    margin : float, default=0.5
        Margin added to the angle to the own proxy, in radians, in [0, pi].
    scale : float, default=16.0
        Factor of the cosines, above 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] J. Deng, J. Guo, N. Xue, S. Zafeiriou. "ArcFace: Additive Angular Margin Loss
           for Deep Face Recognition". CVPR 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import ArcFaceLoss
    >>> loss = ArcFaceLoss(n_classes=3, n_features=4)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 4])
    """

    _parameter_constraints = {
        "margin": [Interval(Real, 0, math.pi, closed="both")],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_classes, n_features, margin=0.5, scale=16.0):
        super().__init__(n_classes, n_features)
        self.margin = margin
        self.scale = scale

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies, embeddings)
        cosines = F.widen_own_angle(cosines, labels, self.margin)
        return F.cross_entropy(self.scale * cosines, labels)


@dataclass(eq=False, repr=False)
class ArcFaceEmbedder(ProxyEmbedder):
    """Embedding learned with ArcFace, the additive angular margin loss.

    Learns one direction per class. The angle to the own direction must be smaller than
    the angles to the others by a margin. It is the standard of face recognition. Choose
    it for many classes with many samples each and clean labels.

    Parameters
    ----------
    margin : float, default=0.5
        How much smaller the angle to the own proxy must be than the angles to the
        others, in radians, in [0, pi]. The larger, the tighter the classes. The paper
        uses 0.5 (28.6 degrees); the Reality Check found 0.32 to 0.40.
    scale : float, default=16.0
        Factor of the cosines, above 0: the inverse of a temperature. The larger, the
        less a sample that is already classified correctly still moves. The paper uses
        64 for millions of faces and the Reality Check found 100 to 220 for pretrained
        networks; networks trained from scratch on small data do better with 16.

    See Also
    --------
    CosFaceEmbedder : The margin is a cosine.
    NormalizedSoftmaxEmbedder : No margin.
    """

    _: KW_ONLY
    margin: float = 0.5
    scale: float = 16.0

    loss_class = ArcFaceLoss
    _search_space = {
        "margin": uniform(0, 1),
        "scale": loguniform(4, 256),
    }
