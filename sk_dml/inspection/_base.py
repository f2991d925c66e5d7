"""Data handling and style shared by the displays."""

import inspect
import textwrap
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sk_dml._inputs._source import is_path
from sk_dml._utils._embed import embed
from sk_dml._utils._labels import encode_labels
from sk_dml._utils._warn import warn
from sk_dml.metrics import _validation
from sk_dml.neighbors import nearest_neighbors

# Ten colors that people with color vision deficiencies tell apart: M. A. Petroff,
# "Accessible Color Sequences for Data Visualization", arXiv:2107.02270, 2021.
COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
GRAYS = ("#94a4a2", "#717581")
# Shapes and dashes differ too, for prints without color.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
LINES = ("-", "--", "-.", ":")
# Right and wrong, or own and other class: M. Okabe, K. Ito, "Color Universal Design",
# 2008.
SAME, OTHER = "#0072b2", "#d55e00"
QUIET = "0.35"  # gray of notes
NOTE_CHARACTER = 4.4  # points, width of a character of a note
TITLE, NOTE = "sk_dml title", "sk_dml note"  # ids of our own texts
# What the docstrings of all displays have in common.
SHARED = {
    "{ax}": """ax : matplotlib Axes or None, default=None
    Axes to draw on. None makes a figure.""",
    "{display}": """Returns
-------
object
    The display, drawn.

Raises
------
ImportError
    If matplotlib is not installed.""",
}


def documented(cls):
    """Fill the shared parts into the docstrings of the methods of a display."""
    for method in vars(cls).values():
        function = getattr(method, "__func__", method)
        if inspect.isfunction(function) and function.__doc__:  # none for python -OO
            text = inspect.cleandoc(function.__doc__) + "\n"
            for mark, shared in SHARED.items():
                text = text.replace(mark, shared)
            function.__doc__ = text
    return cls


@contextmanager
def axes_for(display, ax, **kwargs):
    """Yield the axes to draw on; close a new figure if drawing fails."""
    check_matplotlib_support(f"{type(display).__name__}.plot")
    if ax is not None:
        yield ax
        return
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(layout="constrained", **kwargs)
    try:
        yield ax
    except BaseException:
        plt.close(figure)
        raise


def check_axes(ax, n, purpose=""):
    """Return axes as an array of n; raise ValueError if they are not as many."""
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) != n:
        raise ValueError(f"ax must be {n} axes{purpose}, got {len(axes)}.")
    return axes


def styled(defaults, kwargs, artist):
    """Return keywords of an artist: the user's, by any alias, before the defaults."""
    from matplotlib.cbook import normalize_kwargs

    kwargs = normalize_kwargs(kwargs, artist)
    fills = {"c", "color", "facecolor"}
    if fills & kwargs.keys():
        defaults = {key: defaults[key] for key in defaults.keys() - fills}
    return {**defaults, **kwargs}


def describe(ax, title, note=""):
    """Set a title, unless the user set one, and write a note below it."""
    from matplotlib.transforms import ScaledTranslation

    for text in [text for text in ax.texts if text.get_gid() == NOTE]:
        text.remove()
    if all(text.get_gid() == TITLE for text in titles(ax)):
        artist = write(ax.set_title("", loc="left", fontsize="large"), title)
        artist.set_gid(TITLE)
    if not note:
        return
    width = ax.get_window_extent().width * 72 / ax.figure.dpi
    note = "\n".join(textwrap.wrap(plain(note), max(20, int(width / NOTE_CHARACTER))))
    pad = (6 + 12 * len(note.splitlines())) / 72
    above = ax.transAxes + ScaledTranslation(0, pad, ax.figure.dpi_scale_trans)
    for text in titles(ax):
        text.set_transform(above)
    below = {"xy": (0, 1), "xycoords": "axes fraction", "annotation_clip": False}
    offset = {"xytext": (0, 5), "textcoords": "offset points"}
    style = {"fontsize": "small", "color": QUIET, "gid": NOTE}
    write(ax.annotate("", **below, **offset, **style), note)


def titles(ax):
    """Return the titles of axes (left, center and right) that are not empty."""
    from matplotlib.text import Text

    return [
        child
        for child in ax.get_children()
        if isinstance(child, Text) and child not in ax.texts and child.get_text()
    ]


def plain(text, width=None):
    """Return text as one printable line, without its middle if it is too long."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if width is not None and len(line) > width:
        end = max(width - 1, 1) // 2
        start = max(width - 1 - end, 1)
        line = line[:start] + "\N{HORIZONTAL ELLIPSIS}" + line[len(line) - end :]
    return line


def wrapped(text, width, n_lines):
    """Return text broken into at most ``n_lines`` lines."""
    limits = {"width": max(width, 2), "max_lines": max(n_lines, 1)}
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return "\n".join(textwrap.wrap(plain(text), **limits, placeholder=ellipsis))


def write(artist, text):
    """Set the text of an artist literally, without mathtext and TeX."""
    artist.set_parse_math(False)
    artist.set_usetex(False)
    artist.set_text(text)
    return artist


def add_legend(ax, handles, names, **kwargs):
    """Add a legend that shows all names literally, even those that begin with _."""
    legend = ax.legend(handles, [str(i) for i in range(len(names))], **kwargs)
    for artist, name in zip(legend.get_texts(), names, strict=True):
        write(artist, name)
    return legend


class FromEstimatorMixin:
    """Mixin that adds ``from_estimator`` to a display with ``from_embeddings``."""

    from_embeddings: Any

    @classmethod
    def from_estimator(cls, estimator, X, y, **options):
        """Embed samples, then draw as :meth:`from_embeddings` does.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Classes of the samples.
        **options : dict
            Other arguments of :meth:`from_embeddings`. A ``gallery`` holds samples
            here, which are embedded too.

        Returns
        -------
        object
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator cannot transform, or an option is unknown.
        ValueError
            If samples have no embedding, such as images that cannot be read.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        # Check the options and y before the long computation.
        inspect.signature(cls.from_embeddings).bind(X, y, **options)
        encode_labels(y, name="y")
        options = cls._complete(estimator, X, options)
        if options.get("gallery") is not None:
            options["gallery"] = _embed(estimator, options["gallery"], "gallery")
        return cls.from_embeddings(_embed(estimator, X, "X"), y, **options)

    @classmethod
    def _complete(cls, estimator, X, options):
        """Return the options with defaults from the estimator and the samples."""
        return options


def _embed(estimator, X, name):
    """Return the embedding of samples; raise ValueError if some are NaN."""
    embedding = np.asarray(embed(estimator, X))
    missing = [] if embedding.dtype.kind != "f" else np.isnan(embedding).all(axis=-1)
    if np.any(missing):
        first = int(np.argmax(missing))
        item = _safe_indexing(X, first)
        path = f", {str(item)!r}" if is_path(item) else ""
        raise ValueError(
            f"{name} must hold readable samples only; {np.sum(missing)} of "
            f"{len(embedding)} have no embedding, first at index {first}{path}."
        )
    return embedding


def check_embeddings(X, labels, *, min_features=1):
    """Return checked embeddings (n, n_features), the classes and the codes (n,)."""
    X, classes, codes = _validation.check_embeddings(X, labels)
    if len(X) < 2 or X.shape[1] < min_features:
        raise ValueError(
            f"X must have 2 or more samples and {min_features} or more features, got "
            f"shape {X.shape}."
        )
    return X.astype(np.float64, copy=False), classes, codes


def nearest(X, queries, gallery=None, *, n_neighbors=1, metric="euclidean"):
    """Return distances and indices (n_queries, n_neighbors) of neighbors of rows of X.

    They are searched in the gallery or, without one, among the other rows of X.
    """
    is_self = gallery is None
    options = {"n_neighbors": n_neighbors + is_self, "metric": metric}
    gallery = X if is_self else gallery
    distances, indices = nearest_neighbors(X[queries], gallery, **options)
    if not is_self:
        return distances, indices
    # Drop the query itself; where copies of it come first, drop the last neighbor.
    others = indices != queries[:, None]
    others[others.all(axis=1), -1] = False
    shape = len(queries), n_neighbors
    return distances[others].reshape(shape), indices[others].reshape(shape)


def draw_sample(n_samples, size, random_state):
    """Return sorted indices of randomly drawn samples; all for a size of None."""
    if size is None or size >= n_samples:
        return np.arange(n_samples)
    return np.sort(random_state.choice(n_samples, size, replace=False))


def usable(is_usable, needed):
    """Return the indices of usable samples; warn of the others, refuse none."""
    indices = np.flatnonzero(is_usable)
    if not len(indices):
        raise ValueError(
            f"labels must have {needed}, got none among {len(is_usable)} samples."
        )
    if len(indices) < len(is_usable):
        warn(
            f"{len(is_usable) - len(indices)} of {len(is_usable)} samples are left out "
            "of the picture, as they are alone in their class."
        )
    return indices


def check_least(least=1, **values):
    """Refuse values below the least; None is allowed."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be >= {least}, got {value}.")
