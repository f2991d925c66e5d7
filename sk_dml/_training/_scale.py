"""The scale of the values of images: that of training, and that of later data."""

import numpy as np

from sk_dml._training._lazy import DecodedImages, LazyImages, evenly_spaced
from sk_dml.utils import warn
from sk_dml.utils._images import is_other_scale

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
