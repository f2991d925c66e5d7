"""How all displays look: colours, titles, and text that is shown as it is."""

import textwrap
from contextlib import contextmanager

from sklearn.utils._optional_dependencies import check_matplotlib_support

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
