"""Diagnostics of a training: what its last batches say, and warnings of failures."""

import numpy as np
import torch

from sk_dml._functional import unit_rows
from sk_dml._training._callbacks import OwnCallback
from sk_dml._utils._warn import warn

# Rows of a batch that are looked at: more change little.
LARGEST_SAMPLE = 512
# Above this mean similarity of samples of different classes, all are one point.
COLLAPSED_SIMILARITY = 0.99
# An effective rank below this is a line, on which two classes can be apart, not four.
LINE_RANK, LINE_CLASSES = 1.05, 4
# A gradient is dead if it is below this share of a loss that is not zero.
DEAD_GRADIENT = 1e-9
# A loss that fell below this share of the first has been learned: no gradient is left.
LEARNED_SHARE = 1e-3
# Some steps in half precision may overflow, above all the first ones, until the scale
# fits.
SKIPPED_SHARE = 0.5


def total_norm(network):
    """Return the Euclidean norm of all gradients together, a scalar tensor, or None."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else None


class Diagnostics(OwnCallback):
    """Look at the last batch of every epoch: no step of the training costs more."""

    def on_epoch_end(self, net, **kwargs):
        """Record what the last batch says; end a training that has diverged."""
        tensors = [*net.module_.parameters(), *net.criterion_.parameters()]
        is_finite = np.isfinite(net.history[-1, "train_loss"])
        if not is_finite or not all(tensor.isfinite().all() for tensor in tensors):
            raise ValueError(
                f"Training diverged in epoch {len(net.history)}: the loss or the "
                "weights are no longer finite. The learning rate is the likely cause: "
                f"lower lr (now {net.lr}) or, for a loss with proxies, proxy_lr."
            )
        for name, value in describe_batch(net.criterion_, *net.last_batch_).items():
            net.history.record(name, value)
        net.history.record("batch_loss", net.history[-1, "batches", -1, "train_loss"])
        norm = net.gradient_norm_
        if norm is None:
            norm = total_norm(net.module_)
        if norm is not None:
            net.history.record("gradient_norm", norm.item())
        if net.scaler_ is not None:
            net.history.record("skipped_steps", net.n_skipped_)
            net.n_skipped_ = 0


@torch.no_grad()
def describe_batch(criterion, embeddings, labels):
    """Return numbers by name that describe embeddings (n, n_components), labels (n,).

    ``mean_similarity`` needs two classes, and ``active_share`` a loss that leaves pairs
    or triplets out.
    """
    embeddings, labels = embeddings[:LARGEST_SAMPLE].float(), labels[:LARGEST_SAMPLE]
    described = {}
    # A memory holds the loss.
    loss = getattr(criterion, "loss", criterion)
    if getattr(loss, "_count_active", None) is not None:
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
    """Return the effective rank of rows (n, d): in [1, min(n, d)], 0 if undefined.

    The exponential of the entropy of the singular values, scaled to sum to one (O. Roy,
    M. Vetterli. "The Effective Rank: A Measure of Effective Dimensionality". EUSIPCO
    2007).
    """
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    if not np.isfinite(gram).all():
        return 0.0
    singular = np.sqrt(np.linalg.eigvalsh(gram).clip(min=0))
    if not singular.any():
        return 0.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def warn_of_failures(history, n_components, of_loss=()):
    """Warn of each way in which training failed, by the rows of its epochs.

    ``of_loss`` are texts of the loss's parameters, such as "margin=0.4".
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
    # What is missing cannot alarm.
    similarity = last.get("mean_similarity", -1)
    rank = last.get("effective_rank", n_components)
    on_line = n_components > 2 and last.get("batch_classes", 0) >= LINE_CLASSES
    is_point = similarity > COLLAPSED_SIMILARITY
    if is_point or rank == 0:
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
            "of a batch had a loss. Take larger batches, a larger margin, or another "
            "mining."
        )
    elif is_point:  # where distances, and their gradients, are 0 or rounding errors
        return
    elif all(_is_dead(row) for row in history[-2:]) and not _is_learned(history):
        warn(
            "The gradient is dead: it is zero while the loss is not "
            f"({last['batch_loss']:.4g}). Lower lr, scale the inputs as the module "
            "expects, or take a module whose activations do not saturate"
            f"{'; or change ' + ', '.join(of_loss) if of_loss else ''}."
        )


def _is_learned(history):
    first, last = (abs(row["train_loss"]) for row in (history[0], history[-1]))
    return last < LEARNED_SHARE * first


def _is_dead(row):
    gradient, loss = row.get("gradient_norm"), abs(row["batch_loss"])
    # The gradient of a loss that is learned down to subnormal numbers is 0, too.
    is_zero = loss < np.finfo(np.float32).tiny
    return gradient is not None and not is_zero and gradient < DEAD_GRADIENT * loss
