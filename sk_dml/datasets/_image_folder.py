"""Images in folders, one a class."""

import os
from collections import Counter
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from sk_dml._inputs._decode import IMAGE_SUFFIXES
from sk_dml._utils._warn import warn


@validate_params(
    {
        "root": [str, PathLike],
        "extensions": ["array-like"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_folder(root, *, extensions=IMAGE_SUFFIXES, return_X_y=False):
    """List the images of a folder whose subfolders are the classes.

    Files are listed, not opened. Those in subfolders of a class's folder belong to the
    class. Hidden files and folders, whose names begin with a dot, are ignored.

    Parameters
    ----------
    root : str or path-like
        The folder.
    extensions : sequence of str, default=(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", \
".png", ".ppm", ".tif", ".tiff", ".webp")
        Which files are images, by the end of their names, in upper or lower case.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of all.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        paths : ndarray of shape (n_samples,), dtype str
            The files, ``root`` in front, sorted within every class.
        target : ndarray of shape (n_samples,), dtype int64
            Their classes, from 0 to n_classes - 1, in order.
        target_names : ndarray of shape (n_classes,), dtype str
            The names of the subfolders that hold images, sorted.
        DESCR : str
            A description.

    (paths, target) : tuple of two ndarrays
        If ``return_X_y=True``.

    Raises
    ------
    OSError
        If ``root`` or a folder in it cannot be listed: FileNotFoundError where there is
        no ``root``, NotADirectoryError where it is a file.
    ValueError
        If there is no image, or extensions do not begin with a dot.

    Warns
    -----
    UserWarning
        If anything is left out: files beside the classes' folders, files of other
        extensions, classes without images, and links to folders within a class, which
        could run in circles. It says how many.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sk_dml.datasets import load_image_folder
    >>> with TemporaryDirectory() as root:
    ...     for name in ("wren/1.jpg", "wren/2.JPG", "crow/1.png"):
    ...         (Path(root) / name).parent.mkdir(exist_ok=True)
    ...         (Path(root) / name).touch()
    ...     photographs = load_image_folder(root)
    >>> photographs.target_names
    array(['crow', 'wren'], dtype='<U4')
    >>> photographs.target
    array([0, 1, 1])
    """
    root = Path(root)
    if not all(isinstance(end, str) and end.startswith(".") for end in extensions):
        raise ValueError(
            f'extensions must be a sequence such as (".jpg", ".png"), got '
            f"{extensions!r}."
        )
    ends = tuple(end.lower() for end in extensions)
    entries = [entry for entry in sorted(os.listdir(root)) if not _is_hidden(entry)]
    classes = [entry for entry in entries if (root / entry).is_dir()]
    paths: list[str] = []
    target: list[int] = []
    names: list[str] = []
    empty: list[str] = []
    others: Counter[str] = Counter()
    n_links = 0
    for name in classes:
        files, n_linked = _files(root / name)
        found = [file for file in files if file.lower().endswith(ends)]
        others.update(
            Path(file).suffix.lower() or "none"
            for file in files
            if not file.lower().endswith(ends)
        )
        n_links += n_linked
        if found:
            paths += sorted(found)
            target += [len(names)] * len(found)
            names.append(name)
        else:
            empty.append(name)
    left_out = [
        f"{count} {what}"
        for count, what in (
            (len(entries) - len(classes), "files beside the classes' folders"),
            (
                others.total(),
                f"files of other extensions ({', '.join(sorted(others))})",
            ),
            (n_links, "links to folders"),
            (len(empty), f"classes without images ({_some(empty)})"),
        )
        if count
    ]
    if not paths:
        raise ValueError(
            f"{root} holds no image in any subfolder, one a class; looked for "
            f"{', '.join(ends)}, found {', '.join(left_out) or 'nothing'}."
        )
    if left_out:
        warn(f"Left out of {root}: {', '.join(left_out)}.")
    X, y = np.asarray(paths), np.asarray(target, dtype=np.int64)
    if return_X_y:
        return X, y
    return Bunch(
        paths=X,
        target=y,
        target_names=np.asarray(names),
        DESCR=f"{len(paths)} images of {len(names)} classes in {root}.",
    )


def _files(folder):
    """List all files below a folder, and count the links to folders."""
    files, n_links = [], 0
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        n_links += sum(os.path.islink(os.path.join(here, name)) for name in folders)
        files += [os.path.join(here, name) for name in names if not _is_hidden(name)]
    return files, n_links


def _raise(error):
    raise error


def _is_hidden(name):
    return name.startswith(".")


def _some(names, n=3):
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
