"""Trees of tensors and plain values, as tensors and JSON."""

import numpy as np
import torch


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
