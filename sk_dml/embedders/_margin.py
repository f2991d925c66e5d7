"""Margin loss with distance-weighted sampling (Wu et al., 2017)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from scipy.stats import loguniform, uniform
from sklearn.utils._param_validation import Interval, StrOptions

from sk_dml import _functional as F
from sk_dml.embedders._loss import SIZE
from sk_dml.embedders._pair import PairEmbedder, PairLoss

# Nearer negatives are drawn as if they were at this distance: they are few and noisy.
NEAREST = 0.5
# Farther negatives are not drawn: on the sphere they are as rare as near ones.
FARTHEST = 1.4


class MarginLoss(PairLoss):
    r"""Margin loss on positives, and on negatives sampled by their distance.

    With Euclidean distances :math:`d` between the normalized embeddings, margin
    :math:`\alpha` and boundary :math:`\beta`,

    .. math::

        L = \frac{\sum_{(a, p)} [d_{ap} - \beta + \alpha]_+
            + \sum_{(a, n)} [\beta + \alpha - d_{an}]_+}
            {\text{number of these terms above zero}} .

    The paper draws one negative n for each positive pair (a, p), with a probability
    that makes all distances up to 1.4 equally likely,
    :math:`w_n \propto 1 / q(\max(d_{an}, 0.5))`, where
    :math:`q(d) = d^{D - 2} (1 - d^2 / 4)^{(D - 3) / 2}` is how often a distance occurs
    on the sphere in D dimensions. Here all these negatives are in the sum and in the
    number of terms, with the probability as their weight: the limit of many draws.

    Parameters
    ----------
    margin : float, default=0.2
        The paper's alpha, in [0, 2].
    beta : float, default=1.2
        The boundary between positives and negatives, in [0, 2]. If it is learned, its
        first value.
    learn_beta : bool or "class", default=True
        Whether the boundary is learned: False, True for one boundary for all classes,
        or "class" for one boundary for each class, of which that of the anchor counts.
        "class" needs labels, and accepts no masks.
    n_classes : int or None, default=None
        Number of classes, at least 1. Needed for ``learn_beta="class"``.

    Attributes
    ----------
    beta : parameter or buffer of shape () or (n_classes,)
        The boundary.

    References
    ----------
    .. [1] C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl. "Sampling Matters in Deep
           Embedding Learning". ICCV 2017.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import MarginLoss
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> loss = MarginLoss()
    >>> loss(embeddings, torch.tensor([0, 0, 1, 1])).item()
    0.0
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # 2 - 1 and 1.4 - 0
    1.2...
    """

    _parameter_constraints = {
        "margin": [Interval(Real, 0, 2, closed="both")],
        "beta": [Interval(Real, 0, 2, closed="both")],
        "learn_beta": ["boolean", StrOptions({"class"})],
        "n_classes": [SIZE, None],
    }

    def __init__(self, margin=0.2, beta=1.2, learn_beta=True, n_classes=None):
        super().__init__()
        # Only a boundary for each class needs to know the class of an anchor.
        self.needs_labels = learn_beta == "class"
        if self.needs_labels:
            if n_classes is None:
                raise ValueError(
                    "n_classes must be given for learn_beta='class', got None."
                )
            self._n_classes = n_classes
        self.margin = margin
        first = torch.full((n_classes,) if self.needs_labels else (), float(beta))
        if learn_beta:
            self.beta = torch.nn.Parameter(first)
        else:
            self.register_buffer("beta", first)

    def _compare(
        self, rows, gallery, positives, negatives, labels=None, gallery_labels=None
    ):
        distances = F.euclidean_distances(rows, gallery)
        pull, push = self._hinges(distances, labels)
        weights = self._weights(distances, negatives, rows.shape[1])
        # One negative for every positive of the anchor.
        weights = (weights * positives.sum(dim=1, keepdim=True)).where(push > 0, 0)
        pulls = positives & (pull > 0)
        n_terms = pulls.sum() + weights.sum()
        total = pull.where(pulls, 0).sum() + (weights * push).sum()
        return total / n_terms.where(n_terms > 0, 1)

    def _hinges(self, distances, labels):
        beta = self.beta.to(distances.dtype)
        if self.needs_labels:
            beta = beta[labels][:, None]
        return distances - beta + self.margin, beta + self.margin - distances

    def _count_active(
        self, rows, gallery, positives, negatives, labels=None, gallery_labels=None
    ):
        pull, push = self._hinges(F.euclidean_distances(rows, gallery), labels)
        active = positives & (pull > 0) | negatives & (push > 0)
        return active.sum(), (positives | negatives).sum()

    @torch.no_grad()
    def _weights(self, distances, negatives, n_features):
        candidates = negatives & (distances < FARTHEST)
        distances = distances.clamp(min=NEAREST)
        cap = (1 - distances.square() / 4).clamp(min=1e-8)
        density = (n_features - 2) * distances.log() + (n_features - 3) / 2 * cap.log()
        log_total = F.masked_logsumexp(-density, candidates)
        return (-density - log_total[:, None]).exp().where(candidates, 0)


@dataclass(eq=False, repr=False)
class MarginEmbedder(PairEmbedder):
    """Embedding learned with the margin loss and distance-weighted negatives.

    Separates pairs of one class from the others by one boundary for all distances.
    Negatives are sampled evenly from all distances, instead of the nearest ones or the
    many far ones. Choose it if mined triplets are unstable.

    Parameters
    ----------
    margin : float, default=0.2
        How far below the boundary positives should be, and negatives above it, in
        [0, 2]. The Reality Check found 0.08 to 0.09.
    beta : float, default=1.2
        The boundary, in [0, 2]. If it is learned, its first value. The paper uses 1.2;
        the Reality Check found 0.8 to 1.3.
    learn_beta : bool or "class", default=True
        Whether the boundary is learned: False, True for one boundary for all classes,
        or "class" for one boundary for each class. A learned boundary moves until as
        many positives as negatives are on the wrong side.

    See Also
    --------
    ContrastiveEmbedder : Two fixed boundaries.
    TripletEmbedder : Compares distances with each other only.
    """

    _: KW_ONLY
    margin: float = 0.2
    beta: float = 1.2
    learn_beta: bool | str = True

    loss_class = MarginLoss
    _search_space = {
        "margin": uniform(0, 0.5),
        "beta": uniform(0.4, 1.2),
        # False is not needed: at a low proxy_lr a learned boundary does not move.
        "learn_beta": [True, "class"],
        "proxy_lr": loguniform(1e-5, 1e-1),
    }
