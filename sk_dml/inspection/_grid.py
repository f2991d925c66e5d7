"""Queries and their neighbours in cells: framed pictures or texts on one axes."""

import numpy as np

from sk_dml.inspection import _style
from sk_dml.inspection._items import show_image

CELLS = (68, 96)  # points, the height of a cell of a figure of our own
WIDEST = 20  # inches, such a figure
TEXT_WIDTH = 1.6  # in heights of a cell, the width of one for more than WORD
WORD, NAME = 12, 24  # characters; up to NAME fill the cell
GAP, QUERY_GAP, PAD = 0.14, 0.4, 0.06  # in heights of a cell
FONTS = (8, 7, 6)  # points; the first for which cells are large enough
FONT = 0.12  # in heights of a cell
WIDTH, LINE = 0.62, 1.25  # of a character and a line, in font sizes
TITLE, MARGIN = 40, 6  # points, the height above the axes and the space around


class Grid:
    """Cells for queries, left, and their neighbours; lengths are in points.

    ``texts`` is what the cells hold, if it is text; ``labels`` is what captions say.
    """

    def __init__(self, n_rows, n_neighbors, *, texts, labels):
        self.n_rows = n_rows
        self.n_neighbors = n_neighbors
        self.is_text = texts is not None
        longest = _longest(texts) if self.is_text else 0
        self.are_names = longest <= NAME
        self.aspect = 1.0 if longest <= WORD else TEXT_WIDTH
        # In heights of a cell.
        self.relative_width = (n_neighbors + 1) * (self.aspect + GAP) + QUERY_GAP - GAP
        wanted = _longest(labels) * WIDTH * FONTS[0] / (self.aspect + 0.8 * GAP)
        size = min(np.clip(wanted, *CELLS), WIDEST * 72 / self.relative_width)
        self._set_size(size, next((f for f in FONTS if FONT * size >= f), FONTS[-1]))

    def _set_size(self, size, font_size):
        self.size, self.font_size = float(size), font_size
        self.cell_width = self.aspect * self.size
        self.header = 2.2 * font_size
        self.footer = 2.5 * font_size
        self.row_height = (1 + GAP) * self.size + 2 * LINE * font_size
        self.width = self.relative_width * self.size
        self.height = self.header + self.n_rows * self.row_height + self.footer

    def figure_size(self):
        """Give the size in inches of a figure for the cells."""
        width, height = self.width + 2 * MARGIN, self.height + TITLE
        return max(width / 72 + 0.1, 4.8), height / 72

    def fit(self, ax):
        """Make the cells as large as axes have room for, and the letters legible."""
        ax.figure.figure.draw_without_rendering()  # settles where the axes are
        box = ax.get_window_extent()
        width, height = (72 / ax.figure.dpi * i for i in (box.width, box.height))
        for font_size in FONTS:
            self._set_size(0, font_size)
            room = (height - self.height) / self.n_rows / (1 + GAP)
            size = max(min(width / self.relative_width, room), font_size)
            self._set_size(size, font_size)
            if FONT * size >= font_size:
                break

    def prepare(self, ax):
        """Set up the axes."""
        self.ax = ax
        ax.set(xlim=(-MARGIN, self.width + MARGIN), ylim=(self.height, 0))
        ax.set_aspect("equal", anchor="N")
        ax.axis("off")
        room = self.cell_width + 0.8 * GAP * self.size
        self.n_characters = max(int(room / (WIDTH * self.font_size)), 2)

    def corner(self, row, column):
        """Give x and y of the upper left corner of a cell."""
        gap = QUERY_GAP if column else 0
        x = column * (self.cell_width + GAP * self.size) + gap * self.size
        return x, self.header + row * self.row_height

    def fill(self, row, column, item, label, detail):
        """Draw an item with a caption of two lines.

        The first, the label, is left out where the item says the same.
        """
        x, y = self.corner(row, column)
        if self.is_text:
            self._fill_text(x, y, item)
        else:
            limits = self.ax.get_xlim(), self.ax.get_ylim()
            inset = 0.04 * self.size
            right, below = x + self.cell_width - inset, y + self.size - inset
            show_image(self.ax, item, (x + inset, right, below, y + inset))
            self.ax.set(xlim=limits[0], ylim=limits[1])
        if not self.is_text or str(item) != str(label):
            detail = f"{_style.plain(label, self.n_characters)}\n{detail}"
        self._write(
            detail, x + self.cell_width / 2, y + 1.04 * self.size, ha="center", va="top"
        )

    def _fill_text(self, x, y, item):
        pad = PAD * self.size
        room = self.cell_width - 2 * pad
        if self.are_names:
            text = _style.plain(item)
            font_size = min(0.3 * self.size, room / (WIDTH * max(len(text), 1)))
            place = {"ha": "center", "va": "center", "fontsize": font_size}
            self._write(text, x + self.cell_width / 2, y + self.size / 2, **place)
        else:
            n_lines = int((self.size - 2 * pad) / (LINE * self.font_size))
            text = _style.wrapped(item, int(room / (WIDTH * self.font_size)), n_lines)
            self._write(text, x + pad, y + pad, va="top")

    def _write(self, text, x, y, **kwargs):
        kwargs = {"fontsize": self.font_size, "linespacing": 1.1, **kwargs}
        _style.write(self.ax.text(x, y, "", **kwargs), text)

    def frame(self, row, column, is_hit=None):
        """Frame a neighbour as right or wrong, or a query (None); return the frame."""
        from matplotlib.patches import Rectangle

        x, y = self.corner(row, column)
        style = self._frame_style(is_hit)
        frame = Rectangle((x, y), self.cell_width, self.size, **style)
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
                clip_on=False,
            )
        return frame

    def _frame_style(self, is_hit):
        if is_hit is None:
            return {"fill": False, "edgecolor": "0.7", "linewidth": 0.8}
        return {
            "fill": False,
            "edgecolor": _style.SAME if is_hit else _style.OTHER,
            "linestyle": "-" if is_hit else (0, (2.5, 1.5)),
            "linewidth": float(np.clip(0.03 * self.size, 0.8, 2)),
        }

    def add_headers(self):
        """Write above the columns what they are, and below what the frames mean."""
        from matplotlib.patches import Rectangle

        names = ["query", "nearest", *map(_ordinal, range(2, 1 + self.n_neighbors))]
        for column, name in enumerate(names):
            x, y = self.corner(0, column)
            weight = "normal" if column else "bold"
            place = {"ha": "center", "va": "bottom", "weight": weight}
            y -= 0.4 * self.font_size
            self._write(name, x + self.cell_width / 2, y, **place)
        x = self.cell_width + (GAP + QUERY_GAP) / 2 * self.size
        self.ax.plot([x, x], [0, self.height - self.footer], color="0.8", linewidth=1)
        self.ax.legend(
            [Rectangle((0, 0), 1, 1, **self._frame_style(i)) for i in (True, False)],
            ["same class as the query", "another class"],
            loc="lower center",
            ncols=2,
            frameon=False,
            fontsize=self.font_size,
            borderpad=0,
            borderaxespad=0,
        )


def _longest(texts):
    return max((len(_style.plain(text)) for text in texts), default=0)


def _ordinal(number):
    last = number % 10 if number // 10 % 10 != 1 else 0
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")
