"""Shared code of the fetchers of image collections."""

import os
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from textwrap import indent

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

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
    Samples to return: those of all classes, of the training classes, or of the test
    classes. The target of a class is the same in all three.
data_home : str or path-like, default=None
    Folder for the data; None takes scikit-learn's, see
    :func:`sklearn.datasets.get_data_home`. The images are in its subfolder
    ``sk_dml/{folder}``, where you may also put the original files yourself.
download_if_missing : bool, default=True
    Whether to download missing files. If False, an OSError is raised instead.
return_X_y : bool, default=False
    Whether to return ``(paths, target)`` instead of a Bunch.
n_retries : int, default=3
    Number of retries after a broken download, at least 0. A retry, or a later call,
    continues where it broke off.
delay : float, default=1.0
    Seconds between retries, at least 0."""

RETURNS = """\
data : :class:`~sklearn.utils.Bunch`
    Attributes:

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


def fetcher(*, folder, groups=""):
    """Return a decorator that checks the parameters of a fetcher and documents them."""
    more = f"\n    groups : ndarray of shape (n_samples,), dtype str\n        {groups}"
    shared = {
        "    <shared parameters>": PARAMETERS.format(folder=folder),
        "    <shared returns>": RETURNS.format(more=more if groups else ""),
    }
    check = validate_params(CONSTRAINTS, prefer_skip_nested_validation=True)

    def decorate(function):
        for mark, text in shared.items():
            if function.__doc__:  # None under python -OO
                function.__doc__ = function.__doc__.replace(mark, indent(text, "    "))
        return check(function)

    return decorate


def dataset_folder(data_home, name):
    """Return the absolute folder of a collection, created if it is missing."""
    folder = Path(get_data_home(data_home)).absolute() / "sk_dml" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def reading(path):
    """Raise an OSError that names the file if reading it fails."""
    try:
        yield
    except (ValueError, TypeError, LookupError) as error:
        raise OSError(f"{path} is damaged: {error!r}.") from error


def files_below(root):
    """Return all files below a folder, sorted, as relative paths with "/"."""
    paths = []
    for folder, _, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        paths += [(relative / name).as_posix() for name in names]
    return sorted(paths)


def check_complete(root, files, target, *, n_samples, n_classes):
    """Check the numbers of images and classes, and that all files (n,) exist."""
    again = f"Remove {root} to fetch it again."
    counts = len(files), len(np.unique(target))
    if counts != (n_samples, n_classes):
        raise OSError(
            f"{root} is incomplete: expected {n_samples} images of {n_classes} "
            f"classes, got {counts[0]} of {counts[1]}. {again}"
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
    """Return what a fetcher returns; files, target, is_train and more have shape (n,).

    The files are relative to ``root``.
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
