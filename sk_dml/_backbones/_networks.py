"""The networks that ``module`` can name."""

from math import prod
from numbers import Integral

from torch import nn

from sk_dml._backbones._layers import Conv2d, MeanMaxPool


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
        layers: list[nn.Module] = [nn.Flatten(), nn.Dropout(input_dropout)]
        for width_in, width_out in zip(widths, hidden, strict=False):
            layers += [
                nn.Linear(width_in, width_out),
                nn.BatchNorm1d(width_out),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
        super().__init__(*layers, nn.Linear(widths[-1], n_components))


class ConvNet(nn.Sequential):
    """Convolutions, each halving the image: the default for images.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample: channels, height, width.
    n_components : int
        Width of the embedding.
    widths : tuple of int, default=(32, 64, 128)
        Channels after each block.
    dropout : float, default=0.1
        Share of pooled features that a training step leaves out.
    """

    def __init__(self, input_shape, n_components, widths=(32, 64, 128), dropout=0.1):
        layers: list[nn.Module] = []
        for width_in, width_out in zip((input_shape[0], *widths), widths, strict=False):
            layers += [
                Conv2d(width_in, width_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(width_out),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        layers += [MeanMaxPool(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(2 * widths[-1], n_components))


class Features(nn.Sequential):
    """Placeholder."""

    def __init__(self, input_shape, n_components):
        super().__init__(nn.Flatten(), nn.Linear(prod(input_shape), n_components))
