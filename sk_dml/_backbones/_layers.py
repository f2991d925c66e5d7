"""Layers that the backbones share."""

import torch
from torch import nn

from sk_dml._backbones._dropout import Dropout

# Of the covariance within classes towards equal variances.
SHRINKAGE = 0.5


class Standardize(nn.Module):
    """Subtract the training mean and divide by the training scale.

    Parameters
    ----------
    mean, scale : tensors, broadcastable to a sample
        In float64 a large offset of the data costs no digits.
    limit : float or None, default=None
        Soft bound on the result: values far beyond it, from heavy tails or features
        that hardly varied in training, come near it and change no more.
    """

    def __init__(self, mean, scale, limit=None):
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, inputs):
        """Standardise a batch of rows or images to float32."""
        outputs = (inputs - self.mean) / self.scale
        if self.limit is None:
            return outputs.float()
        outputs = outputs.clamp(-1e15, 1e15).float()  # whose squares are finite
        return outputs * (1 + (outputs / self.limit).square()).rsqrt()


class CenterCrop(nn.Module):
    """The middle of every image, or the image if it has that size.

    Parameters
    ----------
    size : int
        Height and width, at most those of the images.
    """

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, images):
        """Crop a batch of shape (n, C, H, W)."""
        top, left = ((side - self.size) // 2 for side in images.shape[2:])
        return images[..., top : top + self.size, left : left + self.size]


class Conv2d(nn.Conv2d):
    """A convolution whose maps have their channels last in memory.

    On CPUs the layers after it take two thirds of the time then. The weights stay as
    they are, and with them gradients, optimizers and checkpoints.
    """

    def forward(self, inputs):
        """Convolve a batch of images or feature maps."""
        # A copy, as with one channel torch could not tell the layouts apart.
        weight = torch.empty_like(self.weight, memory_format=torch.channels_last)
        return self._conv_forward(inputs, weight.copy_(self.weight), self.bias)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut.

    Parameters
    ----------
    width_in, width : int
        Channels before and after.
    """

    def __init__(self, width_in, width):
        super().__init__()
        self.convolutions = nn.Sequential(
            Conv2d(width_in, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential()
        if width_in != width:
            self.shortcut = nn.Sequential(
                Conv2d(width_in, width, 1, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, maps):
        """Transform a batch of feature maps."""
        return (self.convolutions(maps) + self.shortcut(maps)).relu_()


class MeanMaxPool(nn.Module):
    """Mean and maximum of every channel, side by side: (n, C, H, W) to (n, 2 C)."""

    def forward(self, maps):
        """Pool a batch of feature maps."""
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class FeatureHead(nn.Linear):
    """A linear map of features that another network learned, kept close to them.

    Such features compare well by their cosines: they are brought to length one. At
    first the map turns them and leaves out what varies least, and each step of the
    training changes it little.

    Parameters
    ----------
    n_features, n_components : int
    n_parts : int, default=1
        Parts of the features that are brought to length one apart.
    dropout : float, default=0.2
        Share of features that a training step leaves out.
    gain : float, default=30.0
        Size of the weights at first. The embedding, which is normalised, does not
        depend on it; but the larger they are, the less a step turns them.
    start : {"discriminant", "principal"}, default="discriminant"
        What it begins with: axes along which classes differ, or samples.
    """

    center: torch.Tensor

    def __init__(
        self,
        n_features,
        n_components,
        n_parts=1,
        *,
        dropout=0.2,
        gain=30.0,
        start="discriminant",
    ):
        super().__init__(n_features, n_components, bias=False)
        if start not in ("discriminant", "principal"):
            raise ValueError(
                f"module__start must be 'discriminant' or 'principal', got {start!r}."
            )
        self.n_parts, self.gain, self.start = n_parts, gain, start
        self.dropout = Dropout(dropout)
        self.register_buffer("center", torch.zeros(n_features))
        nn.init.orthogonal_(self.weight, gain)

    def forward(self, features):
        """Embed a batch of shape (n, n_features)."""
        rows = self._unit_parts(features) - self.center
        return super().forward(self.dropout(rows))

    @torch.no_grad()
    def start_from(self, features, labels):
        """Begin with the axes along which classes, or what else may be told, differ.

        Those are the principal axes of the features after those have been scaled by how
        much samples of one class vary, an estimate drawn halfway to equal variances:
        linear discriminant analysis, but with axes beyond those of the classes seen.
        With ``start="principal"`` they are the principal axes as they are.

        Parameters
        ----------
        features : tensor of shape (n, n_features)
            With n of them there are n - 1 axes, and random ones in place of others.
        labels : tensor of shape (n,), int
            Their classes.
        """
        rows = self._unit_parts(features.float())
        if len(rows) < 2:
            return
        self.center.copy_(rows.mean(0))
        rows, axes = _principal(rows - self.center)
        places = labels.unique(return_inverse=True)[1]
        means = rows.new_zeros(len(rows), rows.shape[1]).index_add_(0, places, rows)
        counts = places.bincount(minlength=len(rows)).clamp(min=1)
        within = rows - (means / counts[:, None])[places]
        covariance = within.T @ within / len(rows)
        shared = covariance.diagonal().mean()
        is_zero = shared <= torch.finfo(rows.dtype).eps * rows.square().mean()
        if self.start == "principal" or is_zero:
            covariance, shared = torch.eye(len(covariance)), 1.0
        covariance.mul_(1 - SHRINKAGE).diagonal().add_(SHRINKAGE * shared)
        factor = torch.linalg.cholesky(covariance)
        scaled = torch.linalg.solve_triangular(factor, rows.T, upper=False).T
        turned = torch.linalg.solve_triangular(
            factor.T, _principal(scaled)[1].T, upper=True
        ).T
        weight = (turned @ axes)[: len(self.weight)]
        size = self.gain * len(weight) ** 0.5 / torch.linalg.matrix_norm(weight)
        self.weight[: len(weight)] = size * weight

    def _unit_parts(self, features):
        parts = features.unflatten(1, (self.n_parts, -1))
        # Of entries of size one, as standardised inputs have.
        return nn.functional.normalize(parts, dim=2).flatten(1) * parts.shape[2] ** 0.5


def _principal(rows):
    """Turn centred rows to their principal axes, and tell the axes."""
    left, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
    n_axes = min(len(rows) - 1, len(axes))
    return left[:, :n_axes] * sizes[:n_axes], axes[:n_axes]
