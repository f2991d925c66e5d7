"""Normalized softmax (Wang et al., 2017; Zhai and Wu, 2019)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

from scipy.stats import loguniform
from sklearn.utils._param_validation import Interval

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class NormalizedSoftmaxLoss(ProxyLoss):
    r"""Softmax cross-entropy on cosine similarities to one learned proxy per class.

    For an embedding x of class y and proxies w, all normalized, and temperature T,

    .. math:: L = -\log \frac{e^{x \cdot w_y / T}}{\sum_c e^{x \cdot w_c / T}} ,

    averaged over the batch.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.
    temperature : float, default=0.1
        T, above 0.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] F. Wang, X. Xiang, J. Cheng, A. L. Yuille. "NormFace: L2 Hypersphere
           Embedding for Face Verification". ACM Multimedia 2017.
    .. [2] A. Zhai, H.-Y. Wu. "Classification is a Strong Baseline for Deep Metric
           Learning". BMVC 2019.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import NormalizedSoftmaxLoss
    >>> loss = NormalizedSoftmaxLoss(n_classes=3, n_features=3)
    >>> with torch.no_grad():
    ...     loss.proxies.copy_(torch.eye(3)).shape
    torch.Size([3, 3])
    >>> bool(loss(torch.eye(3), torch.tensor([0, 1, 2])) < 1e-3)
    True
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, n_classes, n_features, temperature=0.1):
        super().__init__(n_classes, n_features)
        self.temperature = temperature

    def _compare(self, embeddings, labels):
        cosines = F.proxy_cosines(self.proxies, embeddings)
        return F.cross_entropy(cosines / self.temperature, labels)


@dataclass(eq=False, repr=False)
class NormalizedSoftmaxEmbedder(ProxyEmbedder):
    """Embedding learned with the normalized softmax.

    Learns one direction per class and classifies by the cosine to it. It is simple,
    fast and stable, and needs neither pairs in the batch nor mining. Choose it for many
    known classes, or if some have a single sample.

    Parameters
    ----------
    temperature : float, default=0.1
        Divisor of the cosines, above 0. The smaller, the less a sample that is already
        classified correctly still moves. The paper's code uses 0.05 and the Reality
        Check found 0.06 to 0.11, for pretrained networks; networks trained from scratch
        on small data do better with 0.1.

    See Also
    --------
    SoftTripleEmbedder : Several directions per class.
    CircleEmbedder : Compares pairs of samples instead of learning proxies.
    """

    _: KW_ONLY
    temperature: float = 0.1

    loss_class = NormalizedSoftmaxLoss
    _search_space = {"temperature": loguniform(0.01, 1)}
