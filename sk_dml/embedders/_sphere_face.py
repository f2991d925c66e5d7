"""SphereFace: angular softmax (Liu et al., 2017)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import torch
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss

# The annealing of the authors' code.
FIRST_LAMBDA, LAST_LAMBDA, DECAY = 1000.0, 5.0, 0.12


class SphereFaceLoss(ProxyLoss):
    r"""SphereFace: softmax on cosines, with the angle of the own class multiplied.

    For an embedding x of class y, not normalized, normalized proxies w, the angles
    :math:`\theta_c` between them and an integer margin m,

    .. math::

        L = -\log \frac{e^{\lVert x \rVert \phi(\theta_y)}}
            {e^{\lVert x \rVert \phi(\theta_y)}
            + \sum_{c \ne y} e^{\lVert x \rVert \cos\theta_c}} , \quad
        \phi(\theta) = \frac{\lambda \cos\theta + \psi(\theta)}{1 + \lambda} , \quad
        \psi(\theta) = (-1)^k \cos(m \theta) - 2 k ,

    with k such that :math:`\theta \in [k \pi / m, (k + 1) \pi / m]`, averaged over the
    batch. The margin takes effect gradually: after t batches in training mode,
    :math:`\lambda` is :math:`\max(5, 1000 / (1 + 0.12 t))`, as in the authors' code.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    margin : int, default=4
        Factor of the angle to the own proxy, at least 1.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.
    n_steps : buffer of shape (), int64
        Number of batches seen in training mode.

    References
    ----------
    .. [1] W. Liu, Y. Wen, Z. Yu, M. Li, B. Raj, L. Song. "SphereFace: Deep Hypersphere
           Embedding for Face Recognition". CVPR 2017.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SphereFaceLoss
    >>> loss = SphereFaceLoss(n_classes=3, n_features=4)
    >>> loss(torch.eye(4)[:3], torch.tensor([0, 1, 2])).backward()
    >>> loss.proxies.grad.shape
    torch.Size([3, 4])
    """

    n_steps: torch.Tensor
    _parameter_constraints = {"margin": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_classes, n_features, margin=4):
        super().__init__(n_classes, n_features)
        self.margin = margin
        self.register_buffer("n_steps", torch.tensor(0))

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies, embeddings)
        own = cosines.gather(1, labels[:, None])
        annealing = (FIRST_LAMBDA / (1 + DECAY * self.n_steps)).clamp(min=LAST_LAMBDA)
        own = (annealing * own + self._multiply(own)) / (1 + annealing)
        if self.training:
            self.n_steps += 1
        lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        logits = lengths * cosines.scatter(1, labels[:, None], own)
        return F.cross_entropy(logits, labels)

    def _multiply(self, cosines):
        # cos(m t) is a Chebyshev polynomial of cos(t). The arc cosine would have an
        # infinite gradient at +-1; here it only selects k, without a gradient.
        last, multiplied = torch.ones_like(cosines), cosines
        for _ in range(self.margin - 1):
            last, multiplied = multiplied, 2 * cosines * multiplied - last
        angles = cosines.detach().clamp(-1, 1).arccos()
        k = (angles * self.margin / torch.pi).floor().clamp(max=self.margin - 1)
        return (1 - 2 * (k % 2)) * multiplied - 2 * k


@dataclass(eq=False, repr=False)
class SphereFaceEmbedder(ProxyEmbedder):
    """Embedding learned with SphereFace, the multiplicative angular margin loss.

    Learns one direction per class. The angle to the own direction must be several times
    smaller than the angles to the others. It is the first of the margin losses. Choose
    it for comparison with its simpler successors.

    Parameters
    ----------
    margin : int, default=4
        How many times smaller the angle to the own proxy must be, at least 1. The
        larger, the tighter the classes; 1 is no margin. The paper uses 4. It takes
        effect slowly: after 600 batches its weight is still only a fifteenth.

    See Also
    --------
    ArcFaceEmbedder : Adds to the angle.
    CosFaceEmbedder : Subtracts from the cosine.
    """

    _: KW_ONLY
    margin: int = 4

    loss_class = SphereFaceLoss
    _search_space = {"margin": [1, 2, 3, 4, 5]}
