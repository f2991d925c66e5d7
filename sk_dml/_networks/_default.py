"""The networks that ``module`` can name."""

from itertools import pairwise
from math import log2, prod
from numbers import Integral

import torch
from torch import nn

LEVELS = 2**16
LOWEST = -(2**15)  # of the 16-bit integers


class Dropout(nn.Dropout):
    """Dropout in a third of torch's time on CPUs, where it draws number by number.

    Four units share a random integer of 64 bits. The share of units that is left out is
    ``p`` to the nearest of 65,536 levels; what is left is scaled by just that share.
    """

    def forward(self, inputs):
        """Leave out some of the inputs, in training mode."""
        dropped = round(self.p * LEVELS)
        if not self.training or not 0 < dropped < LEVELS or inputs.device.type != "cpu":
            return super().forward(inputs)
        draw = _factors_op if torch.compiler.is_compiling() else _factors
        return inputs * draw(inputs.detach(), dropped)


def _factors(inputs: torch.Tensor, dropped: int) -> torch.Tensor:
    """Draw what each input is multiplied by."""
    numbers = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64)
    levels = numbers.random_(-(2**63), None).view(torch.int16)
    kept = levels[: inputs.numel()].view(inputs.shape) >= LOWEST + dropped
    return kept.to(inputs.dtype).mul_(LEVELS / (LEVELS - dropped))


# A compiled network calls this as it is: torch would make slower code of it.
_factors_op = torch.library.custom_op(
    "sk_dml::dropout_factors",
    _factors,
    mutates_args=(),
    tags=[torch.Tag.nondeterministic_seeded],
)
_factors_op.register_fake(lambda inputs, dropped: torch.empty_like(inputs))


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


# Side of the maps, about, when a ConvNet begins to widen.
SIDE_AT_LAST = 16


class Linear(nn.Sequential):
    """A linear map of the standardised inputs.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample.
    n_components : int
        Width of the embedding.
    """

    def __init__(self, input_shape, n_components):
        super().__init__(nn.Flatten(), nn.Linear(prod(input_shape), n_components))


class MLP(nn.Sequential):
    """Fully connected layers: the default for rows.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample.
    n_components : int
        Width of the embedding.
    hidden : tuple of int or int, default=(512, 512)
        Widths of the hidden layers.
    dropout : float, default=0.2
        Share of hidden units that a training step leaves out.
    input_dropout : float, default=0.1
        Share of inputs that a training step replaces by their mean.
    """

    def __init__(
        self,
        input_shape,
        n_components,
        hidden=(512, 512),
        dropout=0.2,
        input_dropout=0.1,
    ):
        hidden = (hidden,) if isinstance(hidden, Integral) else tuple(hidden)
        widths = (prod(input_shape), *hidden)
        layers: list[nn.Module] = [nn.Flatten(), Dropout(input_dropout)]
        for width_in, width_out in zip(widths, hidden, strict=False):
            layers += [
                nn.Linear(width_in, width_out),
                nn.BatchNorm1d(width_out),
                nn.ReLU(),
                Dropout(dropout),
            ]
        super().__init__(*layers, nn.Linear(widths[-1], n_components))


class ConvNet(nn.Module):
    """A small residual network that adapts to the size of images: their default.

    Its stem halves images of 23 pixels and more. Blocks of the first width, each after
    a halving, go on until at most about 22 are left; then comes a block of every other
    width, with halvings between them. So 8 x 8 pixels are 4 x 4 at the end, 28 x 28
    are 7 x 7, and 128 x 128 are 8 x 8.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample: channels, height, width.
    n_components : int
        Width of the embedding.
    widths : tuple of int, default=(32, 64, 128)
        Channels of the stem, and of the blocks at the end.
    dropout : float, default=0.1
        Share of pooled features that a training step leaves out.
    """

    def __init__(self, input_shape, n_components, widths=(32, 64, 128), dropout=0.1):
        super().__init__()
        first = widths[0]
        n_halvings = max(0, round(log2(max(input_shape[1:]) / SIDE_AT_LAST)))
        stride = 2 if n_halvings else 1
        self.stem = nn.Sequential(
            Conv2d(input_shape[0], first, 5, stride=stride, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for _ in range(n_halvings - 1):
            layers += [nn.MaxPool2d(2, ceil_mode=True), ResidualBlock(first, first)]
        for place, (width_in, width) in enumerate(pairwise(widths)):
            if place:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            layers.append(ResidualBlock(width_in, width))
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.Sequential(MeanMaxPool(), Dropout(dropout))
        self.head = nn.Linear(2 * widths[-1], n_components)

    def forward(self, images):
        """Embed a batch of shape (n, C, H, W)."""
        return self.head(self.pool(self.blocks(self.stem(images))))


class Features(nn.Module):
    """A linear map for features that another network has computed.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample.
    n_components : int
        Width of the embedding.
    dropout : float, default=0.2
        Share of features that a training step leaves out.
    gain : float, default=30.0
        Size of the weights at first: the larger, the less a step turns them.
    start : {"discriminant", "principal"}, default="discriminant"
        What the map begins with: axes along which classes differ, or samples.
    """

    def __init__(
        self, input_shape, n_components, dropout=0.2, gain=30.0, start="discriminant"
    ):
        super().__init__()
        self.head = FeatureHead(
            prod(input_shape), n_components, dropout=dropout, gain=gain, start=start
        )

    def forward(self, rows):
        """Embed a batch of rows, or of anything, flattened."""
        return self.head(self.features(rows))

    def features(self, rows):
        """Compute what the head is given."""
        return rows.flatten(1)
