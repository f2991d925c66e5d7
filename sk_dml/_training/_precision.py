"""Precision and memory of a training step: autocast and gradient caching."""

import warnings
from contextlib import contextmanager

import torch

from sk_dml._training._optimizer import batch_norms
from sk_dml._utils._torch import get_torch_state, set_torch_state

PRECISIONS = ("float32", "bfloat16", "float16")

# Torch begins with 2**16, at which the steep losses of the field overflow: each time a
# step is lost. From here the scale finds its way in either direction.
FIRST_SCALE = 2.0**10


def check_precision(precision, device):
    """Check that a device computes in a precision."""
    if not _is_supported(precision, device):
        allowed = [p for p in PRECISIONS if p == "float32" or _is_supported(p, device)]
        raise ValueError(
            f"precision={precision!r} cannot be computed on the device "
            f"{str(device)!r}. Allowed are: {allowed}."
        )


def autocast(precision, device):
    """Return the context manager in which a network computes in half precision."""
    return torch.autocast(device.type, getattr(torch, precision))


def make_scaler(device):
    """Return a scaler that keeps float16's small gradients above 0."""
    return torch.amp.GradScaler(device.type, init_scale=FIRST_SCALE)


def _is_supported(precision, device):
    if device.type == "cuda" and precision == "bfloat16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns, and stays at float32
            row = torch.ones((1, 1), device=device)
            with autocast(precision, device):
                return (row @ row).dtype == getattr(torch, precision)
    except (RuntimeError, TypeError):
        return False


# How gradient caching works. The loss compares all embeddings of a batch, but what
# fills the memory is what the network keeps of each sample to compute gradients. So the
# network sees the batch twice, in pieces:
#
# 1. Each piece is embedded without gradients: of it, only the embeddings are kept.
# 2. The loss of all embeddings is computed, and its gradient with respect to each of
#    them: a matrix as small as the embeddings. The network has no part in this.
# 3. Each piece is embedded again, now with gradients, and its rows of that matrix are
#    propagated back into the weights. By the chain rule, the sums over the pieces are
#    the gradients of the whole batch.
#
# Both passes over a piece have to agree. So the states of the random generators before
# its first pass are restored for the second, which drops the same units, and batch
# norms update their running statistics in the second pass only. What differs from one
# large batch is that batch norms normalize over a piece.
#
# L. Gao, Y. Zhang, J. Han, J. Callan. "Scaling Deep Contrastive Learning Batch Size
# under Memory Limited Setup". RepL4NLP 2021.


def cached_gradients(
    network, inputs, loss_of, embed, *, micro_batch_size, device, scaler=None
):
    """Add the gradients of a batch, of shape (n, ...), to the network's, in pieces.

    ``embed`` takes a piece, and ``loss_of`` the embeddings, of shape (n, n_components).
    A piece has at least 2 samples, so one more than ``micro_batch_size`` where one
    would be left. Return the loss and the embeddings.
    """
    n_pieces = max(1, min(-(-len(inputs) // micro_batch_size), len(inputs) // 2))
    pieces = inputs.tensor_split(n_pieces)
    states, rows = [], []
    with torch.no_grad(), _fixed_statistics(network):
        for piece in pieces:
            states.append(get_torch_state(device))
            rows.append(embed(piece))
    embeddings = torch.cat(rows).float().requires_grad_()
    loss = loss_of(embeddings)
    (loss if scaler is None else scaler.scale(loss)).backward()
    if embeddings.grad is None:
        raise ValueError("The loss does not depend on the embeddings of the batch.")
    after = get_torch_state(device)
    gradients = embeddings.grad.tensor_split(n_pieces)
    for piece, state, gradient in zip(pieces, states, gradients, strict=True):
        set_torch_state(state, device)
        embed(piece).float().backward(gradient)
    set_torch_state(after, device)
    return loss, embeddings.detach()


@contextmanager
def _fixed_statistics(network):
    """Leave the running statistics of batch norms as they are, in a block."""
    tracking = [m for m in batch_norms(network) if m.track_running_stats and m.training]
    try:
        for norm in tracking:
            norm.track_running_stats = False
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
