"""What a training depends on, in a form that can be compared and shown."""

import enum
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches

from sk_dml._training._lazy import DecodedImages, LazyImages
from sk_dml.utils._image_sequence import ImageSequence

# Parameters that change nothing about what is learned, or are compared otherwise: what
# random_state leads to, by the seeds.
LEFT_OUT = {"checkpoint_dir", "random_state", "verbose", "warm_start", "device"}
BLOCK = 2**24  # bytes of the data that are copied at once
SIDE = 32  # of squares by which images of a dataset are told from others


def describe_run(embedder, data, **settings):
    """Describe the parameters and the data of a training.

    Parameters
    ----------
    embedder : BaseEmbedder
        Gives the parameters.
    data : dict of arrays or LazyImages
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
    if isinstance(value, ImageSequence):
        value = DecodedImages(value, SIDE, "skip")
    if isinstance(value, LazyImages):
        return value.describe()
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
