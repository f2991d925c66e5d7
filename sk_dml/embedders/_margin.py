"""Margin loss with distance-weighted sampling (Wu et al., 2017)."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from sk_dml import _functional as F
from sk_dml._pairs import PairEmbedder, PairLoss

__all__ = ["MarginEmbedder", "MarginLoss"]

# Nearer negatives are drawn as if they were this far away: they are few and noisy.
NEAREST = 0.5


class MarginLoss(PairLoss):
    r"""Margin loss on positives and on negatives drawn by their distance.

    With Euclidean distances :math:`d` between the normalised embeddings, margin
    :math:`\alpha` and boundary :math:`\beta`,

    .. math::

        L = \operatorname{mean}_{(a, p)} [d_{ap} - \beta + \alpha]_+
          + \operatorname{mean}_{(a, n)} [\beta + \alpha - d_{an}]_+

    over the terms that are not zero. The paper draws one negative for each positive
    pair, with a probability that makes all distances equally likely,
    :math:`w_n \propto 1 / q(\max(d_{an}, 0.5))`, where
    :math:`q(d) = d^{D - 2} (1 - d^2 / 4)^{(D - 3) / 2}` is how often a distance occurs
    on the sphere in D dimensions. Here every negative with a term above zero enters,
    weighted by that probability: the same in the mean, without the noise of the draw.

    Parameters
    ----------
    margin : float, default=0.2
        The paper's alpha, at least 0.
    beta : float, default=0.5
        The boundary between positives and negatives, in its beginning if it is learned.
    learn_beta : bool, default=True
        Whether the boundary is a parameter.
    n_classes : int or None, default=None
        Number of classes, for a boundary of its own for every class; the anchor's
        counts. None has one for all.

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
    >>> loss(embeddings, torch.tensor([0, 1, 0, 1])).item()  # 2 - 0.3 and 0.7 - 0
    2.4...
    """

    def __init__(self, margin=0.2, beta=0.5, learn_beta=True, n_classes=None):
        super().__init__()
        self.margin = margin
        first = torch.full(() if n_classes is None else (n_classes,), float(beta))
        if learn_beta:
            self.beta = torch.nn.Parameter(first)
        else:
            self.register_buffer("beta", first)

    def _compare(self, rows, gallery, labels, gallery_labels):
        distances = F.euclidean_distances(rows, gallery)
        positives, negatives = F.pair_masks(labels, gallery_labels)
        beta = self.beta.to(rows.dtype)
        if beta.ndim:
            F.check_batch(rows, labels, n_classes=len(beta))
            beta = beta[labels][:, None]
        pull = distances - beta + self.margin
        push = beta + self.margin - distances
        weights = self._weights(distances, negatives & (push > 0), rows.shape[1])
        # One negative for every positive of the anchor.
        weights = weights * positives.sum(dim=1, keepdim=True)
        total = weights.sum()
        mean_push = (weights * push).sum() / total.where(total > 0, 1)
        return F.masked_mean(pull, positives & (pull > 0)) + mean_push

    @torch.no_grad()
    def _weights(self, distances, candidates, n_features):
        distances = distances.clamp(min=NEAREST)
        cap = (1 - distances.square() / 4).clamp(min=1e-8)
        density = (n_features - 2) * distances.log() + (n_features - 3) / 2 * cap.log()
        log_total = F.masked_logsumexp(-density, candidates)
        return (-density - log_total[:, None]).exp().where(candidates, 0)


@dataclass(eq=False, repr=False)
class MarginEmbedder(PairEmbedder):
    """Embedding learned with the margin loss and distance-weighted negatives.

    Tells pairs of one class from others by one boundary for all distances, and takes
    negatives from all distances alike instead of the nearest or the many far ones.
    Choose it where mined triplets are unstable.

    Parameters
    ----------
    margin : float, default=0.2
        How far positives aim below the boundary and negatives above it, in [0, 2]. The
        Reality Check found 0.08 to 0.09.
    beta : float, default=0.5
        The boundary, in [0, 2]; where it is learned, in the beginning. The paper
        uses 1.2 and the Reality Check found 0.8 to 1.3, for pretrained networks. An
        untrained one places most samples nearer to each other than that, and the
        negatives would push from everywhere at once: from scratch 0.5 trains better.
    learn_beta : bool or "class", default=True
        Whether the boundary is learned: not, one for all classes, or one for each.

    See Also
    --------
    ContrastiveEmbedder : Two fixed boundaries.
    TripletEmbedder : Compares distances with each other only.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_dml import MarginEmbedder
    >>> X, y = load_wine(return_X_y=True)
    >>> MarginEmbedder(8, max_epochs=9, random_state=0).fit_transform(X, y).shape
    (178, 8)
    """

    _: KW_ONLY
    margin: float = 0.2
    beta: float = 0.5
    learn_beta: bool | str = True

    _parameter_constraints = {
        **PairEmbedder._parameter_constraints,
        "margin": [Interval(Real, 0, 2, closed="both")],
        "beta": [Interval(Real, 0, 2, closed="both")],
        "learn_beta": ["boolean", StrOptions({"class"})],
    }

    def _make_loss(self, n_classes):
        by_class = n_classes if self.learn_beta == "class" else None
        return MarginLoss(self.margin, self.beta, bool(self.learn_beta), by_class)
