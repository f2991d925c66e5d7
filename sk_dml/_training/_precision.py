"""Large batches in the memory of small ones, by gradient caching.

The loss needs the embeddings of the whole batch at once, not what the network keeps to
compute their gradients. So the batch is embedded piece by piece without gradients, the
loss says the gradient of every embedding, and each piece goes through the network
again, with gradients (L. Gao, Y. Zhang, J. Han, J. Callan. "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup". RepL4NLP 2021).
"""

import warnings
from contextlib import contextmanager, nullcontext

import torch

from sk_dml._training._optimizer import batch_norms
from sk_dml._utils._random import get_torch_state, set_torch_state

PRECISIONS = ("float32", "bfloat16", "float16")

# Torch begins with 2**16, at which the steep losses of the field overflow: each time a
# step is lost. From here the scale finds its way in either direction.
FIRST_SCALE = 2.0**10


def check_precision(precision, device):
    """Check that a device computes in a precision.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Raises
    ------
    ValueError
        If it does not.
    """
    if precision == "float32" or _is_supported(precision, device):
        return
    allowed = [p for p in PRECISIONS if p == "float32" or _is_supported(p, device)]
    raise ValueError(
        f"precision={precision!r} cannot be computed on the device {str(device)!r}. "
        f"Allowed are: {allowed}."
    )


def autocast(precision, device):
    """Make the context that computes a network in a precision.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Returns
    -------
    context manager
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def make_scaler(precision, device):
    """Make what keeps the small gradients of float16 from becoming zero.

    Parameters
    ----------
    precision : str
        One of PRECISIONS.
    device : torch.device

    Returns
    -------
    torch.amp.GradScaler or None
        None where the precision needs none.
    """
    if precision != "float16":
        return None
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


def cached_gradients(network, inputs, loss_of, embed, *, micro_batch_size, device):
    """Add the gradients of a batch, holding one piece of it at a time.

    Parameters
    ----------
    network : torch.nn.Module
    inputs : tensor of shape (n, ...)
        The batch.
    loss_of : callable
        Takes the embeddings of the batch and returns the loss, and what its backward
        pass is to begin from.
    embed : callable
        Takes a piece and returns its embeddings.
    micro_batch_size : int
        Samples of a piece, at least 2; one more where a sample would be left alone.
    device : torch.device

    Returns
    -------
    loss : scalar tensor
    embeddings : tensor of shape (n, n_components)
    """
    n_pieces = max(1, min(-(-len(inputs) // micro_batch_size), len(inputs) // 2))
    pieces = inputs.tensor_split(n_pieces)
    states, found = [], []
    with torch.no_grad(), _unmoved_statistics(network):
        for piece in pieces:
            states.append(get_torch_state(device))
            found.append(embed(piece))
    embeddings = torch.cat(found).float().requires_grad_()
    loss, start = loss_of(embeddings)
    start.backward()
    if embeddings.grad is None:
        raise ValueError("The loss does not depend on the embeddings of the batch.")
    after = get_torch_state(device)
    for piece, state, rows in zip(
        pieces, states, embeddings.grad.tensor_split(n_pieces), strict=True
    ):
        set_torch_state(state, device)  # the same units are dropped again
        embed(piece).float().backward(rows)
    set_torch_state(after, device)
    return loss, embeddings.detach()


@contextmanager
def _unmoved_statistics(network):
    """Let batch norms see a batch without counting it: it comes a second time."""
    counting = [m for m in batch_norms(network) if m.track_running_stats and m.training]
    try:
        for norm in counting:
            norm.track_running_stats = False
        yield
    finally:
        for norm in counting:
            norm.track_running_stats = True
