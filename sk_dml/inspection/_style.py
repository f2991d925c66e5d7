"""How all displays look: colours, titles, and text that is shown as it is."""

import textwrap

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
# Shapes and dashes tell apart what the colours do not, as in a print without colour.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
LINES = ("-", "--", "-.", ":")
# Right and wrong, or own and other class: M. Okabe, K. Ito, "Color Universal Design",
# 2008.
SAME, OTHER = "#0072b2", "#d55e00"
QUIET = "0.35"  # the grey of notes
NOTE_CHARACTER = 4.4  # points, the width of a character of a note


def new_axes(caller, ax=None, **kwargs):
    """Give the axes to draw on.

    Parameters
    ----------
    caller : str
        Who draws, for the error where matplotlib is missing.
    ax : matplotlib Axes or None
        None makes a figure.
    **kwargs
        For :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    matplotlib Axes, or ndarray of them
    """
    check_matplotlib_support(caller)
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **kwargs)[1]


def describe(ax, title, note=""):
    """Write a title, and below it smaller what one must know to read the picture.

    Axes that have a title keep it.

    Parameters
    ----------
    ax : matplotlib Axes
    title : str
    note : str
    """
    if any(ax.get_title(loc=place) for place in ("left", "center", "right")):
        title = ""
    if not title:
        return
    width = ax.get_window_extent().width * 72 / ax.figure.dpi
    note = "\n".join(textwrap.wrap(note, max(20, int(width / NOTE_CHARACTER))))
    pad = 6 + 12 * len(note.splitlines())
    ax.set_title(title, loc="left", pad=pad, fontsize="large")
    if note:
        ax.annotate(
            note,
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize="small",
            color=QUIET,
            annotation_clip=False,
        )


def plain(text, width=None):
    """Make text of one line, without what a font cannot show.

    Parameters
    ----------
    text : object
    width : int or None
        The most characters; where there are more, the middle gives way to an ellipsis,
        as names often differ at the end.

    Returns
    -------
    str
    """
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if width is not None and len(line) > width:
        end = max(width - 1, 1) // 2
        start = max(width - 1 - end, 1)
        line = line[:start] + "\N{HORIZONTAL ELLIPSIS}" + line[len(line) - end :]
    return line


def wrapped(text, width, n_lines):
    """Break text into lines, and cut it after some.

    Parameters
    ----------
    text : object
    width, n_lines : int

    Returns
    -------
    str
    """
    return "\n".join(
        textwrap.wrap(
            plain(text),
            width=max(width, 2),
            max_lines=max(n_lines, 1),
            placeholder="\N{HORIZONTAL ELLIPSIS}",
        )
    )


def write(artist, text):
    """Set the text of an artist to be shown as it is: no mathtext, no TeX.

    Parameters
    ----------
    artist : matplotlib Text
    text : str

    Returns
    -------
    matplotlib Text
        The artist.
    """
    artist.set_parse_math(False)
    artist.set_usetex(False)
    artist.set_text(text)
    return artist


def add_legend(ax, handles, names, **kwargs):
    """Add a legend whose names are shown as they are.

    Parameters
    ----------
    ax : matplotlib Axes
    handles : list of artists
    names : list of str
        Even those that begin with "_", which matplotlib would leave out.
    **kwargs
        For ``ax.legend``.

    Returns
    -------
    matplotlib Legend
    """
    legend = ax.legend(handles, [str(i) for i in range(len(names))], **kwargs)
    for artist, name in zip(legend.get_texts(), names, strict=True):
        write(artist, name)
    return legend
