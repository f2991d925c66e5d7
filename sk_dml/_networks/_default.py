"""Default networks for rows and images, and their layers."""

from itertools import pairwise
from math import log2, prod
from numbers import Integral

import torch
from torch import nn

# Probabilities of dropout are rounded to multiples of 1 / DROPOUT_LEVELS.
DROPOUT_LEVELS = 2**16
# Shrinkage of the covariance within classes towards equal variances.
SHRINKAGE = 0.5
# Approximate side of the feature maps at which a ConvNet begins to widen.
WIDENING_SIDE = 16


class Dropout(nn.Dropout):
    """Dropout that takes a third of the time of torch's on CPUs.

    torch draws one random number per unit there. Here four units share a random integer
    of 64 bits, 16 bits each, drawn from the same global generator.
    """

    def forward(self, inputs):
        dropped = round(self.p * DROPOUT_LEVELS)
        is_partial = 0 < dropped < DROPOUT_LEVELS
        if not self.training or not is_partial or inputs.device.type != "cpu":
            return super().forward(inputs)
        draw = _factors_op if torch.compiler.is_compiling() else _factors
        return inputs * draw(inputs.detach(), dropped)


def _factors(inputs: torch.Tensor, dropped: int) -> torch.Tensor:
    """Draw the factor of each input, 0 for ``dropped`` of DROPOUT_LEVELS."""
    integers = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64)
    levels = integers.random_(-(2**63), None).view(torch.int16)[: inputs.numel()]
    is_kept = levels.view(inputs.shape) >= dropped - DROPOUT_LEVELS // 2
    # The others grow by the rounded probability, so that the mean stays.
    return is_kept.to(inputs.dtype).mul_(DROPOUT_LEVELS / (DROPOUT_LEVELS - dropped))


# torch.compile cannot trace random_: it would break the graph and warn. So a compiled
# network calls the function as an opaque operator.
_factors_op = torch.library.custom_op(
    "sk_dml::dropout_factors",
    _factors,
    mutates_args=(),
    tags=[torch.Tag.nondeterministic_seeded],
)
_factors_op.register_fake(lambda inputs, dropped: torch.empty_like(inputs))


class Standardize(nn.Module):
    """Subtract the mean and divide by the scale of the training data, to float32.

    ``mean`` and ``scale`` are tensors that broadcast to a sample; in float64, a large
    offset of the data costs no digits. ``limit`` is a soft bound on the results: values
    far beyond it, from heavy tails or nearly constant features, saturate there.
    """

    def __init__(self, mean, scale, limit=None):
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, inputs):
        outputs = (inputs - self.mean) / self.scale
        if self.limit is None:
            return outputs.float()
        outputs = outputs.clamp(-1e15, 1e15).float()  # whose squares are finite
        return outputs * (1 + (outputs / self.limit).square()).rsqrt()


class CenterCrop(nn.Module):
    """Crop the center of ``size`` x ``size`` pixels from images (n, C, H, W)."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, images):
        top, left = ((side - self.size) // 2 for side in images.shape[2:])
        return images[..., top : top + self.size, left : left + self.size]


class Conv2d(nn.Conv2d):
    """Convolution whose outputs have their channels last in memory.

    On CPUs the layers after it take two thirds of the time then. The weights, and with
    them gradients, optimizers and checkpoints, keep torch's layout.
    """

    def forward(self, inputs):
        # A copy, because with one channel torch cannot tell the layouts apart.
        weight = torch.empty_like(self.weight, memory_format=torch.channels_last)
        return self._conv_forward(inputs, weight.copy_(self.weight), self.bias)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut: (n, width_in, H, W) to (n, width, H, W)."""

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
        return (self.convolutions(maps) + self.shortcut(maps)).relu_()


class MeanMaxPool(nn.Module):
    """Mean and maximum of every channel, side by side: (n, C, H, W) to (n, 2 C)."""

    def forward(self, maps):
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class FeatureHead(nn.Linear):
    """Linear map of features that another network has learned, kept close to them.

    Such features are compared by their cosines, so each of their ``n_parts`` parts is
    scaled to the same length. `start_from` initializes the map as a rotation onto the
    most useful axes, of which ``start`` chooses the kind, "discriminant" or
    "principal". The embedding is normalized, so ``gain``, the size of the initial
    weights, does not change it; but a step rotates larger weights less.
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
        rows = self._scale_parts(features) - self.center
        return super().forward(self.dropout(rows))

    @torch.no_grad()
    def start_from(self, features, labels):
        """Initialize the map from features (n, n_features) and their classes (n,).

        Its axes are the principal axes of the features, for start="discriminant" after
        scaling these by the covariance within classes, shrunk halfway to equal
        variances: linear discriminant analysis, but with more axes than classes. There
        are at most n - 1 axes; the other ones stay random.
        """
        rows = self._scale_parts(features.float())
        if len(rows) < 2:
            return
        self.center.copy_(rows.mean(0))
        rows, axes = _principal(rows - self.center)
        codes = labels.unique(return_inverse=True)[1]
        means = rows.new_zeros(len(rows), rows.shape[1]).index_add_(0, codes, rows)
        counts = codes.bincount(minlength=len(rows)).clamp(min=1)
        within = rows - (means / counts[:, None])[codes]
        covariance = within.T @ within / len(rows)
        variance = covariance.diagonal().mean()
        is_zero = variance <= torch.finfo(rows.dtype).eps * rows.square().mean()
        if self.start == "principal" or is_zero:
            covariance, variance = torch.eye(len(covariance)), 1.0
        covariance.mul_(1 - SHRINKAGE).diagonal().add_(SHRINKAGE * variance)
        factor = torch.linalg.cholesky(covariance)
        scaled = torch.linalg.solve_triangular(factor, rows.T, upper=False).T
        rotated = torch.linalg.solve_triangular(
            factor.T, _principal(scaled)[1].T, upper=True
        ).T
        weight = (rotated @ axes)[: len(self.weight)]
        size = self.gain * len(weight) ** 0.5 / torch.linalg.matrix_norm(weight)
        self.weight[: len(weight)] = size * weight

    def _scale_parts(self, features):
        parts = features.unflatten(1, (self.n_parts, -1))
        # To entries of size one, like standardized inputs.
        return nn.functional.normalize(parts, dim=2).flatten(1) * parts.shape[2] ** 0.5


def _principal(rows):
    """Return centered rows (n, d) on their principal axes (n, k), and these (k, d)."""
    left, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
    n_axes = min(len(rows) - 1, len(axes))
    return left[:, :n_axes] * sizes[:n_axes], axes[:n_axes]


class Linear(nn.Sequential):
    """Linear map of the flattened inputs."""

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
        Share of hidden units that a training step drops.
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
        for width_in, width_out in pairwise(widths):
            layers += [
                nn.Linear(width_in, width_out),
                nn.BatchNorm1d(width_out),
                nn.ReLU(),
                Dropout(dropout),
            ]
        super().__init__(*layers, nn.Linear(widths[-1], n_components))


class ConvNet(nn.Module):
    """Small residual network that adapts to the size of images: their default.

    The stem halves images of 23 pixels and more. Blocks of the first width follow, each
    after a halving, until the maps have at most about 22 pixels; then one block of
    every other width, with a halving between two of them. So images of 8 x 8 pixels end
    as maps of 4 x 4, 28 x 28 as 7 x 7, and 128 x 128 as 8 x 8.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample: channels, height, width.
    n_components : int
        Width of the embedding.
    widths : tuple of int, default=(32, 64, 128)
        Channels of the stem and of the last blocks.
    dropout : float, default=0.1
        Share of pooled features that a training step drops.
    """

    def __init__(self, input_shape, n_components, widths=(32, 64, 128), dropout=0.1):
        super().__init__()
        first = widths[0]
        n_halvings = max(0, round(log2(max(input_shape[1:]) / WIDENING_SIDE)))
        stride = 2 if n_halvings else 1
        self.stem = nn.Sequential(
            Conv2d(input_shape[0], first, 5, stride=stride, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for _ in range(n_halvings - 1):
            layers += [nn.MaxPool2d(2, ceil_mode=True), ResidualBlock(first, first)]
        for i, (width_in, width) in enumerate(pairwise(widths)):
            if i:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            layers.append(ResidualBlock(width_in, width))
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.Sequential(MeanMaxPool(), Dropout(dropout))
        self.head = nn.Linear(2 * widths[-1], n_components)

    def forward(self, images):
        return self.head(self.pool(self.blocks(self.stem(images))))


class Features(nn.Module):
    """A FeatureHead, with its parameters, on flattened samples of any shape."""

    def __init__(
        self, input_shape, n_components, dropout=0.2, gain=30.0, start="discriminant"
    ):
        super().__init__()
        self.head = FeatureHead(
            prod(input_shape), n_components, dropout=dropout, gain=gain, start=start
        )

    def forward(self, rows):
        return self.head(self.features(rows))

    def features(self, rows):
        """Return the inputs of the head: flattened samples."""
        return rows.flatten(1)
