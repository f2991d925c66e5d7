"""Queries and their nearest neighbours, side by side."""

import numpy as np
from sklearn.utils import check_consistent_length, check_random_state

from sk_dml._utils._labels import as_labels, encode_label_sets, encode_labels
from sk_dml.inspection import _base, _items
from sk_dml.inspection._base import (
    FromEstimatorMixin,
    check_embeddings,
    draw_sample,
    findable,
    nearest,
)
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
            detail = f"{_base.plain(label, self.n_characters)}\n{detail}"
        self._write(
            detail, x + self.cell_width / 2, y + 1.04 * self.size, ha="center", va="top"
        )

    def _fill_text(self, x, y, item):
        pad = PAD * self.size
        room = self.cell_width - 2 * pad
        if self.are_names:
            text = _base.plain(item)
            font_size = min(0.3 * self.size, room / (WIDTH * max(len(text), 1)))
            place = {"ha": "center", "va": "center", "fontsize": font_size}
            self._write(text, x + self.cell_width / 2, y + self.size / 2, **place)
        else:
            n_lines = int((self.size - 2 * pad) / (LINE * self.font_size))
            text = _base.wrapped(item, int(room / (WIDTH * self.font_size)), n_lines)
            self._write(text, x + pad, y + pad, va="top")

    def _write(self, text, x, y, **kwargs):
        kwargs = {"fontsize": self.font_size, "linespacing": 1.1, **kwargs}
        _base.write(self.ax.text(x, y, "", **kwargs), text)

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
                color=_base.OTHER,
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
            "edgecolor": _base.SAME if is_hit else _base.OTHER,
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
    return max((len(_base.plain(text)) for text in texts), default=0)


def _ordinal(number):
    last = number % 10 if number // 10 % 10 != 1 else 0
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")


class RetrievalDisplay(FromEstimatorMixin):
    """Queries in rows with their nearest neighbours in columns.

    Neighbours of the query's class have a solid blue frame, others a dashed orange one
    and a cross. It is recommended to use :meth:`from_estimator` or
    :meth:`from_embeddings`. All parameters are stored as attributes.

    Parameters
    ----------
    query_indices : ndarray of shape (n_queries,), int
        Which samples are the queries.
    neighbor_indices : ndarray of shape (n_queries, n_neighbors), int
        Which of the gallery are their neighbours, nearest first.
    distances : ndarray of shape (n_queries, n_neighbors), float
        How far they are.
    labels : array-like of shape (n_samples,)
        Classes of the samples.
    items : array-like of length n_samples or None, default=None
        What the samples look like, as in :meth:`from_embeddings`.
    item_kind : {"auto", "image", "path", "text"}, default="auto"
        What the items are.
    gallery_labels : array-like of shape (n_gallery,) or None, default=None
        Classes of the gallery. None for samples that are their own gallery.
    gallery_items : array-like of length n_gallery or None, default=None
        What the gallery looks like.
    note : str, default=""
        What one must know to read the picture; it is written above it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that hold all cells.
    figure_ : matplotlib Figure
        Their figure.
    frames_ : ndarray of shape (n_queries, n_neighbors) of matplotlib Rectangle
        The frames of the neighbours.
    hits_ : ndarray of shape (n_queries, n_neighbors), bool
        Whether the neighbours are of the query's class.

    See Also
    --------
    RecallCurveDisplay : How often the neighbours are right, over all queries.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.inspection import RetrievalDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> display = RetrievalDisplay.from_embeddings(
    ...     X, y, items=X.reshape(-1, 8, 8), queries=[0, 1], n_neighbors=3
    ... )
    >>> display.hits_.tolist()
    [[True, True, True], [True, True, True]]
    """

    def __init__(
        self,
        query_indices,
        neighbor_indices,
        distances,
        labels,
        *,
        items=None,
        item_kind="auto",
        gallery_labels=None,
        gallery_items=None,
        note="",
    ):
        self.query_indices = query_indices
        self.neighbor_indices = neighbor_indices
        self.distances = distances
        self.labels = labels
        self.items = items
        self.item_kind = item_kind
        self.gallery_labels = gallery_labels
        self.gallery_items = gallery_items
        self.note = note

    def plot(self, ax=None):
        """Draw the queries and their neighbours.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure as large as the cells need.

        Returns
        -------
        self : object
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If what samples look like does not fit.
        """
        _base.check_matplotlib_support(f"{type(self).__name__}.plot")
        queries, neighbors = map(
            np.asarray, (self.query_indices, self.neighbor_indices)
        )
        labels, row_labels = _array(self.labels), _array(self.gallery_labels)
        items, row_items, kind = _items.check_both(
            self.items, labels, self.gallery_items, row_labels, self.item_kind
        )
        codes, row_codes, n_relevant = _encode(labels, row_labels)
        row_labels = labels if row_labels is None else row_labels
        self.hits_ = row_codes[neighbors] == codes[queries, None]
        if kind == "text":
            shown = [items[i] for i in queries]
            found = [row_items[i] for i in neighbors.ravel()]
        else:
            limits = None
            if kind == "image":
                both = [items] if row_items is items else [items, row_items]
                limits = _items.value_limits(*both)
            shown = _items.read_images(items, kind, queries, limits)
            found = _items.read_images(row_items, kind, neighbors.ravel(), limits)
        grid = Grid(
            *neighbors.shape,
            texts=[*shown, *found] if kind == "text" else None,
            labels=[*labels[queries], *row_labels[neighbors.ravel()]],
        )
        if ax is not None:
            grid.fit(ax)
        with _base.axes_for(self, ax, figsize=grid.figure_size()) as ax:
            self.ax_, self.figure_ = ax, ax.figure
            grid.prepare(ax)
            self.frames_ = np.empty(neighbors.shape, dtype=object)
            for row, query in enumerate(queries):
                to_find = f"{n_relevant[query]:,} to find"
                grid.fill(row, 0, shown[row], labels[query], to_find)
                grid.frame(row, 0)
                for rank, neighbor in enumerate(neighbors[row]):
                    item = found[row * neighbors.shape[1] + rank]
                    distance = f"{self.distances[row][rank]:.3g}"
                    grid.fill(row, rank + 1, item, row_labels[neighbor], distance)
                    hit = self.hits_[row, rank]
                    self.frames_[row, rank] = grid.frame(row, rank + 1, hit)
            grid.add_headers()
            _base.describe(ax, "Queries and their nearest neighbours", self.note)
        return self

    @classmethod
    def _complete(cls, estimator, X, options):
        options.setdefault("items", _items.from_samples(X))
        gallery = options.get("gallery")
        if gallery is not None and options["items"] is not None:
            options.setdefault("gallery_items", _items.from_samples(gallery))
        return options

    @classmethod
    def from_embeddings(
        cls,
        X,
        labels,
        *,
        items=None,
        item_kind="auto",
        queries=None,
        n_queries=5,
        n_neighbors=6,
        metric="euclidean",
        gallery=None,
        gallery_labels=None,
        gallery_items=None,
        random_state=None,
        ax=None,
    ):
        """Show the neighbours of some embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.
        labels : array-like of shape (n_samples,)
            Their classes.
        items : array-like of length n_samples or None, default=None
            What the samples look like: images of shape (n, h, w), (n, h, w, c) or
            (n, c, h, w), paths of image files, or text, which is shown as it is. None
            shows the classes; in :meth:`from_estimator`, where it is not given, the
            samples themselves are shown, unless they are rows.
        item_kind : {"auto", "image", "path", "text"}, default="auto"
            What the items are. "auto" takes arrays for images, path objects and strings
            that all end as image files do for paths, and the rest for text.
        queries : array-like of int or None, default=None
            Which samples of X to search for, by their place. None draws some that have
            something to find.
        n_queries : int, default=5
            How many to draw, at least 1; all that have something to find, if they are
            fewer.
        n_neighbors : int, default=6
            How many neighbours to show, at least 1.
        metric : {"euclidean", "cosine"}, default="euclidean"
            What orders the neighbours.
        gallery : array-like of shape (n_gallery, n_features) or None, default=None
            Embeddings to search among. None searches each sample of X among all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        gallery_items : array-like of length n_gallery or None, default=None
            What the gallery looks like; needed with ``items`` and ``gallery``.
        random_state : int, RandomState instance or None, default=None
            Draws the queries.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        RetrievalDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If shapes or values do not fit, or no query has anything to find.

        Warns
        -----
        UserWarning
            If queries cannot be drawn, because the gallery holds nothing of their
            class.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        if (gallery is None) != (gallery_labels is None):
            given = "gallery" if gallery_labels is None else "gallery_labels"
            raise ValueError(
                f"gallery and gallery_labels go together, got only {given}."
            )
        X = check_embeddings(X, labels, min_samples=2 if gallery is None else 1)[0]
        n_others, among = len(X) - 1, "others"
        if gallery is not None:
            check_consistent_length(gallery, gallery_labels)
            n_others, among = len(gallery), "of a gallery"
        labels, gallery_labels = _array(labels), _array(gallery_labels)
        n_relevant = _encode(labels, gallery_labels)[2]
        if not 1 <= n_neighbors <= n_others:
            raise ValueError(
                f"n_neighbors must be from 1 to {n_others}, as many as there are to "
                f"find, got {n_neighbors}."
            )
        if n_queries < 1:
            raise ValueError(f"n_queries must be >= 1, got {n_queries}.")
        _items.check_both(items, labels, gallery_items, gallery_labels, item_kind)
        if queries is None:
            queries = findable(n_relevant)
            random_state = check_random_state(random_state)
            queries = queries[draw_sample(len(queries), n_queries, random_state)]
        else:
            queries = _check_queries(queries, len(X))
        distances, neighbors = nearest(
            X, queries, gallery, n_neighbors=n_neighbors, metric=metric
        )
        distance = f"{metric} distance to the query".replace("euclid", "Euclid")
        has_items = items is not None or gallery_items is not None
        shown = "below each its class and" if has_items else "shown by class, with the"
        display = cls(
            queries,
            neighbors,
            distances,
            labels,
            items=items,
            item_kind=item_kind,
            gallery_labels=gallery_labels,
            gallery_items=gallery_items,
            note=f"searched among {n_others:,} {among}; {shown} {distance}",
        )
        return display.plot(ax)


def _array(labels):
    return None if labels is None else np.asarray(as_labels(labels)).reshape(-1)


def _encode(labels, gallery_labels):
    """Give codes to the classes of both, and count what each sample can find."""
    is_self = gallery_labels is None
    if is_self:
        codes = gallery_codes = encode_labels(labels, name="labels")[1]
    else:
        names = ("labels", "gallery_labels")
        codes, gallery_codes = encode_label_sets(labels, gallery_labels, names=names)
    sizes = np.bincount(gallery_codes, minlength=codes.max() + 1)
    return codes, gallery_codes, sizes[codes] - is_self


def _check_queries(queries, n_samples):
    queries = np.asarray(queries)
    if queries.ndim != 1 or queries.dtype.kind not in "iu" or not queries.size:
        raise ValueError(
            f"queries must be a list of places in X, got {queries.tolist()!r}."
        )
    if queries.min() < 0 or queries.max() >= n_samples:
        raise ValueError(
            f"queries must be from 0 to {n_samples - 1}, the places in X, got "
            f"{queries.tolist()}."
        )
    return queries.astype(np.int64)
