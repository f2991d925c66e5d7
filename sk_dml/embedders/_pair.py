"""What the methods share that compare the samples of a batch with each other."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import torch
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.embedders._loss import Loss


class PairLoss(Loss):
    """Base class of the losses on the pairs of a batch.

    A subclass computes the loss in ``_compare(rows, gallery, labels,
    gallery_labels)``: the anchors are the ``rows`` (n, d); they are compared with the
    ``gallery`` (m, d), which begins with the rows themselves.
    """

    # Whether the rows that are compared are scaled to length one.
    _normalizes = True

    @F.full_precision
    def forward(self, embeddings, labels, references=None, reference_labels=None):
        """Compute the loss of a batch.

        Parameters
        ----------
        embeddings : tensor of shape (n, d), floating point
            Rows of any length; where the loss compares directions it normalises them.
        labels : tensor of shape (n,), int
            The classes.
        references : tensor of shape (m, d), floating point, or None
            More samples to compare the batch with, such as a memory of earlier batches.
            They are no anchors and receive no gradient.
        reference_labels : tensor of shape (m,), int, or None
            The classes of the references.

        Returns
        -------
        scalar tensor
            The loss; 0, with a gradient of zero, if nothing in the batch counts.

        Raises
        ------
        TypeError
            If an argument is not a tensor.
        ValueError
            If a shape or a dtype does not fit, or one of references and
            reference_labels is missing.
        """
        rows, labels = F.check_batch(embeddings, labels)
        rows = self._prepare(rows)
        gallery, gallery_labels = rows, labels
        if (references is None) != (reference_labels is None):
            missing = "references" if references is None else "reference_labels"
            raise ValueError(
                "references and reference_labels must both be given, or neither; "
                f"{missing} is None."
            )
        if references is not None:
            others, other_labels = F.check_batch(
                references,
                reference_labels,
                n_features=rows.shape[1],
                names=("references", "reference_labels"),
            )
            gallery = torch.cat([rows, self._prepare(others.detach().to(rows.dtype))])
            gallery_labels = torch.cat([labels, other_labels])
        value = self._compare(rows, gallery, labels, gallery_labels)
        # Masks and comparisons pass over a NaN: it is to be seen.
        return value + 0 * gallery.detach().sum()

    def _prepare(self, rows):
        return F.unit_rows(rows) if self._normalizes else rows

    def _compare(self, rows, gallery, labels, gallery_labels):
        raise NotImplementedError

    @torch.no_grad()
    def active_share(self, embeddings, labels):
        """Tell how many of the pairs or triplets of a batch take part in the loss.

        Parameters
        ----------
        embeddings : tensor of shape (n, d), floating point
            Rows of any length.
        labels : tensor of shape (n,), int
            The classes.

        Returns
        -------
        float or None
            The share, in [0, 1]; where something is mined, of what is mined. None if
            all that the loss compares takes part, or the batch has nothing to compare.
        """
        rows, labels = F.check_batch(embeddings, labels)
        rows = self._prepare(rows)
        active, counted = map(float, self._count_active(rows, rows, labels, labels))
        return active / counted if counted else None

    def _count_active(self, rows, gallery, labels, gallery_labels):
        """Count the pairs or triplets with a part in the loss, and all of them."""
        return 0, 0


class CrossBatchMemory(nn.Module):
    """A loss on pairs whose batches are compared with the samples before them too.

    Keeps the latest embeddings in a queue. The value is the loss of the batch plus the
    loss of the batch compared with itself and the queue; then the batch joins the
    queue. As the network moves little from step to step, what it said a while ago still
    serves; the gradient goes through the new batch alone.

    As in the authors' code, the pairs of the batch count in both terms. What a loss
    adds for each sample, such as the lengths in ``NPairsLoss``, does so too. The
    value rises where the queue begins to take part. Rows that are not finite do not
    join the queue.

    Parameters
    ----------
    loss : PairLoss
        The loss, one without proxies.
    n_features : int
        Width of the embeddings, at least 1.
    memory_size : int
        Samples that the queue holds, at least 1.
    warm_up : int, default=0
        Samples to see before the queue takes part, at least 0: a network moves fastest
        in the beginning.

    Attributes
    ----------
    memory : buffer of shape (memory_size, n_features), float32
        The embeddings.
    memory_labels : buffer of shape (memory_size,), int64
        Their classes.
    n_seen : int
        Samples seen in training mode. The state dict holds it, with the buffers: a
        resumed training goes on where it was.

    Raises
    ------
    TypeError
        If the loss is of another kind, or a number is not an integer.
    ValueError
        If the loss has proxies, or a number is too small.

    References
    ----------
    .. [1] X. Wang, H. Zhang, W. Huang, M. R. Scott. "Cross-Batch Memory for Embedding
           Learning". CVPR 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_dml.losses import CircleLoss, CrossBatchMemory
    >>> loss = CrossBatchMemory(CircleLoss(), n_features=4, memory_size=100)
    >>> loss(torch.eye(4), torch.tensor([0, 1, 2, 3])).item()  # no pair of one class
    0.0
    >>> loss(torch.eye(4), torch.tensor([0, 1, 2, 3])).item() > 0  # now there are four
    True
    """

    memory: torch.Tensor
    memory_labels: torch.Tensor

    def __init__(self, loss, n_features, memory_size, warm_up=0):
        super().__init__()
        if not isinstance(loss, PairLoss):
            raise TypeError(
                "loss must be one that compares the samples of a batch, got "
                f"{type(loss).__name__}."
            )
        if getattr(loss, "proxies", None) is not None:
            raise ValueError(
                f"loss must have no proxies, got {loss}, which compares the batch with "
                "them alone."
            )
        check_scalar(n_features, "n_features", Integral, min_val=1)
        check_scalar(memory_size, "memory_size", Integral, min_val=1)
        check_scalar(warm_up, "warm_up", Integral, min_val=0)
        self.loss = loss
        self.warm_up = warm_up
        self.n_seen = 0
        self.register_buffer("memory", torch.zeros(memory_size, n_features))
        self.register_buffer("memory_labels", torch.zeros(memory_size).long())

    def forward(self, embeddings, labels):
        """Compute the loss of a batch, and in training mode remember the batch.

        Parameters
        ----------
        embeddings : tensor of shape (n, n_features), floating point
            The batch.
        labels : tensor of shape (n,), int
            The classes.

        Returns
        -------
        scalar tensor
            The loss.
        """
        F.check_batch(embeddings, labels, n_features=self.memory.shape[1])
        value = self.loss(embeddings, labels)
        n_held = min(self.n_seen, len(self.memory))
        if n_held and self.n_seen >= self.warm_up:
            held, held_labels = self.memory[:n_held], self.memory_labels[:n_held]
            value = value + self.loss(embeddings, labels, held, held_labels)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return value

    def _remember(self, embeddings, labels):
        # One NaN would spoil every batch until it leaves the queue.
        finite = embeddings.isfinite().all(dim=1)
        embeddings, labels = embeddings[finite], labels[finite]
        size, n = len(self.memory), len(labels)
        newest = torch.arange(n, device=labels.device)[-size:]
        places = (newest + self.n_seen) % size
        self.memory[places] = embeddings[newest].to(self.memory.dtype)
        self.memory_labels[places] = labels[newest].long()
        self.n_seen += n

    def relabel(self, places):
        """Give the classes other numbers.

        Parameters
        ----------
        places : array-like of shape (n_classes,), int
            The new number of each class.
        """
        places = torch.as_tensor(places, device=self.memory_labels.device)
        self.memory_labels.copy_(places[self.memory_labels])

    def get_extra_state(self):
        """Put the count of samples into the state dict.

        Returns
        -------
        int
        """
        return self.n_seen

    def set_extra_state(self, state):
        """Take the count of samples from a state dict.

        Parameters
        ----------
        state : int
            As :meth:`get_extra_state` returns it.
        """
        self.n_seen = state


@dataclass(eq=False, repr=False)
class PairEmbedder(BaseEmbedder):
    """Base class of the embedders whose loss compares the samples of a batch.

    A subclass adds the parameters of its method with their constraints, and
    ``_make_loss``, which returns a :class:`PairLoss`.
    """

    _: KW_ONLY
    memory_size: int = 0
    memory_warm_up: float = 0.5

    _parameter_constraints = {
        **BaseEmbedder._parameter_constraints,
        "memory_size": [Interval(Integral, 0, None, closed="left")],
        "memory_warm_up": [Interval(Real, 0, 1, closed="left")],
    }

    @property
    def _compares_samples(self):
        return True

    @property
    def _spread_over_epochs(self):
        waits = self.memory_size and self.memory_warm_up
        memory = [f"memory_warm_up={self.memory_warm_up}"] if waits else []
        return [*super()._spread_over_epochs, *memory]

    def _make_criterion(self, n_classes, n_samples):
        loss = super()._make_criterion(n_classes, n_samples)
        if not self.memory_size:
            return loss
        warm_up = int(self.memory_warm_up * self.max_epochs * n_samples)
        return CrossBatchMemory(loss, self.n_components, self.memory_size, warm_up)
