"""What the fetchers of image collections share."""

import os
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions

CONSTRAINTS = {
    "subset": [StrOptions({"all", "train", "test"})],
    "data_home": [str, PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
}

PARAMETERS = """\
subset : {{"all", "train", "test"}}, default="all"
    Which samples to return: those of all classes, of the classes for training, or of
    the others. The target of a class is the same in all three.
data_home : str or path-like, default=None
    Where to keep data. None takes scikit-learn's folder, see
    :func:`sklearn.datasets.get_data_home`. The images are in its subfolder
    ``sk_dml/{folder}``. Files that you have from elsewhere are used, too, if you put
    them there under the names that they have in the original.
download_if_missing : bool, default=True
    Whether to download what is missing. With False, that is an OSError.
return_X_y : bool, default=False
    Whether to return ``(paths, target)`` instead of all.
n_retries : int, default=3
    How often to try again after a break in a download, at least 0. It goes on where
    it broke off, also in a later call.
delay : float, default=1.0
    Seconds between retries, at least 0."""

RETURNS = """\
data : :class:`~sklearn.utils.Bunch`
    With the attributes

    paths : ndarray of shape (n_samples,), dtype str
        The image files.
    target : ndarray of shape (n_samples,), dtype int64
        Their classes, from 0 to n_classes - 1.
    target_names : ndarray of shape (n_classes,), dtype str
        The names of all classes.
    is_train : ndarray of shape (n_samples,), dtype bool
        The standard class-disjoint split: True where the class is for training.{more}
    DESCR : str
        A description.

(paths, target) : tuple of two ndarrays
    If ``return_X_y=True``.

Raises
------
OSError
    If files are missing and cannot be downloaded, or are damaged or incomplete."""

GROUPS = """
    groups : ndarray of shape (n_samples,), dtype str
        {groups}"""


def document(*, folder, groups=None):
    """Fill the shared parameters and return values into the docstring of a fetcher.

    Parameters
    ----------
    folder : str
        Where the files are, below ``sk_dml`` in the data home.
    groups : str, default=None
        What the superclasses are, where there are any.

    Returns
    -------
    callable
        A decorator.
    """
    more = GROUPS.format(groups=groups) if groups else ""

    def decorate(fetcher):
        if fetcher.__doc__ is not None:  # python -OO
            indented = [
                text.replace("\n", "\n    ").replace("\n    \n", "\n\n")
                for text in (
                    PARAMETERS.format(folder=folder),
                    RETURNS.format(more=more),
                )
            ]
            fetcher.__doc__ = fetcher.__doc__.replace(
                "<shared parameters>", indented[0]
            ).replace("<shared returns>", indented[1])
        return fetcher

    return decorate


def dataset_folder(data_home, name):
    """Make the folder of a collection, below scikit-learn's data home.

    Parameters
    ----------
    data_home : str, path-like or None
        As `sklearn.datasets.get_data_home` takes it.
    name : str
        Of the collection.

    Returns
    -------
    Path
        An existing folder, absolute.
    """
    folder = Path(get_data_home(data_home)).absolute() / "sk_dml" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def reading(path):
    """Say which file it is that cannot be read.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError) as error:
        raise OSError(f"{path} is damaged: {error!r}.") from error


def files_below(root):
    """List the files in all folders below a root.

    Parameters
    ----------
    root : Path
        The root.

    Returns
    -------
    list of str
        Their paths relative to the root, with "/", sorted.
    """
    found = []
    for folder, _, names in os.walk(root):
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + name for name in names]
    return sorted(found)


def check_complete(root, files, *, n_samples, target, n_classes):
    """Raise an error if a collection is not whole.

    Parameters
    ----------
    root : Path
        Where the images are.
    files : list of str
        The images, relative to the root, with "/".
    n_samples : int
        How many there should be.
    target : ndarray of shape (n_samples,)
        Their classes.
    n_classes : int
        How many there should be.

    Raises
    ------
    OSError
        If numbers differ or files are missing.
    """
    again = f"Remove {root} to fetch it again."
    counts = len(files), len(np.unique(target))
    if counts != (n_samples, n_classes):
        raise OSError(
            f"{root} is incomplete: found {counts[0]} images of {counts[1]} classes, "
            f"expected {n_samples} of {n_classes}. {again}"
        )
    missing = sorted(set(files).difference(files_below(root)))
    if missing:
        raise OSError(
            f"{root} is incomplete: {len(missing)} of {len(files)} images are missing, "
            f"for example {missing[0]}. {again}"
        )


def make_bunch(
    root, files, target, *, target_names, is_train, descr, subset, return_X_y, **more
):
    """Make what a fetcher returns.

    Parameters
    ----------
    root : Path
        Where the images are.
    files : list of str
        The images, relative to the root, with "/".
    target : array-like of shape (n_samples,)
        Their classes.
    target_names : list of str
        The names of the classes.
    is_train : array-like of shape (n_samples,)
        Whether their classes are for training.
    descr : str
        The description.
    subset : {"all", "train", "test"}
        Which samples to return.
    return_X_y : bool
        Whether to return paths and target alone.
    **more : dict
        More arrays of shape (n_samples,).

    Returns
    -------
    Bunch or tuple
        See the fetchers.
    """
    is_train = np.asarray(is_train, dtype=bool)
    rows = {"all": slice(None), "train": is_train, "test": ~is_train}[subset]
    paths = np.asarray([str(root / file) for file in files])[rows]
    target = np.asarray(target, dtype=np.int64)[rows]
    if return_X_y:
        return paths, target
    return Bunch(
        paths=paths,
        target=target,
        target_names=np.asarray(target_names, dtype=str),
        is_train=is_train[rows],
        **{name: np.asarray(values)[rows] for name, values in more.items()},
        DESCR=descr,
    )
