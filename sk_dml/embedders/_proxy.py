"""Base classes of the methods that learn proxies of the classes."""

from dataclasses import KW_ONLY, dataclass

from scipy.stats import loguniform
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.embedders._loss import SIZE, Loss


class ProxyLoss(Loss):
    """Base class of the losses with proxies.

    A subclass computes the loss in ``_compare(embeddings, labels)``. The labels are
    indices of the classes.

    Parameters
    ----------
    *shape : int
        Shape of the proxies, (n_classes, ..., n_features). They begin as random
        directions.
    """

    _parameter_constraints = {"n_classes": [SIZE], "n_features": [SIZE]}

    def __init__(self, *shape):
        super().__init__()
        self.proxies = nn.Parameter(F.random_directions(*shape))

    @F.full_precision
    def forward(self, embeddings, labels):
        """Compute the loss of a batch.

        Parameters
        ----------
        embeddings : tensor of shape (n, n_features), floating point
            Rows of any length. Losses that compare directions normalize them.
        labels : tensor of shape (n,), int
            The classes, in 0 .. n_classes - 1.

        Returns
        -------
        scalar tensor
            The loss.

        Raises
        ------
        TypeError
            If an argument is not a tensor.
        ValueError
            If a shape, a dtype or a label does not fit.
        """
        return self._compare(*F.check_proxy_batch(self.proxies, embeddings, labels))

    def _compare(self, embeddings, labels):
        """Compute the loss: embeddings (n, d) and labels (n,) to a scalar."""
        raise NotImplementedError


@dataclass(eq=False, repr=False)
class ProxyEmbedder(BaseEmbedder):
    """Base class of the embedders whose loss learns proxies of the classes.

    A subclass adds the parameters of its method, and names its :class:`ProxyLoss` as
    ``loss_class``.
    """

    _: KW_ONLY
    samples_per_class: int | None = None

    _search_space = {"proxy_lr": loguniform(1e-5, 1e-1)}
