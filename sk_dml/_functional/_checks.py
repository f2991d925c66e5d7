"""What the losses ask of a batch."""

import functools

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
