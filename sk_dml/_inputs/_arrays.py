"""What X may be, and how batches of it are read."""

import numpy as np
import torch
from sklearn import get_config
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    gen_batches,
)
from sklearn.utils.validation import validate_data

from sk_dml._inputs._decode import is_other_scale
from sk_dml._inputs._files import (
    DecodedImages,
    LazyImages,
    channels_last,
    evenly_spaced,
    is_table_of_paths,
    lazy_images,
)
from sk_dml._utils._warn import warn

# Of images that are read batch by batch so many are looked at, and bytes.
N_SAMPLED, SAMPLED_BYTES = 1000, 2**26


def sampled(X):
    """Read some images, evenly spaced: at most 1,000, and 64 MB, but two or more.

    Parameters
    ----------
    X : LazyImages

    Returns
    -------
    ndarray of shape (n_sampled, C, H, W)
    """
    n_sampled = min(N_SAMPLED, SAMPLED_BYTES * len(X) // X.nbytes)
    return X.read(evenly_spaced(len(X), max(n_sampled, 2)))[0]


def check_scale(estimator, X, *, reset):
    """Keep the range of the values of training images, or compare others with it.

    Parameters
    ----------
    estimator : BaseEmbedder
        Receives (``reset=True``) or holds the range.
    X : ndarray or LazyImages, of shape (n, C, H, W)
    reset : bool
        Whether X is training data.

    Raises
    ------
    ValueError
        If one is uint8 and the other is not, and the values are on another scale.

    Warns
    -----
    UserWarning
        If both are of one dtype, and the values are on another scale: such images may
        be as dark as that.
    """
    is_uint8 = X.dtype == np.uint8
    if isinstance(X, DecodedImages):
        found = 0, 255
    else:
        values = sampled(X) if isinstance(X, LazyImages) else X
        found = values.min().item(), values.max().item()
    if reset:
        estimator._fitted_scale = found, is_uint8
        return
    known, known_uint8 = estimator._fitted_scale
    if not is_other_scale(found, known) or (is_uint8 and found[1] < known[1]):
        return  # images of uint8 may be dark
    name = type(estimator).__name__
    what = "{} from {:g} to {:g}".format
    kinds = {True: "uint8", False: "floats"}
    message = (
        f"X holds {what(kinds[is_uint8], *found)}, but {name} was fitted with images "
        f"of {what(kinds[known_uint8], *known)}. "
    )
    if found[1] > known[1]:
        message += "Scale X as the training data were scaled, say by X / 255."
    elif known_uint8:
        message += "If 1 is white, give np.uint8(255 * X); if 255 is, np.uint8(X)."
    else:
        message += "Scale X as the training data were scaled, say by 255 * X."
    if is_uint8 != known_uint8:
        raise ValueError(message)
    warn(message)


# Values of rows that statistics take at once, at least; of images, at most.
SMALLEST_BLOCK = 2**18
LARGEST_BLOCK = 2**21


def check_inputs(estimator, X, *, reset):
    """Validate rows or images.

    Parameters
    ----------
    estimator : BaseEmbedder
        Receives (``reset=True``) or holds ``n_features_in_``, ``image_size_`` and, for
        column names, ``feature_names_in_``.
    X : array-like
        Rows of shape (n, n_features), or images of shape (n, H, W), (n, C, H, W) or
        (n, H, W, C), see :func:`channels_last`; or paths of images, or a dataset of
        them.
    reset : bool
        Whether X is training data.

    Returns
    -------
    ndarray or LazyImages
        Of shape (n, n_features), float32 or float64, or of shape (n, C, H, W), float32
        or uint8. Files, datasets and memmaps of images are lazy.

    Raises
    ------
    ValueError
        If X is no such data or, with ``reset=False``, of another shape, or images on
        another scale, than in fit.
    FileNotFoundError
        If files are missing.
    """
    if not isinstance(X, LazyImages):
        X = _check_inputs(estimator, X, reset)
    if not reset and X.shape[1:] != estimator._input_shape:
        raise ValueError(
            f"X holds samples of shape {X.shape[1:]}, but {type(estimator).__name__} "
            f"was fitted with samples of shape {estimator._input_shape}."
        )
    if X.ndim == 4:
        check_scale(estimator, X, reset=reset)
    return X


def _check_inputs(estimator, X, reset):
    name = type(estimator).__name__
    images = lazy_images(estimator, X, reset=reset)
    if images is not None:
        if reset:
            _keep_image_shape(estimator, images)
        return images
    n_dims = getattr(X, "ndim", None)
    if n_dims is None and isinstance(X, (list, tuple)) and len(X):
        n_dims = 1 + _depth(X[0])
    fitted_with = () if reset else estimator._input_shape
    if n_dims == 2 and len(fitted_with) == 3:
        raise ValueError(
            f"X has shape {np.shape(X)}, but {name} was fitted with images of shape "
            f"{fitted_with}; give a batch of images."
        )
    if n_dims is not None and n_dims > 4:
        raise ValueError(
            f"Found array with dim {n_dims} for X; {name} takes rows (2 axes) or "
            "images (3 or 4 axes)."
        )
    if n_dims == 2 and is_table_of_paths(X):
        raise ValueError(
            f"X is a table of paths, of shape {np.shape(X)}; {name} takes paths as an "
            "array of one axis: give the column, as X[:, 0] or frame['name']."
        )
    if n_dims not in (3, 4):
        return validate_data(estimator, X, dtype=[np.float64, np.float32], reset=reset)
    X = check_array(
        _stacked(X),
        estimator=estimator,
        input_name="X",
        dtype=[np.float32, np.uint8],
        allow_nd=True,
        order="C",
    )
    if min(X.shape) == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {name}."
        )
    if reset:
        _keep_image_shape(estimator, X)
    return _channels_first(X)


def _keep_image_shape(estimator, X):
    estimator.n_features_in_ = int(np.prod(X.shape[1:]))
    vars(estimator).pop("feature_names_in_", None)


def training_statistics(X):
    """Mean and scale that standardise the training data.

    Parameters
    ----------
    X : ndarray of shape (n, n_features) or (n, C, H, W), or LazyImages
        Of lazy images a sample is taken, evenly spaced: at most 1,000, and 64 MB.

    Returns
    -------
    mean, scale : tensors
        Of shape (n_features,) in float64, or of shape (C, 1, 1) in float32. The scale
        is 1 where the data are constant.

    Raises
    ------
    ValueError
        If the statistics overflow.
    """
    if X.ndim == 2:
        scaler = StandardScaler()
        size = max(SMALLEST_BLOCK, X.size // 32) // X.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            for block in gen_batches(len(X), max(1, size)):  # it copies to float64
                scaler.partial_fit(X[block])
        if not np.isfinite([scaler.mean_, scaler.var_]).all():
            raise ValueError(
                f"X holds values up to {np.abs(X).max():.3g}, too large for a mean and "
                "a standard deviation; divide them by a constant."
            )
        return torch.from_numpy(scaler.mean_), torch.from_numpy(scaler.scale_)
    if isinstance(X, LazyImages):
        X = sampled(X)
    # In blocks: a float64 copy of all images may not fit.
    available = get_config()["working_memory"] * 2**20
    size = max(1, int(min(available / 24, LARGEST_BLOCK) / X[0].size))
    blocks = [X[rows] for rows in gen_batches(len(X), size)]
    n_values = X.size / X.shape[1]
    axes = (0, 2, 3)
    mean = sum(block.sum(axes, dtype=np.float64) for block in blocks) / n_values
    mean = mean.reshape(-1, 1, 1)
    squares = sum(np.square(block - mean).sum(axes) for block in blocks)
    scale = np.sqrt(squares / n_values).reshape(-1, 1, 1)
    scale[scale == 0] = 1
    return torch.from_numpy(mean).float(), torch.from_numpy(scale).float()


def training_sample(X, y, n_wanted=2048, size=32):
    """Take some of the training data, evenly spaced.

    Parameters
    ----------
    X : ndarray or LazyImages, of shape (n, ...)
    y : ndarray of shape (n,), int
    n_wanted : int, default=2048
        How many, if there are so many.
    size : int, default=32
        Samples at once.

    Yields
    ------
    samples : tensor of shape (n_block, ...)
    labels : tensor of shape (n_block,)
    """
    places = evenly_spaced(len(X), n_wanted)
    for block in gen_batches(len(places), size):
        some = places[block]
        yield torch.from_numpy(_taken(X, some)), torch.from_numpy(y[some])


def looks_grey(X, n_wanted=16):
    """Tell whether images have one channel, or three that are equal in some of them.

    Parameters
    ----------
    X : ndarray or LazyImages, of shape (n, ...)
    n_wanted : int, default=16
        How many images to look at, if there are so many.

    Returns
    -------
    bool
        False for rows.
    """
    if X.ndim != 4 or X.shape[1] not in (1, 3):
        return False
    images = _taken(X, evenly_spaced(len(X), n_wanted))
    return bool((images == images[:, :1]).all())


def _taken(X, places):
    return X.read(places)[0] if isinstance(X, LazyImages) else X[places]


def _depth(value):
    depth = 0
    while hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
        if hasattr(value, "ndim"):
            return depth + value.ndim
        depth += 1
        if not len(value):
            break
        value = value[0]
    return depth


def _stacked(X):
    """Make an array of tensors, and of lists of arrays, which keeps their dtype."""
    if isinstance(X, (list, tuple)) and hasattr(X[0], "__array__"):
        return np.stack([np.asarray(image) for image in X])
    return np.asarray(X) if hasattr(X, "__array__") else X


def _channels_first(X):
    if channels_last(X.shape):
        X = np.moveaxis(X, -1, 1)
    channels = X.shape[1] if X.ndim == 4 else 1
    # From flat, so that the strides of an axis of length one are the usual ones: torch
    # reads the memory layout from them and would round differently.
    return X.ravel().reshape(len(X), channels, *X.shape[-2:])
