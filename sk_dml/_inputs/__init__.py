"""What X may be: rows, arrays of images, files and datasets of images."""

from sk_dml._inputs._files import DecodedImages
from sk_dml._inputs._images import ArrayImages, StoredImages
from sk_dml._inputs._rows import Rows
from sk_dml._inputs._source import Source

# All kinds of X. The last one that accepts X reads it; rows are what is left.
KINDS: list[type[Source]] = [Rows, ArrayImages, StoredImages, DecodedImages]


def find_kind(X):
    """Return the Source class that reads X."""
    return next(kind for kind in reversed(KINDS) if kind.accepts(X))


def make_source(embedder, X, *, reset):
    """Return X as a Source, checked; with ``reset`` the embedder learns what it is."""
    if isinstance(X, Source):  # checked before
        return X
    fitted = None if reset else embedder._fitted_input
    source = find_kind(X)(X, embedder, fitted)
    if fitted is not None:
        source.check_matches(fitted, type(embedder).__name__)
        return source
    embedder._fitted_input = source.traits()
    embedder.image_size_ = source.image_size
    source.keep_features(embedder)
    return source
