"""The mathematics that the losses share: pure functions of torch tensors.

Everything here keeps values and gradients finite on degenerate batches: duplicate
rows, zero rows, a single class, all classes different, a single sample.
"""

import functools
import math

import torch


def full_precision(forward):
    """Keep autocast out of a loss: its sums of exponentials need the range and digits.

    Parameters
    ----------
    forward : callable
        The method ``forward(self, embeddings, labels, ...)`` of a loss.

    Returns
    -------
    callable
    """

    @functools.wraps(forward)
    def forward_in_full(self, embeddings, labels, *args, **kwargs):
        is_tensor = isinstance(embeddings, torch.Tensor)
        device = embeddings.device.type if is_tensor else "cpu"
        with torch.autocast(device, enabled=False):
            return forward(self, embeddings, labels, *args, **kwargs)

    return forward_in_full


def check_batch(
    embeddings,
    labels,
    *,
    n_features=None,
    n_classes=None,
    names=("embeddings", "labels"),
):
    """Check what a loss is called with; return it in full precision.

    Parameters
    ----------
    embeddings : tensor of shape (n, d), floating point
        Half precision is cast to float32: sums of exponentials need the range.
    labels : tensor of shape (n,), int64
        The classes.
    n_features, n_classes : int or None
        What d and the range of the labels must fit, such as the proxies of a loss.
    names : tuple of two str
        What errors call the two.

    Returns
    -------
    embeddings : tensor of shape (n, d), float32 or float64
    labels : tensor of shape (n,), int64

    Raises
    ------
    TypeError
        If one of them is not a tensor.
    ValueError
        If a shape, a dtype or a label does not fit.
    """
    for name, given in zip(names, (embeddings, labels), strict=True):
        if not isinstance(given, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(given)}.")
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise ValueError(
            f"{names[0]} must be a floating point tensor of shape (n, d), got "
            f"{embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"{names[1]} must have shape ({len(embeddings)},), one for each row of the "
            f"{names[0]}, got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{names[1]} must be integers, got {labels.dtype}.")
    if n_features is not None and embeddings.shape[1] != n_features:
        raise ValueError(
            f"{names[0]} must have {n_features} columns like what they are compared "
            f"with, got shape {tuple(embeddings.shape)}."
        )
    if n_classes is not None and labels.numel():
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(
                f"{names[1]} must lie in 0 .. {n_classes - 1} (n_classes={n_classes}), "
                f"got labels from {low} to {high}."
            )
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return embeddings.to(dtype), labels.long()


def check_proxy_batch(proxies, embeddings, labels):
    """Check a batch that is compared with proxies.

    Parameters
    ----------
    proxies : tensor of shape (n_classes, ..., n_features)
    embeddings : tensor of shape (n, n_features), floating point
    labels : tensor of shape (n,), integer
        In 0 .. n_classes - 1.

    Returns
    -------
    embeddings : tensor of shape (n, n_features), float32 or float64
    labels : tensor of shape (n,), int64
    """
    return check_batch(
        embeddings, labels, n_features=proxies.shape[-1], n_classes=len(proxies)
    )


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


def random_directions(*shape):
    """Draw the first proxies: directions uniform on the sphere, of length one.

    Parameters
    ----------
    *shape : int
        The last is the width of the vectors.

    Returns
    -------
    tensor of shape ``shape``
    """
    return unit_rows(torch.randn(*shape))


def proxy_cosines(proxies, embeddings):
    """Cosine similarities of a batch to all proxies.

    Parameters
    ----------
    proxies : tensor of shape (..., n_features)
        Of any length; normalised here, as are the embeddings.
    embeddings : tensor of shape (n, n_features), float32 or float64

    Returns
    -------
    tensor of shape (n, ...)
    """
    directions = unit_rows(proxies.to(embeddings.dtype)).flatten(0, -2)
    cosines = unit_rows(embeddings) @ directions.T
    return cosines.unflatten(1, proxies.shape[:-1])


def widen_own_angle(cosines, labels, margin):
    """Cosines to all proxies, the angle to the own one widened by a margin.

    Where the widened angle would pass pi and its cosine rise again, the cosine is
    lowered by ``margin * sin(margin)`` instead, as in the code of ArcFace's authors.

    Parameters
    ----------
    cosines : tensor of shape (n, n_classes)
    labels : tensor of shape (n,), int64
    margin : float
        In radians.

    Returns
    -------
    tensor of shape (n, n_classes)
    """
    own = cosines.gather(1, labels[:, None])
    # By the sum of angles: the gradient of the arc cosine is infinite at the ends.
    sine = safe_sqrt(1 - own.square())
    widened = own * math.cos(margin) - sine * math.sin(margin)
    lowered = own - margin * math.sin(margin)
    widened = widened.where(own > -math.cos(margin), lowered)
    return cosines.scatter(1, labels[:, None], widened)


def cross_entropy(logits, labels):
    """Softmax cross-entropy, averaged over the batch; zero for an empty one.

    Parameters
    ----------
    logits : tensor of shape (n, n_classes)
    labels : tensor of shape (n,), int64

    Returns
    -------
    scalar tensor
    """
    total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return total / max(len(labels), 1)
