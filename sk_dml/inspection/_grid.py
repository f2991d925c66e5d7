"""A table of framed pictures or texts, drawn on one axes."""

import numpy as np

from sk_dml.inspection import _style
from sk_dml.inspection._items import show_image

CELL = 0.95  # inches, the height of a cell of a figure of our own
GAP = 0.14  # all lengths from here on in heights of a cell
QUERY_GAP = 0.4
HEADER = 0.3
FOOTER = 0.22
CAPTION = 0.36
TEXT_WIDTH = 1.6  # of a cell that holds more than a word
WORD = 12  # characters
PAD = 0.06
FONT = 0.12  # in heights of a cell, and no more than FONT_POINTS
FONT_POINTS = 8
SMALLEST = 0.8  # of a long caption, in font sizes
WIDTH, LINE = 0.56, 1.25  # of a character and a line, in font sizes


class Grid:
    """Cells for queries, left, and their neighbours.

    Parameters
    ----------
    n_rows : int
        Queries.
    n_neighbors : int
        Columns beside that of the queries.
    texts : list or None
        What the cells hold, if it is text.
    labels : list
        What the captions say.
    """

    def __init__(self, n_rows, n_neighbors, *, texts, labels):
        self.n_rows = n_rows
        self.n_neighbors = n_neighbors
        self.is_text = texts is not None
        self.are_words = self.is_text and _longest(texts) <= WORD
        self.cell_width = 1.0 if not self.is_text or self.are_words else TEXT_WIDTH
        self.longest_label = _longest(labels)
        self.row_height = 1 + CAPTION + GAP
        self.width = (n_neighbors + 1) * (self.cell_width + GAP) + QUERY_GAP - GAP
        self.height = HEADER + n_rows * self.row_height + FOOTER

    def figure_size(self):
        """Give the size of a figure for the cells.

        Returns
        -------
        tuple of two float
            Width and height in inches.
        """
        return max(self.width * CELL + 0.2, 4.8), self.height * CELL + 0.8

    def prepare(self, ax):
        """Set up the axes.

        Parameters
        ----------
        ax : matplotlib Axes
        """
        self.ax = ax
        ax.set(xlim=(-0.04, self.width + 0.04), ylim=(self.height, 0))
        ax.set_aspect("equal")
        ax.axis("off")
        box = ax.get_window_extent()
        # The height of a cell, in points: what there is for letters.
        self.size = min(box.width / self.width, box.height / self.height)
        self.size *= 72 / ax.figure.dpi
        self.font_size = float(np.clip(FONT * self.size, 3, FONT_POINTS))
        available = (self.cell_width + 0.8 * GAP) * self.size / WIDTH
        fitting = available / max(self.longest_label, 1)
        self.caption_size = float(
            np.clip(fitting, SMALLEST * self.font_size, self.font_size)
        )
        self.n_characters = int(available / self.caption_size)

    def corner(self, row, column):
        """Give the upper left corner of a cell.

        Parameters
        ----------
        row, column : int

        Returns
        -------
        x, y : float
        """
        x = column * (self.cell_width + GAP) + (QUERY_GAP if column else 0)
        return x, HEADER + row * self.row_height

    def fill(self, row, column, item, label, detail):
        """Draw an item with its caption.

        Parameters
        ----------
        row, column : int
        item : ndarray or object
            An image, or what to show as text.
        label : object
            First line of the caption; left out where the item says the same.
        detail : str
            Second line of the caption.
        """
        x, y = self.corner(row, column)
        if self.is_text:
            self._fill_text(x, y, item)
        else:
            limits = self.ax.get_xlim(), self.ax.get_ylim()
            right, below = x + self.cell_width - 0.04, y + 0.96
            show_image(self.ax, item, (x + 0.04, right, below, y + 0.04))
            self.ax.set(xlim=limits[0], ylim=limits[1])
        caption = self.ax.text(
            x + self.cell_width / 2,
            y + 1.04,
            "",
            fontsize=self.caption_size,
            ha="center",
            va="top",
            linespacing=1.1,
        )
        if self.is_text and str(item) == str(label):
            _style.write(caption, detail)
        else:
            label = _style.plain(label, self.n_characters)
            _style.write(caption, f"{label}\n{detail}")

    def _fill_text(self, x, y, item):
        room = (self.cell_width - 2 * PAD) * self.size
        if self.are_words:
            text = _style.plain(item)
            font_size = min(0.3 * self.size, room / (WIDTH * max(len(text), 1)))
            place = {"x": x + self.cell_width / 2, "y": y + 0.5}
            place |= {"ha": "center", "va": "center"}
        else:
            font_size = self.font_size
            n_lines = int((1 - 2 * PAD) * self.size / (LINE * font_size))
            text = _style.wrapped(item, int(room / (WIDTH * font_size)), n_lines)
            place = {"x": x + PAD, "y": y + PAD, "va": "top"}
        artist = self.ax.text(s="", fontsize=font_size, **place)
        _style.write(artist, text)

    def frame(self, row, column, is_hit=None):
        """Frame a neighbour as right or wrong, or a query.

        Parameters
        ----------
        row, column : int
        is_hit : bool or None
            None is a query.

        Returns
        -------
        matplotlib Rectangle
        """
        from matplotlib.patches import Rectangle

        x, y = self.corner(row, column)
        frame = Rectangle((x, y), self.cell_width, 1, **_frame_style(is_hit, self.size))
        self.ax.add_patch(frame)
        if is_hit is not None and not is_hit:
            self.ax.plot(
                x + self.cell_width,
                y,
                marker="X",
                markersize=0.16 * self.size,
                color=_style.OTHER,
                markeredgecolor="white",
                markeredgewidth=0.01 * self.size,
            )
        return frame

    def add_headers(self):
        """Write above the columns what they are, and below what the frames mean."""
        from matplotlib.patches import Rectangle

        ranks = [_ordinal(rank) for rank in range(2, 1 + self.n_neighbors)]
        for column, name in enumerate(["query", "nearest", *ranks]):
            x, y = self.corner(0, column)
            self.ax.text(
                x + self.cell_width / 2,
                y - 0.08,
                name,
                fontsize=1.1 * self.font_size,
                ha="center",
                va="bottom",
                weight="normal" if column else "bold",
            )
        x = self.cell_width + (GAP + QUERY_GAP) / 2
        self.ax.plot([x, x], [0, self.height - FOOTER], color="0.8", linewidth=1)
        right, wrong = (
            Rectangle((0, 0), 1, 1, **_frame_style(is_hit, self.size))
            for is_hit in (True, False)
        )
        self.ax.legend(
            [right, wrong],
            ["same class as the query", "another class"],
            loc="lower center",
            ncols=2,
            frameon=False,
            fontsize=1.1 * self.font_size,
            borderpad=0,
            borderaxespad=0,
        )


def _frame_style(is_hit, size):
    if is_hit is None:
        return {"fill": False, "edgecolor": "0.7", "linewidth": 0.8}
    return {
        "fill": False,
        "edgecolor": _style.SAME if is_hit else _style.OTHER,
        "linestyle": "-" if is_hit else (0, (2.5, 1.5)),
        "linewidth": float(np.clip(0.03 * size, 0.8, 2)),
    }


def _longest(texts):
    return max((len(_style.plain(text)) for text in texts), default=0)


def _ordinal(number):
    last = number % 10 if number // 10 % 10 != 1 else 0
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")
