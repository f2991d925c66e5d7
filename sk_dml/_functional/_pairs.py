"""Distances and similarities of all pairs, and sums over some of them."""

import torch


def unit_rows(vectors):
    """Scale every row to Euclidean length one; one shorter than 1e-12 stays as it is.

    Parameters
    ----------
    vectors : tensor of shape (..., d)

    Returns
    -------
    tensor of shape (..., d)
    """
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    # Dividing a zero row by a tiny number would keep the value and blow the gradient
    # up by its inverse.
    # A row whose length overflows would become zero: that is to be seen.
    lengths = lengths.masked_fill(lengths == torch.inf, torch.nan)
    return vectors / lengths.masked_fill(lengths <= 1e-12, 1)


def pair_masks(labels, gallery_labels):
    """Tell the pairs of a batch and a gallery apart; no sample is paired with itself.

    Parameters
    ----------
    labels : tensor of shape (n,)
    gallery_labels : tensor of shape (m,)
        The first n are the labels again.

    Returns
    -------
    positives, negatives : bool tensors of shape (n, m)
        Pairs of the same class, and of different classes.
    """
    same = labels[:, None] == gallery_labels
    return same & ~torch.eye(*same.shape, dtype=torch.bool, device=same.device), ~same


def euclidean_distances(rows, gallery):
    """Distances of rows to a gallery, with a gradient of zero where they coincide.

    Squares below the rounding of the products count as zero.

    Parameters
    ----------
    rows : tensor of shape (n, d)
        Of length one, or zero.
    gallery : tensor of shape (m, d)
        The first n are the rows again.

    Returns
    -------
    tensor of shape (n, m)
    """
    squares = gallery.square().sum(dim=1)
    squares = squares[: len(rows), None] + squares - 2 * similarities(rows, gallery)
    noise = 8 * torch.finfo(squares.dtype).eps
    return safe_sqrt(torch.nn.functional.threshold(squares, noise, 0.0))


def safe_sqrt(values):
    """Square root whose gradient is zero, not infinite, at and below zero.

    Parameters
    ----------
    values : tensor
        Rounding may have pushed true zeros a little below zero.

    Returns
    -------
    tensor
    """
    return _SafeSqrt.apply(values)


class _SafeSqrt(torch.autograd.Function):
    """Do what safe_sqrt says, in fewer passes over the values than masks would need."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values):
        return values.clamp(min=0).sqrt_()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, gradient):
        (roots,) = ctx.saved_tensors
        return gradient / (2 * roots).masked_fill(roots == 0, torch.inf)


def similarities(rows, gallery):
    """Inner products of rows with a gallery.

    Parameters
    ----------
    rows : tensor of shape (n, d)
    gallery : tensor of shape (m, d)
        The first n are the rows again.

    Returns
    -------
    tensor of shape (n, m)
    """
    own = _Gram.apply(rows)
    if len(rows) == len(gallery):
        return own
    # Nothing but the rows has a gradient.
    others = gallery[len(rows) :].detach()
    return torch.cat([own, rows @ others.T], dim=1)


class _Gram(torch.autograd.Function):
    """Inner products of rows with themselves; one product in the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows):
        return rows @ rows.T

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        (rows,) = ctx.saved_tensors
        return (gradient + gradient.T) @ rows


def masked_logsumexp(values, mask):
    """Logarithm of the sum of exponentials over the masked entries of each row.

    Parameters
    ----------
    values : tensor of shape (n, m)
    mask : bool tensor of shape (n, m)

    Returns
    -------
    tensor of shape (n,)
        Where a row has no entry, a hugely negative but finite number: its exponential
        is zero, and so is its gradient.
    """
    return _MaskedLogSumExp.apply(values, mask)[0]


class _MaskedLogSumExp(torch.autograd.Function):
    """Do what masked_logsumexp says, with one exponential an entry.

    Exponentials of numbers that are far below zero take ten times as long as others.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values, mask):
        left_out = ~mask
        shares = values.masked_fill(left_out, -torch.inf)
        columns = (
            shares if shares.shape[1] else shares.new_full((len(mask), 1), -torch.inf)
        )
        peaks = columns.amax(dim=1)
        filled = peaks != -torch.inf  # a NaN is to be seen
        peaks = peaks.where(filled, 0)
        # What is lost here is less than rounding.
        shares = shares.sub_(peaks[:, None]).clamp_(min=-80).exp_()
        sums = shares.masked_fill_(left_out, 0).sum(dim=1).where(filled, 1)
        empty = torch.finfo(values.dtype).min / 4
        return (peaks + sums.log()).where(filled, empty), shares.div_(sums[:, None])

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, gradient, _):
        values, mask, shares = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            lowest = torch.finfo(values.dtype).min
            shares = values.masked_fill(~mask, lowest).softmax(dim=1).where(mask, 0)
        return shares * gradient[:, None], None


def refuse_second_derivatives(name):
    """Raise in a backward pass whose result does not know how it depends on the input.

    Parameters
    ----------
    name : str
        Of the loss.

    Raises
    ------
    RuntimeError
        If the backward pass is recorded, as with ``create_graph=True``.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name} has no second derivatives (create_graph=True).")


def masked_mean(values, mask):
    """Mean over the masked entries; zero, with zero gradient, if there are none.

    Parameters
    ----------
    values : tensor
    mask : bool tensor of the same shape

    Returns
    -------
    scalar tensor
    """
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)
