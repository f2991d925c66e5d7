"""Kinds of X: rows, arrays of images, files and datasets of images."""

from math import prod

from sk_dml._inputs._files import DecodedImages
from sk_dml._inputs._images import ArrayImages, StoredImages
from sk_dml._inputs._rows import Rows
from sk_dml._inputs._source import Source

# The kinds of X besides rows. The last one that accepts X reads it.
KINDS: list[type[Source]] = [ArrayImages, StoredImages, DecodedImages]


def find_kind(X):
    """Return the Source class that reads X: that of rows if no other accepts it."""
    for kind in reversed(KINDS):
        if kind.accepts(X):
            return kind
    return Rows


def make_source(embedder, X, *, reset):
    """Return X as a Source, checked; with ``reset`` the embedder learns what it is."""
    if isinstance(X, Source):  # checked before
        return X
    if not reset:
        fitted = embedder._fitted_input
        source = find_kind(X)(X, embedder, fitted)
        source.check_matches(fitted, type(embedder).__name__)
        return source
    vars(embedder).pop("feature_names_in_", None)  # rows may set it again
    source = find_kind(X)(X, embedder)
    embedder.n_features_in_ = prod(source.sample_shape)
    embedder.image_size_ = source.image_size
    embedder._fitted_input = source.traits()
    return source
