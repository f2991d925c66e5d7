"""Helpers that the rest of the package, and its tests, build on."""

from sk_dml.utils._device import resolve_device
from sk_dml.utils._discovery import all_embedders
from sk_dml.utils._docstring import add_shared_documentation
from sk_dml.utils._embed import embed
from sk_dml.utils._labels import as_labels, encode_label_sets, encode_labels
from sk_dml.utils._random import get_torch_state, set_torch_state, torch_seed
from sk_dml.utils._warn import warn

__all__ = [
    "add_shared_documentation",
    "all_embedders",
    "as_labels",
    "embed",
    "encode_label_sets",
    "encode_labels",
    "get_torch_state",
    "resolve_device",
    "set_torch_state",
    "torch_seed",
    "warn",
]
