"""The networks that ``module`` can name."""

from itertools import pairwise
from math import log2, prod
from numbers import Integral

from torch import nn

from sk_dml._backbones._dropout import Dropout
from sk_dml._backbones._layers import Conv2d, FeatureHead, MeanMaxPool, ResidualBlock

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
