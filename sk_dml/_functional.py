"""Tensor mathematics of the losses: pure functions of torch tensors.

Values and gradients stay finite on degenerate batches: duplicate rows, zero rows, a
single class, all classes different, a single sample. Three rules see to that.

- A sum of exponentials is always a logsumexp: ``log(p + tiny)`` would kill the gradient
  of the hardest pairs at small temperatures. An empty set gives a hugely negative
  finite number, whose exponential and gradient are zero.
- A square root has a gradient of zero at zero, where that of ``sqrt`` is infinite. The
  angle between two rows is never computed: the gradient of ``acos`` is infinite at +-1.
- ``where`` comes before a division or a root, never after: a gradient of NaN times a
  mask of zero is NaN.

The custom autograd functions are there for speed: with them a step of a loss makes
fewer passes over the (n, m) matrices than with the operations they are made of.
"""

import functools
import math

import torch


def full_precision(forward):
    """Decorate ``forward`` of a loss to run without autocast, in full precision."""

    @functools.wraps(forward)
    def forward_in_full(self, embeddings, *args, **kwargs):
        is_tensor = isinstance(embeddings, torch.Tensor)
        device = embeddings.device.type if is_tensor else "cpu"
        with torch.autocast(device, enabled=False):
            return forward(self, embeddings, *args, **kwargs)

    return forward_in_full


def check_embeddings(embeddings, *, n_features=None, name="embeddings"):
    """Check embeddings of shape (n, d); return them in float32 or float64."""
    _check_tensor(embeddings, name)
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise ValueError(
            f"{name} must be a floating point tensor of shape (n, d), got "
            f"{embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
    if n_features is not None and embeddings.shape[1] != n_features:
        raise ValueError(
            f"{name} must have {n_features} columns, got shape "
            f"{tuple(embeddings.shape)}."
        )
    # Sums of exponentials need the range of float32.
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def check_batch(
    embeddings,
    labels,
    *,
    n_features=None,
    n_classes=None,
    names=("embeddings", "labels"),
):
    """Check embeddings (n, d) and labels (n,); return them as floats and int64."""
    embeddings = check_embeddings(embeddings, n_features=n_features, name=names[0])
    _check_tensor(labels, names[1])
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"{names[1]} must have shape ({len(embeddings)},), one for each row of the "
            f"{names[0]}, got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{names[1]} must be integers, got {labels.dtype}.")
    if n_classes is not None and labels.numel():
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(
                f"{names[1]} must lie in 0 .. {n_classes - 1} (n_classes={n_classes}), "
                f"got labels from {low} to {high}."
            )
    return embeddings, labels.long()


def check_proxy_batch(proxies, embeddings, labels):
    """Check a batch (n, d), (n,) against proxies of shape (n_classes, ..., d)."""
    return check_batch(
        embeddings, labels, n_features=proxies.shape[-1], n_classes=len(proxies)
    )


def check_masks(positives, negatives, n_samples):
    """Check that the masks (n, n) are boolean and disjoint, with empty diagonals."""
    for name, mask in (("positives", positives), ("negatives", negatives)):
        _check_tensor(mask, name)
        if mask.dtype != torch.bool or mask.shape != (n_samples, n_samples):
            raise ValueError(
                f"{name} must be a bool tensor of shape ({n_samples}, {n_samples}), "
                f"got {mask.dtype} of shape {tuple(mask.shape)}."
            )
        if mask.diagonal().any():
            raise ValueError(
                f"The diagonal of {name} must be False, as no sample is compared with "
                f"itself: use {name}.fill_diagonal_(False)."
            )
    n_both = int((positives & negatives).sum())
    if n_both:
        raise ValueError(
            "positives and negatives must not share a pair, got "
            f"{n_both} pairs in both."
        )


def _check_tensor(value, name):
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(value)}.")


def unit_rows(vectors):
    """Scale rows (..., d) to length one; rows shorter than 1e-12 stay as they are."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    # A row whose length overflows would become zero, which hides it: make it NaN.
    lengths = lengths.masked_fill(lengths == torch.inf, torch.nan)
    # Dividing a zero row by a tiny number instead would keep the value, but multiply
    # the gradient by the inverse of that number.
    return vectors / lengths.masked_fill(lengths <= 1e-12, 1)


def pair_masks(labels, gallery_labels):
    """Return masks (n, m) of the pairs of the same class and of different classes.

    The first n of the m gallery labels are the labels again: entry (i, i) of both masks
    is False. Copies of a row elsewhere in the gallery are pairs like any other.
    """
    same = labels[:, None] == gallery_labels
    return same & ~torch.eye(*same.shape, dtype=torch.bool, device=same.device), ~same


def euclidean_distances(rows, gallery):
    """Compute distances (n, m); the gradient is zero where rows coincide.

    Rows (n, d) have length one or zero, and are the first n of the gallery (m, d).
    """
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b takes one matrix product, but for near rows it
    # is a difference of near numbers. Squares below the rounding of the product count
    # as zero: the root would turn a noise of 1e-7 into a distance of 3e-4. The rounding
    # grows with the root of the number of columns: 5 eps at 64, 9 eps at 300 columns.
    squares = gallery.square().sum(dim=1)
    squares = squares[: len(rows), None] + squares - 2 * similarities(rows, gallery)
    noise = max(8, 0.6 * math.sqrt(rows.shape[1])) * torch.finfo(squares.dtype).eps
    return safe_sqrt(torch.nn.functional.threshold(squares, noise, 0.0))


def safe_sqrt(values):
    """Compute square roots with a gradient of zero at and below zero."""
    return _SafeSqrt.apply(values)


class _SafeSqrt(torch.autograd.Function):
    """Square root of ``max(values, 0)``, in fewer passes than masks would need."""

    @staticmethod
    def forward(ctx, values):
        roots = values.clamp(min=0).sqrt_()
        ctx.save_for_backward(roots)
        return roots

    @staticmethod
    def backward(ctx, gradient):
        (roots,) = ctx.saved_tensors
        # Dividing by infinity is the gradient of zero.
        return gradient / (2 * roots).masked_fill(roots == 0, torch.inf)


def similarities(rows, gallery):
    """Compute inner products (n, m) of rows with a gallery that begins with them."""
    own = _Gram.apply(rows)
    if len(rows) == len(gallery):
        return own
    # The references after the rows have no gradient.
    others = gallery[len(rows) :].detach()
    return torch.cat([own, rows @ others.T], dim=1)


class _Gram(torch.autograd.Function):
    """Inner products of rows with themselves; one product in the backward pass."""

    @staticmethod
    def forward(ctx, rows):
        ctx.save_for_backward(rows)
        return rows @ rows.T

    @staticmethod
    def backward(ctx, gradient):
        (rows,) = ctx.saved_tensors
        # Autograd would compute gradient @ rows and gradient.T @ rows apart.
        return (gradient + gradient.T) @ rows


def masked_logsumexp(values, mask):
    """Compute logsumexp over the masked entries of each row: (n, m) to (n,).

    A row without entries gives a hugely negative finite number: its exponential and its
    gradient are zero.
    """
    return _MaskedLogSumExp.apply(values, mask)


class _MaskedLogSumExp(torch.autograd.Function):
    """logsumexp that keeps its exponentials for the backward pass: one per entry.

    The gradient of logsumexp is the softmax: the exponentials divided by their sum.
    Exponentials that underflow take ten times as long as others, so values more than 80
    below the peak of their row are raised to that: e^-80 is far below rounding.
    """

    @staticmethod
    def forward(ctx, values, mask):
        masked_out = ~mask
        shares = values.masked_fill(masked_out, -torch.inf)
        # amax needs a column; an empty batch has none.
        columns = (
            shares if shares.shape[1] else shares.new_full((len(mask), 1), -torch.inf)
        )
        peaks = columns.amax(dim=1)
        has_entries = peaks != -torch.inf  # True for NaN, so that NaN propagates
        peaks = peaks.where(has_entries, 0)
        shares = shares.sub_(peaks[:, None]).clamp_(min=-80).exp_()
        sums = shares.masked_fill_(masked_out, 0).sum(dim=1).where(has_entries, 1)
        ctx.save_for_backward(values, mask, shares.div_(sums[:, None]))
        # A quarter of the lowest number: sums of two or three of them stay finite.
        empty = torch.finfo(values.dtype).min / 4
        return (peaks + sums.log()).where(has_entries, empty)

    @staticmethod
    def backward(ctx, gradient):
        values, mask, shares = ctx.saved_tensors
        if torch.is_grad_enabled():
            # For second derivatives the shares must depend on the values.
            lowest = torch.finfo(values.dtype).min
            shares = values.masked_fill(~mask, lowest).softmax(dim=1).where(mask, 0)
        return shares * gradient[:, None], None


def refuse_second_derivatives(name):
    """Raise in a backward pass that is recorded for second derivatives.

    torch's ``once_differentiable`` is not enough: where the incoming gradient is
    constant, it lets the part of this function be left out without an error.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name} has no second derivatives (create_graph=True).")


def masked_mean(values, mask):
    """Compute the mean over the masked entries; zero if there are none."""
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)


def random_directions(*shape):
    """Draw initial proxies of this shape: directions uniform on the sphere."""
    return unit_rows(torch.randn(*shape))


def proxy_cosines(proxies, embeddings):
    """Compute cosines (n, ...) of embeddings (n, d) to proxies (..., d)."""
    directions = unit_rows(proxies.to(embeddings.dtype)).flatten(0, -2)
    cosines = unit_rows(embeddings) @ directions.T
    return cosines.unflatten(1, proxies.shape[:-1])


def widen_own_angle(cosines, labels, margin):
    """Add a margin in radians to the angle of each row's own class: (n, n_classes).

    Where the sum would pass pi and its cosine rise again, the cosine is lowered by
    ``margin * sin(margin)`` instead, as in the code of ArcFace's authors.
    """
    own = cosines.gather(1, labels[:, None])
    # cos(a + m) = cos a cos m - sin a sin m needs no arc cosine, whose gradient is
    # infinite at +-1.
    sine = safe_sqrt(1 - own.square())
    widened = own * math.cos(margin) - sine * math.sin(margin)
    lowered = own - margin * math.sin(margin)
    widened = widened.where(own > -math.cos(margin), lowered)
    return cosines.scatter(1, labels[:, None], widened)


def cross_entropy(logits, labels):
    """Compute the mean cross-entropy of logits (n, n_classes); zero if n is 0."""
    total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return total / max(len(labels), 1)
