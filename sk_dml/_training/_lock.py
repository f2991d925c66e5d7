"""A lock on a directory, which ends with the process that holds it."""

import errno
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from sk_dml.utils import warn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = "checkpoint.lock"
IN_USE = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}

# The locks of POSIX are those of a process: among its own threads, this is what tells.
_held: dict[tuple[int, str], object] = {}


@contextmanager
def locked(directory):
    """Keep other fits out of a directory in a ``with`` block.

    The lock is on an open file of the directory. It is gone when the process is,
    however that ends; the file stays and means nothing by itself.

    Parameters
    ----------
    directory : str or path-like
        Made if it does not exist.

    Raises
    ------
    BlockingIOError
        If another fit, of this process or another, is in such a block.
    OSError
        If the directory or the file cannot be made.

    Warns
    -----
    UserWarning
        If the file system knows no locks: nothing is kept out then.
    """
    key, own = (os.getpid(), os.path.realpath(directory)), object()
    if _held.setdefault(key, own) is not own:
        # Not even opened here: to close it would take the lock from the other thread.
        raise _in_use(directory)
    try:
        with _opened(directory) as file:
            _lock(file, directory)
            yield
    finally:
        del _held[key]


def _opened(directory):
    try:
        os.makedirs(directory, exist_ok=True)
        return open(Path(directory, NAME), "ab")
    except OSError as error:
        raise OSError(
            error.errno,
            f"checkpoint_dir={os.fspath(directory)!r} cannot be used: "
            f"{error.strerror}.",
        ) from error


def _lock(file, directory):
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            # Not flock, which forked workers would go on holding.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in IN_USE:
            raise _in_use(directory) from error
        warn(
            f"checkpoint_dir={os.fspath(directory)!r} cannot be locked "
            f"({error.strerror}): take care that no other fit uses it meanwhile."
        )


def _in_use(directory):
    return BlockingIOError(
        errno.EAGAIN,
        f"checkpoint_dir={os.fspath(directory)!r} is in use by another fit: wait for "
        "its end, or give every fit a directory of its own.",
    )
