"""Checkpoints: the file from which a killed training continues.

The state of a training as a tree of tensors and plain values, a description of its data
and parameters, the lock of the directory, and the file.
"""

import enum
import errno
import hashlib
import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from joblib.hashing import NumpyHasher
from safetensors import SafetensorError

from sk_dml._training._callbacks import (
    complete_epochs,
    load_history,
    tell,
    users_callbacks,
)
from sk_dml._utils._warn import warn

# Of the state: a tree of plain values, and tensors by their paths in it


def encode(value, tensors, path="state"):
    """Return a tree as JSON holds it; copy its tensors and arrays into ``tensors``."""
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
        f"checkpoint_dir cannot be used: {path} is a {type(value).__name__}. Allowed "
        "are tensors, numbers, strings, and dicts, lists and tuples of them."
    )


def _put(tensor, path, tensors):
    while path in tensors:  # the keys 1 and "1", say
        path += "'"
    tensors[path] = tensor
    return path


def decode(tree, tensors):
    """Return the tree that :func:`encode` took apart."""
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
    return {decode(key, tensors): decode(item, tensors) for key, item in content}


def training_state(net):
    """Return all that decides how a training goes on, with the net's own tensors."""
    return {
        "history": complete_epochs(net.history),
        "stopped": net.stopped_,
        **{name: part.state_dict() for name, part in _parts(net).items()},
    }


def load_training_state(net, state):
    """Bring a net, initialized alike, to where another was."""
    for name, part in _parts(net).items():
        part.load_state_dict(state[name])
    net.stopped_ = state["stopped"]
    load_history(net, state["history"])


def _parts(net):
    """Return all that has a state, by name."""
    parts: dict[str, Any] = {
        "module": net.module_,
        "criterion": net.criterion_,
        "optimizer": net.optimizer_,
        "random": net.random_,
        "schedule": net.schedule_,
    }
    if net.scaler_ is not None:
        parts["scaler"] = net.scaler_
    return parts | {f"callback {name}": c for name, c in net.callbacks_ if has_state(c)}


def has_state(part):
    """Return whether an object can be saved and loaded."""
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


# Of the data and parameters

# Parameters that change nothing that is learned, or are compared otherwise:
# random_state by the seeds drawn from it, device by its type.
LEFT_OUT = {"checkpoint_dir", "random_state", "verbose", "warm_start", "device"}


def describe_run(embedder, data, **settings):
    """Return the description of the parameters, the data and other settings of a fit.

    It consists of plain values, the same for the same training in another process.
    """
    parameters = embedder.get_params(deep=False)
    run = {k: v for k, v in parameters.items() if k not in LEFT_OUT}
    run = {"estimator": type(embedder), **run, **data, **settings}
    return json.loads(json.dumps({k: describe(v) for k, v in run.items()}))


def describe_data(X):
    """Return a text about samples or labels that is the same for the same ones."""
    if hasattr(X, "fingerprint"):  # a Source, or an ImageSequence
        return X.fingerprint()
    return f"{X.dtype} of shape {X.shape}, {_hash(np.ascontiguousarray(X))}"


def describe(value):
    """Return plain values as they are, and a text with a hash in place of others."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) or hasattr(value, "fingerprint"):
        return describe_data(value)
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}, {_hash(value)}"
    if isinstance(value, enum.Enum):
        return f"{_name(type(value))}.{value.name}"
    if hasattr(value, "__qualname__"):  # classes and functions
        return _name(value)
    if hasattr(value, "get_params"):
        return [_name(type(value)), describe(value.get_params())]
    try:
        return f"{_name(type(value))}, {_hash(value)}"
    except Exception:  # it cannot be pickled
        return _name(type(value))


def _name(value):
    return f"{value.__module__}.{value.__qualname__}"


class _Hasher(NumpyHasher):
    """joblib's hasher, for which equal tensors, modules and functions are equal."""

    def save(self, obj):
        if isinstance(obj, torch.Tensor):
            values = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            obj = ("tensor", str(obj.dtype), tuple(obj.shape), values.numpy())
        elif isinstance(obj, torch.nn.Module):
            obj = ("module", repr(obj), dict(obj.state_dict()))
        elif isinstance(obj, (type, FunctionType, BuiltinFunctionType)):
            obj = _name(obj)  # what is defined in a function cannot be pickled
        super().save(obj)


def _hash(value):
    return _Hasher("md5").hash(value)[:16]


def differences(there, here):
    """Return a text on every entry in which two descriptions differ."""
    names = [*here, *(name for name in there if name not in here)]
    return [
        f"{name} was {_shown(there, name)} and is {_shown(here, name)}"
        for name in names
        if (name in there, there.get(name)) != (name in here, here.get(name))
    ]


def _shown(run, name):
    return repr(run[name]) if name in run else "not there"


# Of the directory

LOCK = "checkpoint.lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP}  # as of some network file systems


@contextmanager
def locked(directory):
    """Keep other fits out of a directory, which is made if needed, in a block.

    The lock is the operating system's: it is gone when the process is, while the file
    stays and means nothing by itself. It keeps out other threads of the process too.
    """
    given = f"checkpoint_dir={os.fspath(directory)!r}"
    lock = FileLock(Path(directory, LOCK), timeout=0)
    try:
        os.makedirs(directory, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise BlockingIOError(
            errno.EAGAIN,
            f"{given} is in use by another fit: wait for its end, or give each fit its "
            "own directory.",
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            kept = " It must be a directory." if os.path.isfile(directory) else ""
            raise _failure(f"{given} cannot be used", error, kept) from error
        warn(f"{given} cannot be locked ({error.strerror}): let no other fit use it.")
    try:
        yield
    finally:
        lock.release()


def _failure(text, error, kept=""):
    """Return an OSError with the number and the reason of another."""
    text = f"{text}: {error.strerror or error}.{kept}"
    return OSError(text) if error.errno is None else OSError(error.errno, text)


# Of the file
#
# How resuming works. A checkpoint is the state of a training between two epochs: the
# weights and buffers of the network and the loss, the optimizer's moments, the states
# of all random generators, the schedule, validation, the callbacks that have a state,
# and the history. One is written before the first epoch, and after each one, when all
# callbacks have seen its end. A fit that finds one builds everything as the first fit
# did, from the seeds in the file, loads these states over it, and trains the epochs
# that are left. Nothing else decides how an epoch goes, so the weights at the end are
# those of an undisturbed fit, to the bit. An epoch that was cut short is trained again
# from its beginning.
#
# A kill is safe at any moment because the file is never changed, only replaced: the new
# content goes to a temporary file, is forced to the disk, and is renamed over the old
# file, which operating systems do as a whole. So either the old or the new checkpoint
# is there. After a kill in between there is a temporary file too, which the next fit
# deletes. The lock makes sure that no two fits do this at once.
#
# The file is in the safetensors format: tensors, and one JSON text as metadata. Reading
# it executes nothing. The checksum finds damage that the format does not.

FORMAT = 3
NAME = "checkpoint.safetensors"
PREFIX, SUFFIX = "checkpoint-", ".tmp"
START = "the fit before"


@contextmanager
def open_checkpoint(embedder, data, seeds, device):
    """Lock the ``checkpoint_dir`` of a fit, and yield its Checkpoint.

    ``data`` holds all that the fit sees, by the names to use in an error; ``seeds`` are
    those drawn from ``random_state``.
    """
    with locked(embedder.checkpoint_dir):
        previous = vars(embedder).get("net_")
        start = previous and [describe(previous.module_), describe(previous.criterion_)]
        random_state = embedder.random_state
        if isinstance(random_state, np.random.RandomState):
            random_state = f"a RandomState that drew {seeds}"
        settings = {"random_state": random_state, "device": device.type, START: start}
        run = describe_run(embedder, data, **settings)
        # An interrupted training may continue.
        starts = [start, vars(embedder).get("_interrupted_from", start)]
        spread = embedder._depends_on_max_epochs
        yield Checkpoint(embedder.checkpoint_dir, run, seeds, starts, spread)


class Checkpoint:
    """The latest epoch of a training, in one file of a directory.

    ``run`` describes the parameters and the data, ``starts`` what the training in the
    file may have begun from. ``spread`` names the parameters by which all epochs depend
    on their number: without any, a training may be given more epochs.
    """

    def __init__(self, directory, run, seeds, starts=(), spread=()):
        self.path = Path(directory) / NAME
        self.run, self.seeds = run, [int(seed) for seed in seeds]
        self.starts, self.spread = starts, spread
        self.n_saved: int | None = None  # epochs in the file
        self.n_before: int | None = None  # epochs of the fits before this training
        for leftover in Path(directory).glob(f"{PREFIX}*{SUFFIX}"):
            leftover.unlink(missing_ok=True)  # of a fit that was killed while it wrote
        if self.path.exists():
            self._check(self._read()[0])

    @property
    def start(self):
        """Description of what the training began from."""
        return self.run[START]

    def _check(self, header):
        """Refuse the file of another training."""
        there, n_done = dict(header["run"]), header["n_epochs"] - header["n_before"]
        if there[START] in self.starts:
            self.run[START] = there[START]
        if not self.spread and n_done <= self.run["max_epochs"]:
            there["max_epochs"] = self.run["max_epochs"]
        if differing := differences(there, self.run):
            raise ValueError(
                f"checkpoint_dir={str(self.path.parent)!r} holds another training: "
                f"{'; '.join(differing)}. Give the same data and parameters to "
                "continue it, or an empty directory." + self._advice(there, n_done)
            )
        if header["versions"] != _versions():
            warn(
                f"{str(self.path)!r} was written with {header['versions']}, and this "
                f"is {_versions()}: the weights may differ from those of an "
                "undisturbed training."
            )
        self.seeds = header["seeds"]
        self.n_saved, self.n_before = header["n_epochs"], header["n_before"]

    def _advice(self, there, n_done):
        """Return what to do in place of more or fewer epochs, or a warm start."""
        text = ""
        if n_done > self.run["max_epochs"]:
            text += f" {n_done} of its epochs are done already."
        elif there["max_epochs"] != self.run["max_epochs"]:
            text += (
                f" With {' and '.join(self.spread)} every epoch depends on max_epochs: "
                "to train for longer, fit with the same max_epochs, then once more "
                "with warm_start=True and another checkpoint_dir."
            )
        start = self.run[START]
        if start is not None and start != there[START]:
            text += (
                " With warm_start=True this fit continues the fit before, which is "
                "another training: give it another checkpoint_dir."
            )
        return text

    def begin(self, n_before):
        """Return the epochs before this training: the file's, or else ``n_before``."""
        if self.n_before is None:
            self.n_before = n_before
        return self.n_before

    def restore(self, net, n_planned):
        """Load the file into a net that is about to be trained, or write the first one.

        Return the epochs that are done: all ``n_planned`` if it stopped early.
        """
        if self.n_saved is None:  # what cannot be saved fails here, and seeds are kept
            self.save(net)
            return 0
        header, tensors = self._read()
        load_training_state(net, decode(header["state"], tensors))
        n_done = len(net.history) - self.begin(0)
        name, path = self.run["estimator"].rpartition(".")[2], str(self.path)
        if net.stopped_ or n_done >= n_planned:
            tell(net.verbose, f"{name}: was trained already, loaded from {path!r}")
            return n_planned
        tell(net.verbose, f"{name}: goes on after epoch {self.n_saved}, from {path!r}")
        stateless = [name for name, c in users_callbacks(net) if not has_state(c)]
        if stateless:
            warn(
                f"Training continues after epoch {self.n_saved}, but {len(stateless)} "
                f"of the callbacks begin anew: {stateless} have no state_dict and "
                "load_state_dict."
            )
        return n_done

    def save(self, net):
        """Replace the file by the state of a net between two epochs.

        If it cannot be written, raise OSError; the file before stays.
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
        text = json.dumps(header)
        metadata = {"sk_dml": text, "checksum": _checksum(text, tensors)}
        try:
            _replace(self.path, safetensors.torch.save(tensors, metadata))
        except OSError as error:
            kept = f" The one of epoch {self.n_saved} is kept, and fit continues it."
            raise _failure(
                f"checkpoint_dir: {str(self.path)!r} of epoch {n_epochs} cannot be "
                "written",
                error,
                "" if self.n_saved is None else kept,
            ) from error
        self.n_saved = n_epochs

    def _read(self):
        """Return the metadata and the tensors of the file; refuse a damaged one."""
        given = f"checkpoint_dir: {str(self.path)!r}"
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                if "sk_dml" not in metadata:
                    raise ValueError("sk_dml did not write it")
                text = metadata["sk_dml"]
                header = json.loads(text)
                # Clones: what is read in place depends on the file.
                names = file.keys()
                tensors = {name: file.get_tensor(name).clone() for name in names}
            if header["format"] == FORMAT:
                if metadata.get("checksum") == _checksum(text, tensors):
                    return header, tensors
                raise ValueError("the checksum does not match")
        except OSError as error:
            raise _failure(f"{given} cannot be read", error) from error
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{given} is damaged or foreign ({error}). Delete it to train from the "
                "beginning."
            ) from error
        raise ValueError(
            f"{given} has the format {header['format']}, and this version of sk_dml "
            f"reads {FORMAT}. Use the version that wrote it, or an empty directory."
        )


def _replace(path, content):
    """Write a file so that at any moment it is the old or the new one, as a whole."""
    # Not of tempfile, whose files nobody else may read, whatever the umask.
    temporary = path.parent / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # a rename is on the disk when its directory is
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _checksum(text, tensors):
    """Return the checksum of the metadata, and of the tensors with their names."""
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _versions():
    return {"torch": str(torch.__version__), "safetensors": safetensors.__version__}
