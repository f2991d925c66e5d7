"""Comparisons with proxies."""

import math

import torch

from sk_dml._functional._pairs import safe_sqrt, unit_rows


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
