"""Random changes of images during training, a whole batch at once.

They have no state and draw from torch's global generator, as dropout does: what seeds,
saves or repeats the random numbers of a training covers them too.
"""

import copy
import math

import torch
from torch import nn

# Found by class-disjoint validation on drawn characters.
DEGREES, SCALE, SHEAR, SHIFT, BEND = 10.0, 0.15, 0.15, 0.1, 0.03
BENDS = 4
# Those of A Metric Learning Reality Check.
AREA, RATIO = (0.16, 1.0), 4 / 3


def build_augmentation(augment, input_shape, crop_size=None):
    """Build what changes the samples of a batch in training.

    Parameters
    ----------
    augment : "auto", "affine", "crop", None or callable
        "auto" is "affine" for images with one channel, "crop" for others, and nothing
        for rows. A torch Module is deep-copied.
    input_shape : tuple of int
        Shape of a sample.
    crop_size : int or None, default=None
        Height and width of random crops; None keeps those of the images.

    Returns
    -------
    torch.nn.Module or None

    Raises
    ------
    ValueError
        If rows are to be changed as images are.
    """
    is_image = len(input_shape) == 3
    if augment == "auto":
        augment = ("affine" if input_shape[0] == 1 else "crop") if is_image else None
    if augment is None:
        return None
    if augment in ("affine", "crop") and not is_image:
        raise ValueError(
            f"augment={augment!r} is for images, got rows of {input_shape[0]} "
            "features. Allowed for rows are 'auto', None and a callable."
        )
    if augment == "affine":
        return RandomAffine()
    if augment == "crop":
        return RandomResizedCrop(crop_size)
    return GivenAugmentation(augment, crop_size)


class RandomAffine(nn.Module):
    """Turn, scale, shear, shift and bend every image by amounts of its own.

    Parameters
    ----------
    degrees : float
        Largest angle, either way.
    scale : float
        Largest logarithm of the factors by which either axis is scaled.
    shear : float
        Largest shift of a row against the next, in pixels.
    shift : float
        Largest shift of the image, as a share of its sides. What comes in from outside
        repeats the border.
    bend : float
        Standard deviation of how far each of BENDS x BENDS points, between which the
        image is bent smoothly, moves along either axis, as a share of its sides.
    """

    def __init__(
        self, degrees=DEGREES, scale=SCALE, shear=SHEAR, shift=SHIFT, bend=BEND
    ):
        super().__init__()
        self.degrees, self.scale = degrees, scale
        self.shear, self.shift, self.bend = shear, shift, bend

    def forward(self, images):
        """Change a batch of shape (n, C, H, W) in training; leave it be otherwise."""
        if not self.training:
            return images
        height, width = images.shape[2:]
        angle, log_x, log_y, shear, x, y = _uniform(6, images)
        angle, shear = angle * math.radians(self.degrees), shear * self.shear
        wide, high = (log_x * self.scale).exp(), (log_y * self.scale).exp()
        cos, sin = angle.cos(), angle.sin()
        # A turn after a shear after a scaling, in pixels; affine_grid has sides of 2.
        rows = [
            cos * wide,
            (cos * shear - sin) * high * (height / width),
            x * (2 * self.shift),
            sin * wide * (width / height),
            (sin * shear + cos) * high,
            y * (2 * self.shift),
        ]
        points = (len(images), 2, BENDS, BENDS)
        moves = torch.randn(points, device=images.device) * (2 * self.bend)
        return _resample(images, rows, (height, width), moves)


class RandomResizedCrop(nn.Module):
    """Cut a part out of every image, resize it, and mirror half of them.

    The resizing interpolates between pixels and does not average: parts more than twice
    as large as ``size`` lose detail.

    Parameters
    ----------
    size : int or None, default=None
        Height and width of the results; None takes those of the images.
    area : tuple of float
        Smallest and largest share of the image that a part covers.
    ratio : float
        Largest ratio of its sides, either way. A side that would be longer than the
        image is as long as the image.
    """

    def __init__(self, size=None, area=AREA, ratio=RATIO):
        super().__init__()
        self.size, self.area, self.ratio = size, area, ratio

    def forward(self, images):
        """Change a batch of shape (n, C, H, W) in training; leave it be otherwise."""
        if not self.training:
            return images
        height, width = images.shape[2:]
        area, log_ratio, x, y, flip = _uniform(5, images)
        smallest, largest = self.area
        area = smallest + (largest - smallest) * (area + 1) / 2
        side = (area * height * width).sqrt()
        stretch = (log_ratio * (math.log(self.ratio) / 2)).exp()
        wide = (side * stretch / width).clamp(max=1)
        high = (side / stretch / height).clamp(max=1)
        none = torch.zeros_like(x)
        mirrored = torch.where(flip < 0, -wide, wide)
        rows = [mirrored, none, x * (1 - wide), none, high, y * (1 - high)]
        size = (height, width) if self.size is None else (self.size, self.size)
        return _resample(images, rows, size)


class GivenAugmentation(nn.Module):
    """What a user gives, in training only.

    Parameters
    ----------
    function : callable
        Takes a batch and returns one of its shape.
    crop_size : int or None, default=None
        Height and width that it may also return.
    """

    def __init__(self, function, crop_size=None):
        super().__init__()
        is_module = isinstance(function, nn.Module)
        self.function = copy.deepcopy(function) if is_module else function
        self.crop_size = crop_size

    def forward(self, samples):
        """Change a batch in training; leave it be otherwise."""
        if not self.training:
            return samples
        changed = self.function(samples)
        shape = tuple(getattr(changed, "shape", ()))
        allowed = [tuple(samples.shape)]
        if self.crop_size is not None:
            allowed.append((*allowed[0][:2], self.crop_size, self.crop_size))
        if not isinstance(changed, torch.Tensor) or shape not in allowed:
            raise ValueError(
                "augment must return a tensor of the shape that it was given, "
                f"{' or '.join(map(str, allowed))}; got {type(changed).__name__} of "
                f"shape {shape}."
            )
        return changed


def _uniform(n, images):
    """Draw n numbers in [-1, 1) for every image: n tensors."""
    numbers = torch.rand((n, len(images)), device=images.device)
    return (2 * numbers - 1).unbind()


def _resample(images, rows, size, moves=None):
    """Resample images of shape (n, C, H, W) by an affine map each, and moved points.

    Coordinates go from -1 to 1; what lies outside has the colour of the border.
    """
    n, channels = images.shape[:2]
    with torch.autocast(images.device.type, enabled=False):
        matrices = torch.stack(rows, dim=1).reshape(n, 2, 3)
        grid = nn.functional.affine_grid(
            matrices, [n, channels, *size], align_corners=False
        )
        if moves is not None:
            moves = nn.functional.interpolate(
                moves, size, mode="bicubic", align_corners=True
            )
            grid = grid + moves.permute(0, 2, 3, 1)
        return nn.functional.grid_sample(
            images.float(), grid, padding_mode="border", align_corners=False
        )
