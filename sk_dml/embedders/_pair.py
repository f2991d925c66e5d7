"""Base classes of the methods that compare the samples of a batch."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval
from torch import nn

from sk_dml import _functional as F
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.embedders._loss import Loss


class PairLoss(Loss):
    """Base class of the losses on the pairs of a batch.

    A subclass computes the loss in ``_compare(rows, gallery, positives, negatives)``:
    every one of the rows (n, d) is an anchor and is compared with the gallery (m, d),
    whose first n rows are the rows themselves. The masks, bool tensors of shape (n, m),
    say which pairs belong together and which do not; a row has itself in neither. So a
    loss serves labels as well as any other supervision.

    A loss that needs more than pairs sets ``needs_labels = True``. ``_compare`` and
    ``_count_active`` then receive the keywords ``labels`` (n,) and ``gallery_labels``
    (m,), and the loss accepts no masks.
    """

    needs_labels = False
    # A loss that leaves pairs or triplets out defines it, with the arguments of
    # _compare: it returns the number that have a loss, and of all that could.
    _count_active: Any = None
    # Whether the rows are scaled to length one before they are compared.
    _normalizes = True
    # Number of classes, if labels must be below it.
    _n_classes: int | None = None

    @F.full_precision
    def forward(
        self,
        embeddings,
        labels=None,
        references=None,
        reference_labels=None,
        *,
        positives=None,
        negatives=None,
    ):
        """Compute the loss of a batch.

        Labels, or two masks, define which samples belong together. Masks can express
        more: samples with several labels, or pairs and triplets without any label.

        Parameters
        ----------
        embeddings : tensor of shape (n, d), floating point
            Rows of any length. Losses that compare directions normalize them.
        labels : tensor of shape (n,), int, or None
            The classes. None if masks are given.
        references : tensor of shape (m, d), floating point, or None
            More samples to compare the batch with, such as a memory of earlier batches.
            They are no anchors and receive no gradient. They need labels.
        reference_labels : tensor of shape (m,), int, or None
            The classes of the references.
        positives : tensor of shape (n, n), bool, or None
            Instead of labels: whether sample j (column) is a positive of anchor i
            (row). It need not be symmetric. The diagonal must be False.
        negatives : tensor of shape (n, n), bool, or None
            Whether sample j is a negative of anchor i. A pair that is in neither mask
            does not count.

        Returns
        -------
        scalar tensor
            The loss; 0, with a gradient of zero, if nothing in the batch counts.

        Raises
        ------
        TypeError
            If an argument is not a tensor, or there are neither labels nor masks.
        ValueError
            If a shape or a dtype does not fit; only one of two arguments that belong
            together is given; there are both labels and masks; a pair is in both masks,
            or a sample paired with itself; or masks are given to a loss that needs
            labels.
        """
        rows, gallery, *masks, labels = self._make_pairs(
            embeddings, labels, references, reference_labels, positives, negatives
        )
        value = self._compare(rows, gallery, *masks, **labels)
        # Masked sums hide NaN; adding 0 * sum makes it visible.
        return value + 0 * gallery.detach().sum()

    def _make_pairs(
        self,
        embeddings,
        labels,
        references=None,
        reference_labels=None,
        positives=None,
        negatives=None,
    ):
        """Check a batch; return rows, gallery, both masks, and the labels if needed."""
        if positives is not None or negatives is not None:
            _check_both(positives=positives, negatives=negatives)
            if labels is not None:
                raise ValueError(
                    "positives and negatives replace labels: give either labels or "
                    "masks."
                )
            if not (references is reference_labels is None):
                raise ValueError(
                    "references need labels: they cannot be given with positives and "
                    "negatives."
                )
            if self.needs_labels:
                raise ValueError(
                    f"{self} needs labels: it cannot be computed from positives and "
                    "negatives."
                )
            rows = F.check_embeddings(embeddings)
            F.check_masks(positives, negatives, len(rows))
            rows = F.unit_rows(rows) if self._normalizes else rows
            return rows, rows, positives, negatives, {}
        if labels is None:
            raise TypeError("labels, or positives and negatives, must be given.")
        rows, labels = F.check_batch(embeddings, labels, n_classes=self._n_classes)
        rows = F.unit_rows(rows) if self._normalizes else rows
        gallery, gallery_labels = rows, labels
        if references is not None or reference_labels is not None:
            _check_both(references=references, reference_labels=reference_labels)
            others, other_labels = F.check_batch(
                references,
                reference_labels,
                n_features=rows.shape[1],
                names=("references", "reference_labels"),
            )
            others = others.detach().to(rows.dtype)
            others = F.unit_rows(others) if self._normalizes else others
            gallery = torch.cat([rows, others])
            gallery_labels = torch.cat([labels, other_labels])
        masks = F.pair_masks(labels, gallery_labels)
        needed = {"labels": labels, "gallery_labels": gallery_labels}
        return rows, gallery, *masks, needed if self.needs_labels else {}

    def _compare(self, rows, gallery, positives, negatives):
        """Compute the loss: rows (n, d), gallery (m, d), masks (n, m) to a scalar."""
        raise NotImplementedError

    @torch.no_grad()
    def active_share(self, embeddings, labels):
        """Compute the share of the pairs or triplets of a batch that have a loss.

        Parameters
        ----------
        embeddings : tensor of shape (n, d), floating point
            Rows of any length.
        labels : tensor of shape (n,), int
            The classes.

        Returns
        -------
        float or None
            The share, in [0, 1]. If the loss mines pairs or triplets, the share of the
            mined ones. None if the loss leaves nothing out, or the batch has nothing to
            compare.
        """
        if self._count_active is None:
            return None
        rows, gallery, *masks, needed = self._make_pairs(embeddings, labels)
        counts = self._count_active(rows, gallery, *masks, **needed)
        active, counted = map(float, counts)
        return active / counted if counted else None


def _check_both(**arguments):
    """Check that none of two arguments that belong together is None."""
    for name, value in arguments.items():
        if value is None:
            raise ValueError(
                f"{' and '.join(arguments)} must both be given, or neither; {name} is "
                "None."
            )


class CrossBatchMemory(nn.Module):
    """Loss on pairs that compares each batch with the samples of earlier batches too.

    A queue keeps the latest embeddings. The value is the loss of the batch, plus the
    loss of the batch compared with itself and the queue; then the batch joins the
    queue. A network changes little from step to step, so that its earlier embeddings
    are still useful. Only the new batch receives a gradient.

    As in the authors' code, the pairs of the batch count in both terms. So does what a
    loss adds for each sample, such as the lengths in ``NPairsLoss``. The value jumps
    up where the queue begins to take part. Rows that are not finite do not join the
    queue.

    Parameters
    ----------
    loss : PairLoss
        The loss. It must have no proxies.
    n_features : int
        Width of the embeddings, at least 1.
    memory_size : int
        Number of samples in the queue, at least 1.
    warm_up : int, default=0
        Number of samples to see before the queue takes part, at least 0. A network
        changes fastest in the beginning.

    Attributes
    ----------
    memory : buffer of shape (memory_size, n_features), float32
        The embeddings in the queue.
    memory_labels : buffer of shape (memory_size,), int64
        Their classes.
    n_seen : int
        Number of samples seen in training mode. It is in the state dict with the
        buffers, so that a resumed training continues where it stopped.

    Raises
    ------
    TypeError
        If the loss is not a loss on pairs, or a number is not an integer.
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
                f"loss must compare the samples of a batch, got {type(loss).__name__}."
            )
        if getattr(loss, "proxies", None) is not None:
            raise ValueError(f"loss must have no proxies, got {loss}.")
        check_scalar(n_features, "n_features", Integral, min_val=1)
        check_scalar(memory_size, "memory_size", Integral, min_val=1)
        check_scalar(warm_up, "warm_up", Integral, min_val=0)
        self.loss = loss
        self.warm_up = warm_up
        self.n_seen = 0
        self.register_buffer("memory", torch.zeros(memory_size, n_features))
        self.register_buffer("memory_labels", torch.zeros(memory_size).long())

    def forward(self, embeddings, labels):
        """Compute the loss of a batch, which in training mode then joins the queue.

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
        # One NaN would make every loss NaN until it leaves the queue.
        finite = embeddings.isfinite().all(dim=1)
        embeddings, labels = embeddings[finite], labels[finite]
        size, n = len(self.memory), len(labels)
        newest = torch.arange(n, device=labels.device)[-size:]
        indices = (newest + self.n_seen) % size
        self.memory[indices] = embeddings[newest].to(self.memory.dtype)
        self.memory_labels[indices] = labels[newest].long()
        self.n_seen += n

    def relabel(self, indices):
        """Replace the class indices in the queue.

        Parameters
        ----------
        indices : array-like of shape (n_classes,), int
            The new index of each class.
        """
        indices = torch.as_tensor(indices, device=self.memory_labels.device)
        self.memory_labels.copy_(indices[self.memory_labels])

    def get_extra_state(self):
        """Return the number of samples seen, for the state dict.

        Returns
        -------
        int
        """
        return self.n_seen

    def set_extra_state(self, state):
        """Set the number of samples seen, from a state dict.

        Parameters
        ----------
        state : int
            As :meth:`get_extra_state` returns it.
        """
        self.n_seen = state


@dataclass(eq=False, repr=False)
class PairEmbedder(BaseEmbedder):
    """Base class of the embedders whose loss compares the samples of a batch.

    A subclass adds the parameters of its method, and names its :class:`PairLoss` as
    ``loss_class``.
    """

    _: KW_ONLY
    memory_size: int = 0
    memory_warm_up: float = 0.5

    _parameter_constraints = {
        "memory_size": [Interval(Integral, 0, None, closed="left")],
        "memory_warm_up": [Interval(Real, 0, 1, closed="left")],
    }
    _compares_samples: ClassVar[Any] = True

    @property
    def _depends_on_max_epochs(self):
        waits = self.memory_size and self.memory_warm_up
        memory = [f"memory_warm_up={self.memory_warm_up}"] if waits else []
        return [*super()._depends_on_max_epochs, *memory]

    def _make_loss(self, n_classes, n_samples):
        loss = super()._make_loss(n_classes, n_samples)
        if not self.memory_size:
            return loss
        warm_up = int(self.memory_warm_up * self.max_epochs * n_samples)
        return CrossBatchMemory(loss, self.n_components, self.memory_size, warm_up)
