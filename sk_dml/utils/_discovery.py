"""What the package has to offer, found by looking."""

import importlib


def all_embedders():
    """List every embedder of the package.

    Returns
    -------
    list of (str, type)
        Names and classes, sorted by name.

    Examples
    --------
    >>> from sk_dml.utils import all_embedders
    >>> "CircleEmbedder" in dict(all_embedders())
    True
    """
    # By name: an import statement would turn the package's import order around.
    embedders = importlib.import_module("sk_dml.embedders")
    names = sorted(name for name in dir(embedders) if name.endswith("Embedder"))
    return [(name, getattr(embedders, name)) for name in names]
