"""Image collections for retrieval: downloaded, drawn, or listed from folders.

Files are returned as a one-dimensional array of paths, which embedders accept as X.
"""

from sk_dml._inputs._files import ImageSequence
from sk_dml.datasets._cars196 import fetch_cars196
from sk_dml.datasets._cub200 import fetch_cub200
from sk_dml.datasets._glyphs import load_glyphs
from sk_dml.datasets._image_folder import load_image_folder
from sk_dml.datasets._omniglot import fetch_omniglot
from sk_dml.datasets._sop import fetch_sop

__all__ = [
    "ImageSequence",
    "fetch_cars196",
    "fetch_cub200",
    "fetch_omniglot",
    "fetch_sop",
    "load_glyphs",
    "load_image_folder",
]
