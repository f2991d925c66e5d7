"""Augmentation: random changes of images in training, a whole batch at once.

Modules without state that draw from torch's global generator, as dropout does: what
seeds, saves or repeats the random numbers of a training covers them too.
"""

import copy
import math

import torch
from torch import nn

from sk_dml._inputs._decode import is_other_scale
from sk_dml._utils._warn import warn

BENDS = 4
# Share of the range of a batch by which a user's function may exceed it at either end.
HEADROOM = 0.75


def build_augmentation(augment, is_image, crop_size=None):
    """Return the module that changes batches of samples."""
    if isinstance(augment, type):
        raise TypeError(
            f"augment must be 'auto', 'affine', 'crop', None or a callable, got the "
            f"class {augment.__name__}; pass an instance, {augment.__name__}()."
        )
    if augment in ("affine", "crop") and not is_image:
        raise ValueError(
            f"augment={augment!r} is for images; for other samples use 'auto', None or "
            "a callable."
        )
    if augment == "affine":
        return RandomAffine()
    if augment == "crop":
        return RandomResizedCrop(crop_size)
    return CustomAugmentation(augment, crop_size)


class RandomAffine(nn.Module):
    """Rotate, scale, shear, shift and bend each image by random amounts.

    ``degrees`` is the largest angle, ``scale`` the largest logarithm of the factor of
    either axis, ``shear`` the largest shift of a row against the next in pixels,
    ``shift`` the largest shift as a share of the sides; the border is repeated outside.
    ``bend`` is the standard deviation of the moves of BENDS x BENDS points, between
    which images are bent smoothly, as a share of the sides.
    """

    # Chosen by class-disjoint validation on drawn characters.
    degrees, scale, shear, shift, bend = 10.0, 0.15, 0.15, 0.1, 0.03

    def forward(self, images):
        """Return a changed batch (n, C, H, W) in training, the same one otherwise."""
        if not self.training:
            return images
        height, width = images.shape[2:]
        angle, log_x, log_y, shear, x, y = _uniform(6, images)
        angle, shear = angle * math.radians(self.degrees), shear * self.shear
        wide, high = (log_x * self.scale).exp(), (log_y * self.scale).exp()
        cos, sin = angle.cos(), angle.sin()
        # Rotation x shear x scaling, in pixels; affine_grid has sides of 2.
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
    """Crop a random part of each image, resize it, and mirror half of them.

    ``size`` is the side of the results, by default that of the images; ``area`` holds
    the smallest and the largest share of the image that a part covers; ``ratio`` is the
    largest ratio of its sides, which end at those of the image. Resizing interpolates
    and does not average: parts more than twice as large as ``size`` lose detail.
    """

    # As in A Metric Learning Reality Check.
    area, ratio = (0.16, 1.0), 4 / 3

    def __init__(self, size=None):
        super().__init__()
        self.size = size

    def forward(self, images):
        """Return a changed batch (n, C, H, W) in training, the same one otherwise."""
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
        zero = torch.zeros_like(x)
        mirrored = torch.where(flip < 0, -wide, wide)
        rows = [mirrored, zero, x * (1 - wide), zero, high, y * (1 - high)]
        size = (height, width) if self.size is None else (self.size, self.size)
        return _resample(images, rows, size)


class CustomAugmentation(nn.Module):
    """A user's function, applied in training only; what it returns is checked."""

    def __init__(self, function, crop_size=None):
        super().__init__()
        is_module = isinstance(function, nn.Module)
        self.function = copy.deepcopy(function) if is_module else function
        self.crop_size = crop_size
        self.has_warned = False

    def forward(self, samples):
        """Return a changed batch in training, the same one otherwise."""
        if not self.training:
            return samples
        shape = tuple(samples.shape)
        try:
            changed = self.function(samples)
        except Exception as error:
            raise RuntimeError(
                f"augment={self.function!r} failed for a batch of shape {shape}, "
                f"{samples.dtype} on {samples.device}: {type(error).__name__}: {error}"
            ) from error
        shapes = [shape]
        if self.crop_size is not None:
            shapes.append((*shape[:2], self.crop_size, self.crop_size))
        is_tensor = isinstance(changed, torch.Tensor)
        if not is_tensor or tuple(changed.shape) not in shapes:
            got = f"{type(changed).__name__} {tuple(getattr(changed, 'shape', ()))}"
            raise ValueError(
                "augment must return a tensor of shape "
                f"{' or '.join(map(str, shapes))}, got {got}."
            )
        if changed.dtype != torch.uint8 and not changed.is_floating_point():
            raise ValueError(
                f"augment must return floats or uint8, got {changed.dtype}."
            )
        self._check_range(_range(changed), _range(samples), is_image=samples.ndim == 4)
        return changed

    def _check_range(self, new, old, *, is_image):
        """Check the (lowest, highest) value of a changed batch against the old one."""
        if not all(map(math.isfinite, new)):
            raise ValueError("augment must return finite values, got NaN or infinity.")
        if not is_image:
            return
        message = (
            f"augment returns values from {new[0]:g} to {new[1]:g} for images with "
            f"values from {old[0]:g} to {old[1]:g}, which transform passes to the "
            "network as they are. Leave scaling and normalizing to the embedder."
        )
        if is_other_scale(new, old):
            raise ValueError(message)
        room = HEADROOM * (old[1] - old[0])
        is_within = old[0] - room <= new[0] and new[1] <= old[1] + room
        if room and not is_within and not self.has_warned:
            self.has_warned = True
            warn(message)


def _range(samples):
    """Return the lowest and the highest value; NaN if there is any."""
    return torch.stack(samples.detach().aminmax()).tolist()


def _uniform(n, images):
    """Draw n numbers in [-1, 1) for each of N images: n tensors (N,)."""
    numbers = torch.rand((n, len(images)), device=images.device)
    return (2 * numbers - 1).unbind()


def _resample(images, rows, size, moves=None):
    """Resample images (n, C, H, W) by affine maps, 6 rows (n,), and moves of points.

    Coordinates go from -1 to 1; pixels outside have the color of the border.
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
        if images.device.type == "mps":  # where torch may lack "border"
            grid, mode = _within(grid, images), "zeros"
        return nn.functional.grid_sample(
            images.float(), grid, padding_mode=mode, align_corners=False
        )


def _within(grid, images):
    """Clamp a grid (n, H, W, 2) to the centers of the outermost pixels."""
    height, width = images.shape[2:]
    limits = grid.new_tensor([1 - 1 / width, 1 - 1 / height])
    return grid.clamp(-limits, limits)
