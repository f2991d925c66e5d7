"""Random changes of images during training, a whole batch at once.

They have no state and draw from torch's global generator, as dropout does: what seeds,
saves or repeats the random numbers of a training covers them too.
"""

import copy
import math

import torch
from torch import nn

from sk_dml._inputs._decode import is_other_scale
from sk_dml._utils._warn import warn

# Found by class-disjoint validation on drawn characters.
DEGREES, SCALE, SHEAR, SHIFT, BEND = 10.0, 0.15, 0.15, 0.1, 0.03
BENDS = 4
# Those of A Metric Learning Reality Check.
AREA, RATIO = (0.16, 1.0), 4 / 3
# What a user's function may add to the range of a batch, either way, as a share of it.
HEADROOM = 0.75


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
    TypeError
        If ``augment`` is a class.
    """
    if isinstance(augment, type):
        raise TypeError(
            f"augment is the class {augment.__name__}; give an instance of it, such as "
            f"{augment.__name__}(). Allowed are 'auto', 'affine', 'crop', None, and a "
            "callable that takes a batch and returns one."
        )
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
    """What a user gives, in training only; what it returns is checked.

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
        self.warned = False

    def forward(self, samples):
        """Change a batch in training; leave it be otherwise.

        Raises ValueError if what comes back does not fit, RuntimeError if nothing does.
        """
        if not self.training:
            return samples
        given = f"a batch of shape {tuple(samples.shape)}, {samples.dtype}"
        try:
            changed = self.function(samples)
        except Exception as error:
            raise RuntimeError(
                f"augment={self.function!r} failed for {given}, on {samples.device}: "
                f"{type(error).__name__}: {error}"
            ) from error
        self._check_kind(samples, changed)
        self._check_values(samples, changed)
        return changed

    def _check_kind(self, samples, changed):
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
        if changed.dtype != torch.uint8 and not changed.is_floating_point():
            raise ValueError(
                f"augment must return floats or uint8, got {changed.dtype}."
            )

    def _check_values(self, samples, changed):
        found, known = _range(changed), _range(samples)
        if not all(map(math.isfinite, found)):
            raise ValueError(
                "augment must return finite values, got NaN or infinity in a batch of "
                f"values from {known[0]:g} to {known[1]:g}."
            )
        if samples.ndim != 4:
            return
        (low, high), (known_low, known_high) = found, known
        message = (
            f"augment returns values from {low:g} to {high:g} for images with values "
            f"from {known_low:g} to {known_high:g}; transform gives these to the "
            "network as they are. Leave out what scales or normalises: that is done "
            "inside."
        )
        if is_other_scale(found, known):
            raise ValueError(message)
        room = HEADROOM * (known_high - known_low)
        if (
            not self.warned
            and room
            and not (known_low - room <= low and high <= known_high + room)
        ):
            self.warned = True
            warn(message)


def _range(samples):
    """Find the smallest and the largest value; NaN if there is any."""
    return torch.stack(samples.detach().aminmax()).tolist()


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
        mode = "border"
        if images.device.type == "mps":  # whose torch may lack it
            grid, mode = _within(grid, images), "zeros"
        return nn.functional.grid_sample(
            images.float(), grid, padding_mode=mode, align_corners=False
        )


def _within(grid, images):
    """Move points outside of the outermost pixels' centres onto these."""
    height, width = images.shape[2:]
    limits = grid.new_tensor([1 - 1 / width, 1 - 1 / height])
    return grid.clamp(-limits, limits)
