"""Softmax cross-entropy on a linear head: a plain classifier (Sun et al., 2014)."""

from dataclasses import dataclass

import torch
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._proxy import ProxyEmbedder, ProxyLoss


class SoftmaxLoss(ProxyLoss):
    r"""Softmax cross-entropy on a linear head: a plain classifier.

    For an embedding x of class y, not normalized, and weights w and a bias b of every
    class,

    .. math::

        L = -\log \frac{e^{x \cdot w_y + b_y}}{\sum_c e^{x \cdot w_c + b_c}} ,

    averaged over the batch.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_features : int
        Width of the embeddings.

    Attributes
    ----------
    proxies : parameter of shape (n_classes, n_features)
        The weights.
    bias : parameter of shape (n_classes,)
        The bias, which begins as 0.

    References
    ----------
    .. [1] Y. Sun, X. Wang, X. Tang. "Deep Learning Face Representation from Predicting
           10,000 Classes". CVPR 2014.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import SoftmaxLoss
    >>> loss = SoftmaxLoss(n_classes=3, n_features=4)
    >>> loss(torch.zeros(2, 4), torch.tensor([0, 1])).item()  # log(3)
    1.0986...
    """

    def __init__(self, n_classes, n_features):
        super().__init__(n_classes, n_features)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def _compare(self, embeddings, labels):
        logits = nn.functional.linear(
            embeddings,
            self.proxies.to(embeddings.dtype),
            self.bias.to(embeddings.dtype),
        )
        return F.cross_entropy(logits, labels)


@dataclass(eq=False, repr=False)
class SoftmaxEmbedder(ProxyEmbedder):
    """Embedding learned by a plain classifier: the input of its last layer.

    It is the baseline of all methods with proxies. Choose it to see what metric
    learning adds to a classifier on your data.

    See Also
    --------
    NormalizedSoftmaxEmbedder : Compares directions, like a search by cosine.
    CenterEmbedder : Also pulls the samples of a class together.
    """

    loss_class = SoftmaxLoss
