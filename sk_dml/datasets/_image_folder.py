"""Image folders: one subfolder for each class."""

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

    Files are listed, not opened, at any depth below the folder of a class. Hidden files
    and folders, whose names begin with a dot, are ignored.

    Parameters
    ----------
    root : str or path-like
        The folder.
    extensions : sequence of str, default=(".bmp", ".gif", ".jpeg", ".jpg", ".pgm", \
".png", ".ppm", ".tif", ".tiff", ".webp")
        Ends of the names of images, in upper or lower case, each with its dot.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Attributes:

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
        If anything is left out, with counts: files beside the folders of the classes,
        files with other extensions, classes without images, and links to folders within
        a class, which could be circular.

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
            f"extensions must be strings that begin with a dot, got {extensions!r}."
        )
    ends = tuple(end.lower() for end in extensions)
    entries = [entry for entry in sorted(os.listdir(root)) if not entry.startswith(".")]
    classes = [entry for entry in entries if (root / entry).is_dir()]
    paths: list[str] = []
    target: list[int] = []
    names: list[str] = []
    empty: list[str] = []
    others: Counter[str] = Counter()
    n_links = 0
    for name in classes:
        files, n_linked = _files(root / name)
        images = sorted(file for file in files if file.lower().endswith(ends))
        rest = set(files).difference(images)
        others.update(Path(file).suffix.lower() or "none" for file in rest)
        n_links += n_linked
        if images:
            paths += images
            target += [len(names)] * len(images)
            names.append(name)
        else:
            empty.append(name)
    examples = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
    counts = {
        "files beside the folders of classes": len(entries) - len(classes),
        f"files with other extensions ({', '.join(sorted(others))})": others.total(),
        "links to folders": n_links,
        f"classes without images ({examples})": len(empty),
    }
    left_out = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
    if not paths:
        raise ValueError(
            f"root must have a subfolder with images for each class, got {root}, which "
            f"has {left_out or 'nothing'}; extensions are {', '.join(ends)}."
        )
    if left_out:
        warn(f"Left out of {root}: {left_out}.")
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
    """Return all files below a folder, and the number of links to folders."""
    files, n_links = [], 0
    for here, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        n_links += sum(os.path.islink(os.path.join(here, name)) for name in folders)
        visible = (name for name in names if not name.startswith("."))
        files += [os.path.join(here, name) for name in visible]
    return files, n_links


def _raise(error):
    raise error
