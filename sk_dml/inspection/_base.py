"""What the displays compute from: embeddings, their classes, their neighbours."""

import inspect
import textwrap
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sk_dml._inputs._decode import is_path
from sk_dml._utils._embed import embed
from sk_dml._utils._labels import encode_labels
from sk_dml._utils._warn import warn
from sk_dml.metrics import _validation
from sk_dml.neighbors import nearest_neighbors

# Ten colours that people with colour vision deficiencies tell apart: M. A. Petroff,
# "Accessible Color Sequences for Data Visualization", arXiv:2107.02270, 2021.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
GREYS = ("#94a4a2", "#717581")
# Shapes and dashes tell apart what the colours do not, as in a print without colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
LINES = ("-", "--", "-.", ":")
# Right and wrong, or own and other class: M. Okabe, K. Ito, "Color Universal Design",
# 2008.
SAME, OTHER = "#0072b2", "#d55e00"
QUIET = "0.35"  # the grey of notes
NOTE_CHARACTER = 4.4  # points, the width of a character of a note
TITLE, NOTE = "sk_dml title", "sk_dml note"  # by which our own texts are known


@contextmanager
def axes_for(display, ax, **kwargs):
    """Give the axes to draw on; a figure of our own is closed if drawing fails."""
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


def styled(defaults, kwargs, artist):
    """Let a user's keywords for an artist, aliases too, go before our own."""
    from matplotlib.cbook import normalize_kwargs

    kwargs = normalize_kwargs(kwargs, artist)
    fills = {"c", "color", "facecolor"}
    if fills & kwargs.keys():
        defaults = {key: defaults[key] for key in defaults.keys() - fills}
    return {**defaults, **kwargs}


def describe(ax, title, note=""):
    """Title axes that have no title, and write below it what one must know."""
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
    artist = ax.annotate(
        "",
        (0, 1),
        xytext=(0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize="small",
        color=QUIET,
        annotation_clip=False,
        gid=NOTE,
    )
    write(artist, note)


def titles(ax):
    """List the titles of axes: left, centre and right, where they are not empty."""
    from matplotlib.text import Text

    return [
        child
        for child in ax.get_children()
        if isinstance(child, Text) and child not in ax.texts and child.get_text()
    ]


def plain(text, width=None):
    """Make text of one line, without control characters.

    Where there are more characters than the width, the middle gives way to an ellipsis,
    as names often differ at the end. What the font lacks is left to matplotlib: only it
    knows all fonts that it may fall back on, and it warns.
    """
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if width is not None and len(line) > width:
        end = max(width - 1, 1) // 2
        start = max(width - 1 - end, 1)
        line = line[:start] + "\N{HORIZONTAL ELLIPSIS}" + line[len(line) - end :]
    return line


def wrapped(text, width, n_lines):
    """Break text into lines, and cut it after some."""
    lines = textwrap.wrap(
        plain(text),
        width=max(width, 2),
        max_lines=max(n_lines, 1),
        placeholder="\N{HORIZONTAL ELLIPSIS}",
    )
    return "\n".join(lines)


def write(artist, text):
    """Set the text of an artist to be shown as it is: no mathtext, no TeX."""
    artist.set_parse_math(False)
    artist.set_usetex(False)
    artist.set_text(text)
    return artist


def add_legend(ax, handles, names, **kwargs):
    """Add a legend whose names are shown as they are, even those that begin with _."""
    legend = ax.legend(handles, [str(i) for i in range(len(names))], **kwargs)
    for artist, name in zip(legend.get_texts(), names, strict=True):
        write(artist, name)
    return legend


class FromEstimatorMixin:
    """Adds ``from_estimator`` to a display that has ``from_embeddings``."""

    from_embeddings: Any

    @classmethod
    def from_estimator(cls, estimator, X, y, **options):
        """Embed samples and draw what :meth:`from_embeddings` draws of the embedding.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        **options : dict
            More arguments of :meth:`from_embeddings`, by name. A ``gallery``, where it
            takes one, holds samples here, which are embedded too.

        Returns
        -------
        object
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has nothing that transforms, or an option is unknown.
        ValueError
            If samples have no embedding, as images that cannot be read.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        # Faults in the options and in y show before the work.
        inspect.signature(cls.from_embeddings).bind(X, y, **options)
        encode_labels(y, name="y")
        options = cls._complete(estimator, X, options)
        if options.get("gallery") is not None:
            options["gallery"] = _embed(estimator, options["gallery"], "gallery")
        return cls.from_embeddings(_embed(estimator, X, "X"), y, **options)

    @classmethod
    def _complete(cls, estimator, X, options):
        """Add to the options what the estimator and the samples say."""
        return options


def _embed(estimator, X, name):
    """Embed samples; refuse those that have no embedding, by place and path."""
    embedding = np.asarray(embed(estimator, X))
    missing = [] if embedding.dtype.kind != "f" else np.isnan(embedding).all(axis=-1)
    if np.any(missing):
        first = int(np.argmax(missing))
        item = _safe_indexing(X, first)
        path = f", {str(item)!r}" if is_path(item) else ""
        raise ValueError(
            f"{np.sum(missing)} of {len(embedding)} samples of {name} have no "
            "embedding, but NaN, as images that cannot be read; the first is at place "
            f"{first}{path}. Leave them out of {name} and of what goes with it."
        )
    return embedding


def check_embeddings(X, labels, *, min_samples=2, min_features=1):
    """Validate embeddings; return them, the classes and the codes of the samples."""
    X, classes, codes = _validation.check_embeddings(X, labels)
    for axis, what, least in (
        (0, "samples", min_samples),
        (1, "features", min_features),
    ):
        if X.shape[axis] < least:
            raise ValueError(
                f"X must have at least {least} {what}, got {X.shape[axis]}."
            )
    return X.astype(np.float64, copy=False), classes, codes


def nearest(X, queries, gallery=None, *, n_neighbors=1, metric="euclidean"):
    """Find the neighbours of some rows of X, in a gallery or among the other rows."""
    if gallery is not None:
        return nearest_neighbors(
            X[queries], gallery, n_neighbors=n_neighbors, metric=metric
        )
    distances, found = nearest_neighbors(
        X[queries], X, n_neighbors=n_neighbors + 1, metric=metric
    )
    # One more, as a row finds itself; where copies of it come first, the last one goes.
    others = found != queries[:, None]
    others[others.all(axis=1), -1] = False
    shape = len(queries), n_neighbors
    return distances[others].reshape(shape), found[others].reshape(shape)


def draw_sample(n_samples, size, random_state):
    """Draw some of the samples, in their order; a size of None takes all."""
    if size is None or size >= n_samples:
        return np.arange(n_samples)
    return np.sort(random_state.choice(n_samples, size, replace=False))


def warn_left_out(n_left_out, n_samples):
    """Warn of samples that a picture leaves out, if there are any."""
    if n_left_out:
        warn(
            f"{n_left_out} of {n_samples} samples are left out of the picture: nothing "
            "else is of their class.",
        )


def findable(n_relevant):
    """Find the queries that have something to find, and warn of the others."""
    queries = np.flatnonzero(n_relevant)
    if not len(queries):
        raise ValueError(
            f"None of the {len(n_relevant)} queries has another sample of its class to "
            "find: retrieval needs classes with 2 or more samples."
        )
    warn_left_out(len(n_relevant) - len(queries), len(n_relevant))
    return queries
