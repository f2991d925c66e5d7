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
    >>> [name for name, _ in all_embedders()][0]
    'CircleEmbedder'
    """
    # By name: an import statement would turn the package's import order around.
    embedders = importlib.import_module("sk_dml.embedders")
    return sorted(
        (name, getattr(embedders, name))
        for name in embedders.__all__
        if name.endswith("Embedder")
    )
