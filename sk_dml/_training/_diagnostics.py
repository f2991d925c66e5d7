"""What an epoch tells about its training, and warnings where it went wrong."""

import numpy as np
import torch

from sk_dml._functional import unit_rows
from sk_dml._training._net import total_norm
from sk_dml._utils._warn import warn

# Rows of a batch that are looked at: more tell little more.
LARGEST_SAMPLE = 512
# Samples of different classes that are more alike than this are as good as one point.
COLLAPSED_SIMILARITY = 0.99
# An effective rank below this is a line, on which two classes can be apart, not four.
LINE_RANK, LINE_CLASSES = 1.05, 4
# A gradient is dead if it is so small a part of a loss that is not zero.
DEAD_GRADIENT = 1e-9
# A loss that fell below this share has been learned: the last batch may have none.
LEARNED_SHARE = 1e-3
# Of the steps in half precision some may overflow, the first ones above all, until the
# scale is found.
SKIPPED_SHARE = 0.5


class Diagnostics:
    """Looks at the last batch of every epoch: no step of the training costs more."""

    def on_epoch_end(self, net):
        """Record what the last batch of an epoch tells; stop what is useless.

        Parameters
        ----------
        net : EmbeddingNet

        Raises
        ------
        ValueError
            If the loss or a weight is not finite.
        """
        check_finite(net)
        for name, value in describe_batch(net.criterion_, *net.last_batch_).items():
            net.history.record(name, value)
        norm = net.step_.gradient_norm
        if norm is None:
            norm = total_norm(net.module_)
        if norm is not None:
            net.history.record("gradient_norm", norm.item())
        n_skipped = net.step_.count_skipped()
        if n_skipped is not None:
            net.history.record("skipped_steps", n_skipped)


def check_finite(net):
    """Check that a network has not become useless.

    Parameters
    ----------
    net : EmbeddingNet
        At the end of an epoch.

    Raises
    ------
    ValueError
        If the loss of the epoch or a weight is not finite.
    """
    tensors = [*net.module_.parameters(), *net.criterion_.parameters()]
    is_finite = np.isfinite(net.history[-1, "train_loss"])
    if not is_finite or not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError(
            f"Training diverged in epoch {len(net.history)}: the loss or the weights "
            "are no longer finite. The learning rate is the likely cause: lower lr "
            f"(now {net.lr}) or, for a loss with proxies, proxy_lr."
        )


@torch.no_grad()
def describe_batch(criterion, embeddings, labels):
    """Describe the embeddings of a batch.

    Parameters
    ----------
    criterion : torch.nn.Module
        The loss; if it has ``active_share(embeddings, labels)``, this is told too.
    embeddings : tensor of shape (n, n_components)
    labels : tensor of shape (n,), int

    Returns
    -------
    dict of str to number
        ``mean_similarity`` (unless all are of one class), ``effective_rank``,
        ``batch_classes``, and maybe ``active_share``.
    """
    embeddings, labels = embeddings[:LARGEST_SAMPLE].float(), labels[:LARGEST_SAMPLE]
    described = {}
    # A memory holds the loss.
    loss = getattr(criterion, "loss", criterion)
    if hasattr(loss, "active_share"):
        share = loss.active_share(embeddings, labels.to(embeddings.device))
        if share is not None:
            described["active_share"] = share
    rows, labels = unit_rows(embeddings.cpu()).double().numpy(), labels.cpu().numpy()
    described["effective_rank"] = effective_rank(rows)
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) > 1:
        # Sums of inner products, from sums of rows.
        own = np.zeros((len(classes), rows.shape[1]))
        np.add.at(own, codes, rows)
        n_pairs = len(rows) ** 2 - (np.bincount(codes) ** 2).sum()
        total = np.square(own.sum(axis=0)).sum() - np.square(own).sum()
        described["mean_similarity"] = float(total / n_pairs)
    described["batch_classes"] = len(classes)
    return described


def effective_rank(rows):
    """Count the dimensions that rows make use of.

    The exponential of the entropy of the singular values, scaled to sum to one (O. Roy,
    M. Vetterli. "The Effective Rank: A Measure of Effective Dimensionality". EUSIPCO
    2007).

    Parameters
    ----------
    rows : ndarray of shape (n, d), float64

    Returns
    -------
    float
        In [1, min(n, d)], or 0 if all rows are zero or one is not finite.
    """
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    if not np.isfinite(gram).all():
        return 0.0
    singular = np.sqrt(np.linalg.eigvalsh(gram).clip(min=0))
    if not singular.any():
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def warn_of_failures(history, n_components):
    """Warn, once each, of a training that came to nothing.

    Parameters
    ----------
    history : list of dict
        A row for every epoch, with the keys of :func:`describe_batch`, and
        ``skipped_steps`` of a ``train_batch_count`` where steps can be skipped.
    n_components : int
        Width of the embedding; of width 1 nothing can be said.
    """
    halves = [row for row in history if "skipped_steps" in row]
    n_skipped = sum(row["skipped_steps"] for row in halves)
    n_steps = sum(row["train_batch_count"] for row in halves)
    if n_skipped > SKIPPED_SHARE * n_steps:
        warn(
            f"{n_skipped} of {n_steps} steps were skipped, as their gradients "
            "overflowed in half precision. Take precision='bfloat16' or 'float32', or "
            "a loss that is less steep."
        )
    if n_components == 1 or not history:
        return
    last = history[-1]
    # What is missing says nothing.
    similarity = last.get("mean_similarity", -1)
    rank = last.get("effective_rank", n_components)
    on_line = n_components > 2 and last.get("batch_classes", 0) >= LINE_CLASSES
    if similarity > COLLAPSED_SIMILARITY or rank == 0:
        likeness = f"samples of different classes have mean cosine {similarity:.4f}"
        warn(
            "The embedding has collapsed to a point: "
            f"{likeness if rank else 'all rows are zero'}. Lower lr, train for longer, "
            "or take a method or mining that does not only look at the hardest pairs."
        )
    elif rank < LINE_RANK and on_line:
        warn(
            f"The embedding has collapsed to a line: its effective rank is {rank:.2f} "
            f"of {n_components}. Lower lr or weight_decay, or take another method."
        )
    if all(row["train_loss"] == 0 for row in history):
        warn(
            "The loss was 0 in every epoch, so nothing was learned: no pair or triplet "
            "of a batch counted. Take larger batches, a larger margin, or another "
            "mining."
        )
    elif not _is_learned(history) and all(_is_dead(row) for row in history[-2:]):
        warn(
            "The gradient is dead: it is zero while the loss is not "
            f"({last['train_loss']:.4g}). Lower lr, or take a module whose "
            "activations do not saturate; inputs on another scale than the module "
            "expects do it too."
        )


def _is_learned(history):
    first, last = (abs(row["train_loss"]) for row in (history[0], history[-1]))
    return last < LEARNED_SHARE * first


def _is_dead(row):
    gradient = row.get("gradient_norm")
    loss = abs(row["train_loss"])
    # Below the normal numbers the gradient of a loss that has been learned is 0, too.
    is_nothing = loss < np.finfo(np.float32).tiny
    return gradient is not None and not is_nothing and gradient < DEAD_GRADIENT * loss
