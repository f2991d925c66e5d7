"""Checkpoints: a file that a training which was killed goes on from."""

import enum
import errno
import functools
import hashlib
import json
import os
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from sklearn.utils import gen_batches

from sk_dml._training._progress import tell
from sk_dml._training._state import has_state, load_training_state, training_state
from sk_dml._utils._warn import warn


def encode(value, tensors, path="state"):
    """Take the tensors out of a tree and make the rest fit for JSON.

    Parameters
    ----------
    value : object
        A tree of dicts, lists and tuples with tensors, arrays, numbers, strings and
        None.
    tensors : dict
        Receives a copy of every tensor and array, in memory, under its path.
    path : str, default="state"
        Where in a larger tree the value is.

    Returns
    -------
    object
        What :func:`decode` makes the tree from.

    Raises
    ------
    TypeError
        If there is something else in the tree.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        # A copy: safetensors takes no tensors that share memory.
        copy = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": _put(copy, path, tensors)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": _put(torch.from_numpy(value.copy()), path, tensors)}
    if isinstance(value, dict):
        pairs = [
            [encode(key, tensors, path), encode(item, tensors, f"{path}/{key}")]
            for key, item in value.items()
        ]
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [encode(item, tensors, f"{path}/{i}") for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise TypeError(
        f"checkpoint_dir cannot be used here: {path} is a {type(value).__name__}, and "
        "checkpoints hold tensors, numbers, strings, and dicts, lists and tuples of "
        "them."
    )


def _put(tensor, path, tensors):
    while path in tensors:  # the keys 1 and "1", say
        path += "'"
    tensors[path] = tensor
    return path


def decode(tree, tensors):
    """Put a tree back together.

    Parameters
    ----------
    tree : object
        As :func:`encode` returns it.
    tensors : callable or dict
        ``tensors[path]`` is the tensor of that path.

    Returns
    -------
    object
    """
    if isinstance(tree, list):
        return [decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "tuple":
        return tuple(decode(item, tensors) for item in content)
    return {_key(key): decode(item, tensors) for key, item in content}


def _key(key):
    return tuple(key["tuple"]) if isinstance(key, dict) else key


# Parameters that change nothing about what is learned, or are compared otherwise: what
# random_state leads to, by the seeds.
LEFT_OUT = {"checkpoint_dir", "random_state", "verbose", "warm_start", "device"}
BLOCK = 2**24  # bytes of the data that are copied at once


def describe_run(embedder, data, **settings):
    """Describe the parameters and the data of a training.

    Parameters
    ----------
    embedder : BaseEmbedder
        Gives the parameters.
    data : dict of arrays and Sources
        All arrays that the training sees, by name.
    **settings : dict
        What else decides the outcome.

    Returns
    -------
    dict of str to plain values
        The same for the same training, in another process too.
    """
    parameters = embedder.get_params(deep=False)
    run = {k: v for k, v in parameters.items() if k not in LEFT_OUT}
    run = {"estimator": type(embedder), **run, **data, **settings}
    return json.loads(json.dumps({k: describe(v) for k, v in run.items()}))


def describe(value: Any):
    """Describe a value by plain ones that are the same in every process.

    Parameters
    ----------
    value : object
        Arrays, tensors and modules are described by their contents, other objects by
        their parameters if they have any.

    Returns
    -------
    None, bool, int, float, str, list or dict
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__module__}.{type(value).__qualname__}.{value.name}"
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        content = _digest(flat.view(torch.uint8).numpy())
        return f"{value.dtype} of shape {tuple(value.shape)}, {content}"
    if hasattr(value, "fingerprint"):  # a Source, or an ImageSequence
        return value.fingerprint()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}, {_digest(value)}"
    if isinstance(value, functools.partial):
        return ["partial", *map(describe, (value.func, value.args, value.keywords))]
    if hasattr(value, "__code__"):
        return [f"{value.__module__}.{value.__qualname__}", *_describe_code(value)]
    if hasattr(value, "__qualname__"):  # classes, and functions that are compiled
        return f"{value.__module__}.{value.__qualname__}"
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, torch.nn.Module):
        content = [repr(value), describe(value.state_dict())]
        text = json.dumps(content).encode()
        return f"{name}, {hashlib.sha256(text).hexdigest()[:16]}"
    if hasattr(value, "get_params"):
        return [name, describe(value.get_params())]
    return name


def _describe_code(function):
    """Describe what a function does by its code and what that refers to."""
    code = function.__code__
    constants = [c for c in code.co_consts if not hasattr(c, "co_code")]
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    # Values of other kinds are described by their type alone.
    values = [describe(v) for v in (constants, function.__defaults__, cells)]
    return [hashlib.sha256(code.co_code).hexdigest()[:16], list(code.co_names), values]


def _digest(array):
    digest = hashlib.sha256()
    if array.dtype.kind == "O":
        digest.update(repr(array.tolist()).encode())
        return digest.hexdigest()[:16]
    array = np.atleast_1d(array)
    n_rows = max(1, BLOCK * len(array) // max(array.nbytes, 1))
    for rows in gen_batches(len(array), n_rows) if len(array) else ():
        digest.update(array[rows].tobytes())
    return digest.hexdigest()[:16]


def differences(there, here):
    """Say in which entries two descriptions differ.

    Parameters
    ----------
    there, here : dict
        As :func:`describe_run` returns them.

    Returns
    -------
    list of str
        One for each entry.
    """
    names = [*here, *(name for name in there if name not in here)]
    return [
        f"{name} was {_shown(there, name)} and is {_shown(here, name)}"
        for name in names
        if (name in there, there.get(name)) != (name in here, here.get(name))
    ]


def _shown(run, name):
    return repr(run[name]) if name in run else "not there"


if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_NAME = "checkpoint.lock"
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
        return open(Path(directory, LOCK_NAME), "ab")
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


FORMAT = 2
NAME = "checkpoint.safetensors"
PREFIX, SUFFIX = "checkpoint-", ".tmp"
START = "the fit before"


@contextmanager
def open_checkpoint(embedder, data, seeds, device):
    """Find out where the checkpoints of a fit go, and what is there.

    No other fit can use the directory meanwhile.

    Parameters
    ----------
    embedder : BaseEmbedder
        About to be fitted.
    data : dict of str to ndarray
        All data that the fit sees, by the names to use in an error.
    seeds : list of int
        What ``random_state`` led to.
    device : torch.device

    Yields
    ------
    Checkpoint or None
        None if ``checkpoint_dir`` is None.

    Raises
    ------
    OSError
        If the directory cannot be used, or another fit is using it.
    ValueError
        If the file there is damaged or holds another training.
    """
    directory = embedder.checkpoint_dir
    if directory is None:
        yield None
        return
    with locked(directory):
        previous = vars(embedder).get("net_")
        start = previous and [describe(previous.module_), describe(previous.criterion_)]
        random_state = embedder.random_state
        if isinstance(random_state, np.random.RandomState):
            random_state = f"a RandomState that drew {seeds}"
        run = describe_run(
            embedder,
            data,
            random_state=random_state,
            device=device.type,
            **{START: start},
        )
        starts = [start]
        if hasattr(embedder, "_interrupted_from"):  # which may go on
            starts.append(embedder._interrupted_from)
        spread = embedder._spread_over_epochs
        yield Checkpoint(directory, run, seeds, starts=starts, spread=spread)


class Checkpoint:
    """The latest epoch of a training, in one file.

    The file is in the safetensors format: the tensors, and in its metadata, as JSON,
    all else, with checksums of both. Nothing in it is ever executed. A new one replaces
    the old one as a whole, so that whatever happens there is either the one or the
    other.

    Parameters
    ----------
    directory : str or path-like
        Where the file is.
    run : dict
        The parameters and the data, as ``describe_run`` returns them.
    seeds : list of int
        Seeds of the training.
    starts : list, default=()
        What the training in the file may have begun from, as ``run`` describes it.
    spread : list of str, default=()
        The parameters by which all epochs depend on how many there are. Without any, a
        training may be given more epochs.

    Attributes
    ----------
    path : Path
        The file.
    seeds : list of int
        Those of the training in the file, if there is one.
    n_before : int or None
        Epochs of the fits before that training; None before :meth:`begin`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged or holds another training.
    """

    def __init__(self, directory, run, seeds, *, starts=(), spread=()):
        self.path = Path(directory) / NAME
        self.run, self.seeds = run, [int(seed) for seed in seeds]
        self.starts, self.spread = starts, spread
        self.n_saved: int | None = None  # epochs in the file
        self.n_before: int | None = None
        try:
            # Of a training that was killed while it wrote.
            for leftover in Path(directory).glob(f"{PREFIX}*{SUFFIX}"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(
                f"checkpoint_dir={str(directory)!r} cannot be used", error
            ) from error
        if self.path.exists():
            self._check()

    @property
    def start(self):
        """What the training began from."""
        return self.run[START]

    def _check(self):
        """Refuse a file that is damaged or of another training."""
        with self._open() as file:
            header = self._header(file)
        there, n_done = dict(header["run"]), header["n_epochs"] - header["n_before"]
        if there[START] in self.starts:
            self.run[START] = there[START]
        may_change = not self.spread and n_done <= self.run["max_epochs"]
        if may_change:
            there["max_epochs"] = self.run["max_epochs"]
        differing = differences(there, self.run)
        if differing:
            raise ValueError(
                f"checkpoint_dir holds another training, in {str(self.path)!r}: "
                f"{'; '.join(differing)}. Give the same data and parameters to "
                "continue it, or an empty directory to begin another."
                + self._why_not_longer(there, n_done)
                + self._why_not_warm(there)
            )
        if header["versions"] != _versions():
            warn(
                f"The checkpoint {str(self.path)!r} was written with "
                f"{header['versions']}, and this is {_versions()}: training continues, "
                "but may not end with the weights that it would have had."
            )
        self.seeds = header["seeds"]
        self.n_saved, self.n_before = header["n_epochs"], header["n_before"]

    def _why_not_longer(self, there, n_done):
        if there["max_epochs"] == self.run["max_epochs"]:
            return ""
        if n_done > self.run["max_epochs"]:
            return f" Of its epochs {n_done} are done already."
        return (
            f" With {' and '.join(self.spread)} every epoch depends on max_epochs, so "
            "there is no longer training that begins alike: to train for longer, fit "
            "with the same max_epochs, then once more with warm_start=True and "
            "another checkpoint_dir."
        )

    def _why_not_warm(self, there):
        if there[START] == self.run[START] or self.run[START] is None:
            return ""
        return (
            " With warm_start=True this fit goes on from the fit before, which makes "
            "it another training: give it a checkpoint_dir of its own."
        )

    def begin(self, n_before):
        """Tell where the training begins.

        Parameters
        ----------
        n_before : int
            Epochs of the fits before, for a training that is not in the file.

        Returns
        -------
        int
            Epochs of the fits before the training in the file, if there is one.
        """
        if self.n_before is None:
            self.n_before = n_before
        return self.n_before

    def restore(self, net, n_planned):
        """Bring a net to the epoch in the file, if there is one.

        Parameters
        ----------
        net : EmbeddingNet
            Initialised by the seeds of the checkpoint, about to be trained.
        n_planned : int
            Epochs of the training.

        Returns
        -------
        int
            The epochs that are done; all that were planned, if it stopped early.
        """
        if self.n_saved is None:
            return 0
        with self._open() as file:
            header = self._header(file)
            # Clones: what is read in place depends on the file.
            names = file.keys()
            tensors = {name: file.get_tensor(name).clone() for name in names}
        if _checksum(tensors) != header["checksum"]:
            raise self._damaged("its tensors do not match their checksum")
        load_training_state(net, decode(header["state"], tensors))
        n_done = len(net.history) - self.begin(0)
        name, place = self.run["estimator"].rpartition(".")[2], str(self.path)
        if net.stopped_ or n_done >= n_planned:
            tell(net.verbose, f"{name}: was trained already, loaded from {place!r}")
            return n_planned
        tell(net.verbose, f"{name}: goes on after epoch {self.n_saved}, from {place!r}")
        stateless = [name for name, c in net.callbacks_ if not has_state(c)]
        if stateless:
            warn(
                f"Training continues after epoch {self.n_saved}, but {len(stateless)} "
                f"of the callbacks begin anew: {stateless} have no state_dict and "
                "load_state_dict."
            )
        return n_done

    def save(self, net):
        """Replace the file by the present state of a net.

        Parameters
        ----------
        net : EmbeddingNet
            Between two epochs.

        Raises
        ------
        OSError
            If the file cannot be written; the one before it stays.
        TypeError
            If the state holds what a checkpoint cannot.
        """
        state = training_state(net)
        n_epochs = len(state["history"])
        if n_epochs == self.n_saved:
            return
        tensors: dict[str, torch.Tensor] = {}
        header = {
            "format": FORMAT,
            "n_epochs": n_epochs,
            "n_before": self.n_before,
            "seeds": self.seeds,
            "versions": _versions(),
            "run": self.run,
            "state": encode(state, tensors),
        }
        text = json.dumps({**header, "checksum": _checksum(tensors)})
        metadata = {"sk_dml": text, "checksum": _checksum({"sk_dml": text})}
        content = safetensors.torch.save(tensors, metadata)
        try:
            _replace(self.path, content)
        except OSError as error:
            kept = "There is none from before."
            if self.n_saved is not None:
                kept = (
                    f"That of epoch {self.n_saved} is kept: solve this, and fit with "
                    "the same parameters and data continues from it."
                )
            raise self._failure(
                f"checkpoint_dir: the checkpoint of epoch {n_epochs} cannot be written "
                f"to {str(self.path)!r}",
                error,
                kept,
            ) from error
        self.n_saved = n_epochs

    def _open(self):
        try:
            return safetensors.safe_open(self.path, framework="pt", device="cpu")
        except SafetensorError as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise self._failure(
                f"checkpoint_dir: {str(self.path)!r} cannot be read", error
            ) from error

    def _header(self, file):
        metadata = file.metadata() or {}
        try:
            text = metadata["sk_dml"]
            header = json.loads(text)
            known = header["format"]
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged("it holds none of sk_dml's metadata") from error
        if known != FORMAT:
            raise ValueError(
                f"checkpoint_dir: {str(self.path)!r} has the format {known}, and this "
                f"version of sk_dml reads {FORMAT} only. Use the version that wrote "
                "it, or an empty directory."
            )
        if metadata.get("checksum") != _checksum({"sk_dml": text}):
            raise self._damaged("its metadata do not match their checksum")
        return header

    def _damaged(self, reason):
        return ValueError(
            f"checkpoint_dir: {str(self.path)!r} is damaged or no checkpoint "
            f"({reason}). Delete it to train from the beginning."
        )

    @staticmethod
    def _failure(what, error, *more):
        reason = error.strerror or str(error)
        text = " ".join([f"{what}: {reason}.", *more])
        return OSError(text) if error.errno is None else OSError(error.errno, text)


def _replace(path, content):
    """Write a file so that at any moment it is the old or the new one, as a whole."""
    # Not of tempfile, whose files nobody else may read, whatever the umask.
    name = path.parent / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    try:
        with open(name, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # a rename is on the disk when its directory is
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _checksum(values):
    """Sum up texts and tensors by name: their contents, and what they are."""
    digest = hashlib.sha256()
    for name, value in sorted(values.items()):
        if isinstance(value, str):
            kind, content = "text", value.encode()
        else:
            kind = f"{value.dtype} {tuple(value.shape)}"
            content = value.reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {kind} ".encode())
        digest.update(content)
    return digest.hexdigest()


def _versions():
    return {"torch": str(torch.__version__), "safetensors": safetensors.__version__}
