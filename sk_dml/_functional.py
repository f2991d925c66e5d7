"""The mathematics that the losses share: pure functions of torch tensors.

Everything here keeps values and gradients finite on degenerate batches: duplicate
rows, zero rows, a single class, all classes different, a single sample.
"""

import functools

import torch


def full_precision(forward):
    """Keep autocast out of a loss: its sums of exponentials need the range and digits.

    Parameters
    ----------
    forward : callable
        The method ``forward(self, embeddings, labels)`` of a loss.

    Returns
    -------
    callable
    """

    @functools.wraps(forward)
    def forward_in_full(self, embeddings, labels):
        is_tensor = isinstance(embeddings, torch.Tensor)
        device = embeddings.device.type if is_tensor else "cpu"
        with torch.autocast(device, enabled=False):
            return forward(self, embeddings, labels)

    return forward_in_full


def check_batch(embeddings, labels, *, n_features=None, n_classes=None):
    """Check what a loss is called with; return it in full precision.

    Parameters
    ----------
    embeddings : tensor of shape (n, d), floating point
        Half precision is cast to float32: sums of exponentials need the range.
    labels : tensor of shape (n,), int64
        The classes.
    n_features, n_classes : int or None
        What the proxies of a loss prescribe for d and for the range of the labels.

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
    for name, given in (("embeddings", embeddings), ("labels", labels)):
        if not isinstance(given, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor, got {type(given)}.")
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise ValueError(
            "embeddings must be a floating point tensor of shape (n, d), got "
            f"{embeddings.dtype} of shape {tuple(embeddings.shape)}."
        )
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels must have shape ({len(embeddings)},), one for each row of the "
            f"embeddings, got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be integers, got {labels.dtype}.")
    if n_features is not None and embeddings.shape[1] != n_features:
        raise ValueError(
            f"embeddings must have {n_features} columns like the proxies, got shape "
            f"{tuple(embeddings.shape)}."
        )
    if n_classes is not None and labels.numel():
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(
                f"labels must lie in 0 .. {n_classes - 1} (n_classes={n_classes}), got "
                f"labels from {low} to {high}."
            )
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return embeddings.to(dtype), labels.long()


def unit_rows(vectors):
    """Scale every row to Euclidean length one; a zero row stays zero.

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
    return vectors / lengths.where(lengths > 1e-12, 1)


def pair_masks(labels):
    """Tell the pairs of a batch apart; no sample is paired with itself.

    Parameters
    ----------
    labels : tensor of shape (n,)

    Returns
    -------
    positives, negatives : bool tensors of shape (n, n)
        Pairs of the same class, and of different classes.
    """
    same = labels[:, None] == labels
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same


def euclidean_distances(rows):
    """Distances between all rows, with a gradient of zero where they coincide.

    Parameters
    ----------
    rows : tensor of shape (n, d)

    Returns
    -------
    tensor of shape (n, n)
    """
    gram = rows @ rows.T
    squares = gram.diagonal()
    return safe_sqrt(squares[:, None] + squares - 2 * gram)


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
    positive = values > 0
    return torch.where(positive, values.where(positive, 1).sqrt(), 0)


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
    empty = torch.finfo(values.dtype).min / 4
    return values.masked_fill(~mask, empty).logsumexp(dim=1)


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


def proxy_cosines(proxies, embeddings, labels):
    """Compare a batch with all proxies.

    Parameters
    ----------
    proxies : tensor of shape (n_classes, n_features) or \
            (n_classes, n_centers, n_features)
        Of any length; normalised here, as are the embeddings.
    embeddings : tensor of shape (n, n_features), floating point
    labels : tensor of shape (n,), integer
        In 0 .. n_classes - 1.

    Returns
    -------
    cosines : tensor of shape (n, n_classes) or (n, n_classes, n_centers)
    labels : tensor of shape (n,), int64

    Raises
    ------
    ValueError
        If the batch does not fit the proxies.
    """
    embeddings, labels = check_batch(
        embeddings, labels, n_features=proxies.shape[-1], n_classes=len(proxies)
    )
    directions = unit_rows(proxies.to(embeddings.dtype)).flatten(0, -2)
    cosines = unit_rows(embeddings) @ directions.T
    return cosines.unflatten(1, proxies.shape[:-1]), labels


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
