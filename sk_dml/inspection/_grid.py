"""A table of framed pictures or texts, drawn on one axes."""

import numpy as np

from sk_dml.inspection import _style
from sk_dml.inspection._items import show_image

CELL = 0.95  # inches, the height of a cell of a figure of our own
GAP = 0.14  # all lengths from here on in heights of a cell
QUERY_GAP = 0.4
HEADER = 0.3
FOOTER = 0.22
TEXT_WIDTH = 2.2  # of a cell that holds text
CHARACTER = 0.56  # width of a character, in font sizes
SMALLEST = 0.8  # of a long caption, in font sizes
LINE = 1.25  # height of a line, in font sizes


class Grid:
    """Cells for queries, left, and their neighbours.

    Parameters
    ----------
    n_rows : int
        Queries.
    n_neighbors : int
        Columns beside that of the queries.
    is_text : bool
        Whether the cells hold text, which is wide.
    """

    def __init__(self, n_rows, n_neighbors, is_text):
        self.n_rows = n_rows
        self.n_neighbors = n_neighbors
        self.cell_width = TEXT_WIDTH if is_text else 1.0
        self.is_text = is_text
        self.caption = 0.36
        self.row_height = 1 + self.caption + GAP
        self.width = (n_neighbors + 1) * (self.cell_width + GAP) + QUERY_GAP - GAP
        self.height = HEADER + n_rows * self.row_height + FOOTER

    def figure_size(self):
        """Give the size of a figure for the cells.

        Returns
        -------
        tuple of two float
            Width and height in inches.
        """
        return max(self.width * CELL + 0.2, 4.8), self.height * CELL + 0.6

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
        points = 72 / ax.figure.dpi
        # Of one cell's height, in points: what there is for letters.
        self.size = points * min(box.width / self.width, box.height / self.height)
        self.font_size = float(np.clip(0.12 * self.size, 3, 8))

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
            First line of the caption.
        detail : str
            Second line of the caption.
        """
        x, y = self.corner(row, column)
        width = self.cell_width
        if self.is_text:
            font_size = self.font_size * 1.1
            text = self.ax.text(
                x + 0.06,
                y + 0.06,
                "",
                fontsize=font_size,
                va="top",
                clip_on=True,
            )
            n_characters = int((width - 0.12) * self.size / (CHARACTER * font_size))
            n_lines = int(0.88 * self.size / (LINE * font_size))
            _style.write(text, _style.wrapped(item, n_characters, n_lines))
        else:
            limits = self.ax.get_xlim(), self.ax.get_ylim()
            show_image(self.ax, item, (x + 0.04, x + width - 0.04, y + 0.96, y + 0.04))
            self.ax.set(xlim=limits[0], ylim=limits[1])
        available = (width + 0.8 * GAP) * self.size / CHARACTER
        label = _style.plain(label, int(available / (SMALLEST * self.font_size)))
        font_size = min(self.font_size, available / max(len(label), 1))
        caption = self.ax.text(
            x + width / 2,
            y + 1.04,
            "",
            fontsize=font_size,
            ha="center",
            va="top",
            linespacing=1.1,
        )
        _style.write(caption, f"{label}\n{detail}")

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

        names = [
            "query",
            "nearest",
            *(_ordinal(i) for i in range(2, 1 + self.n_neighbors)),
        ]
        names = names[: self.n_neighbors + 1]
        for column, name in enumerate(names):
            x, y = self.corner(0, column)
            self.ax.text(
                x + self.cell_width / 2,
                y - 0.08,
                name,
                fontsize=1.1 * self.font_size,
                ha="center",
                va="bottom",
                weight="bold" if not column else "normal",
            )
        x = self.cell_width + (GAP + QUERY_GAP) / 2
        self.ax.plot([x, x], [0, self.height - FOOTER], color="0.8", linewidth=1)
        handles = [
            Rectangle((0, 0), 1, 1, **_frame_style(is_hit, self.size))
            for is_hit in (True, False)
        ]
        self.ax.legend(
            handles,
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


def _ordinal(number):
    last = number % 10 if number // 10 % 10 != 1 else 0
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"
