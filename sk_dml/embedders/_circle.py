"""Circle loss (Sun et al., 2020)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._loss import SIZE
from sk_dml.embedders._pair import PairEmbedder, PairLoss


class CircleLoss(PairLoss):
    r"""Circle loss on the pairs of a batch.

    With the cosine similarities :math:`s_p` of an anchor to the samples of its class
    and :math:`s_n` to those of other classes, margin :math:`m` and scale
    :math:`\gamma`,

    .. math::

        L = \log\Big[1 + \sum_n e^{\gamma \alpha_n (s_n - m)}
            \sum_p e^{-\gamma \alpha_p (s_p - 1 + m)}\Big], \quad
        \alpha_p = [1 + m - s_p]_+, \; \alpha_n = [s_n + m]_+ .

    The weights :math:`\alpha` are constants for the gradient: the farther a pair is
    from its optimum, the more it is moved. The loss of a batch is the mean over the
    anchors that have both kinds of pairs.

    In the class-level form, s are the similarities to a learned proxy of every class:
    one positive, and the proxies of all other classes as negatives. It is called with
    labels in 0 .. n_classes - 1, and with neither references nor masks.

    Parameters
    ----------
    margin : float, default=0.4
        Relaxation m, in [-1, 1]: similarities should be above 1 - m within a class and
        below m between classes.
    gamma : float, default=80.0
        Scale of the similarities, above 0.
    n_classes, n_features : int or None, default=None
        Number of classes and width of the embeddings, both at least 1, for the
        class-level form. None compares the pairs of a batch.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features) or None
        The proxies, of any length; they are normalized when they are used.

    References
    ----------
    .. [1] Y. Sun, C. Cheng, Y. Zhang, C. Zhang, L. Zheng, Z. Wang, Y. Wei. "Circle
           Loss: A Unified Perspective of Pair Similarity Optimization". CVPR 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import CircleLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> loss = CircleLoss()
    >>> bool(loss(embeddings, torch.tensor([0, 0, 1, 1])) < 0.1)
    True
    >>> bool(loss(embeddings, torch.tensor([0, 1, 0, 1])) > 10)
    True
    """

    _parameter_constraints = {
        "margin": [Interval(Real, -1, 1, closed="both")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "n_classes": [SIZE, None],
        "n_features": [SIZE, None],
    }

    def __init__(self, margin=0.4, gamma=80.0, n_classes=None, n_features=None):
        super().__init__()
        if (n_classes is None) != (n_features is None):
            raise ValueError(
                "n_classes and n_features must both be given, or neither; got "
                f"n_classes={n_classes}, n_features={n_features}."
            )
        self.margin = margin
        self.gamma = gamma
        self.proxies = None
        if n_classes is not None:
            self.proxies = nn.Parameter(F.random_directions(n_classes, n_features))

    def _make_pairs(self, embeddings, labels, *others):
        if self.proxies is None:
            return super()._make_pairs(embeddings, labels, *others)
        if any(other is not None for other in others):
            raise ValueError(
                "references, reference_labels, positives and negatives must be None "
                "for a loss with proxies."
            )
        rows, labels = F.check_proxy_batch(self.proxies, embeddings, labels)
        own = nn.functional.one_hot(labels, len(self.proxies)).bool()
        return rows, rows, own, ~own, {}

    def _compare(self, rows, gallery, positives, negatives):
        if self.proxies is None:
            similarities = F.similarities(rows, gallery)
        else:
            similarities = F.proxy_cosines(self.proxies, rows)
        pull, push = self._weights(similarities)
        # softplus(a + b) is log(1 + e^a e^b): the product of the two sums in log space.
        terms = nn.functional.softplus(
            F.masked_logsumexp(
                -self.gamma * pull * (similarities - 1 + self.margin), positives
            )
            + F.masked_logsumexp(
                self.gamma * push * (similarities - self.margin), negatives
            )
        )
        return F.masked_mean(terms, positives.any(1) & negatives.any(1))

    @torch.no_grad()
    def _weights(self, similarities):
        pull = (1 + self.margin - similarities).clamp(min=0)
        push = (similarities + self.margin).clamp(min=0)
        return pull, push


@dataclass(eq=False, repr=False)
class CircleEmbedder(PairEmbedder):
    """Embedding learned with the Circle loss.

    Pulls the samples of a class together and pushes classes apart. Each pair has its
    own weight: the farther a pair is from where it should be, the more it is moved.
    Choose it first for images, above all for retrieval among classes never seen in
    training.

    Parameters
    ----------
    margin : float, default=0.4
        Similarities should be above ``1 - margin`` within a class and below ``margin``
        between classes. In [-1, 1]; a larger margin demands less. The paper uses 0.25
        for faces and re-identification and 0.4 for fine-grained retrieval.
    gamma : float, default=80.0
        Factor of the similarities, above 0. The larger, the more the hardest pairs of a
        batch dominate. The paper uses 80 for fine-grained retrieval, 128 for
        re-identification and 256 for faces.
    supervision : {"pair", "class"}, default="pair"
        "pair" compares a sample with the other samples of its batch, "class" with a
        learned proxy of every class. "class" suits many classes with few samples each,
        even one. It allows ``samples_per_class=None``, but no ``memory_size``.

    See Also
    --------
    ContrastiveEmbedder : The classical loss on pairs.
    SoftTripleEmbedder : Learns several proxies per class instead of comparing pairs.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_dml import CircleEmbedder
    >>> X, y = load_wine(return_X_y=True)
    >>> embedder = CircleEmbedder(random_state=0)
    >>> pipeline = make_pipeline(embedder, KNeighborsClassifier()).fit(X[::2], y[::2])
    >>> pipeline.score(X[1::2], y[1::2]) > 0.9
    True
    """

    _: KW_ONLY
    margin: float = 0.4
    gamma: float = 80.0
    supervision: str = "pair"

    _parameter_constraints = {
        "supervision": [StrOptions({"pair", "class"})],
    }
    loss_class = CircleLoss
    _search_space = {
        "margin": uniform(0, 0.8),
        "gamma": loguniform(16, 512),
        "supervision": ["pair", "class"],
    }

    @property
    def _compares_samples(self):
        return self.supervision == "pair"

    def _make_loss(self, n_classes, n_samples):
        if self.supervision == "pair":
            n_classes = None
        elif self.memory_size:
            raise ValueError(
                f"memory_size={self.memory_size} needs supervision='pair', got "
                "'class'; allowed is 0."
            )
        return super()._make_loss(n_classes, n_samples)
