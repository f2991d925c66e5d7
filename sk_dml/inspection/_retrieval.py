"""Pictures of queries and their nearest neighbors."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sk_dml._inputs import find_kind
from sk_dml._utils._labels import as_labels, encode_label_sets, encode_labels
from sk_dml.inspection import _base, _items
from sk_dml.inspection._base import FromEstimatorMixin
from sk_dml.metrics._counting import count_relevant
from sk_dml.metrics._evaluate import check_data
from sk_dml.neighbors._validation import check_n_neighbors

CELLS = (68, 96)  # points, least and greatest height of a cell of a new figure
WIDEST = 20  # inches, width of a new figure
TEXT_WIDTH = 1.6  # in heights of a cell, its width for text longer than WORD
WORD, NAME = 12, 24  # characters; text up to NAME fills the cell
GAP, QUERY_GAP, PAD = 0.14, 0.4, 0.06  # in heights of a cell
FONTS = (8, 7, 6)  # points; the first that fits is used
FONT = 0.12  # in heights of a cell
WIDTH, LINE = 0.62, 1.25  # in font sizes, of a character and a line
TITLE, MARGIN = 40, 6  # points, height above the axes and space around


class Grid:
    """Cells of queries (left) and their neighbors, with lengths in points.

    ``texts`` are the items if they are text, else None; ``labels`` are the captions.
    """

    def __init__(self, n_rows, n_neighbors, *, texts, labels):
        self.ax: Any = None
        self.n_rows, self.n_neighbors = n_rows, n_neighbors
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
        self.header, self.footer = 2.2 * font_size, 2.5 * font_size
        self.row_height = (1 + GAP) * self.size + 2 * LINE * font_size
        self.width = self.relative_width * self.size
        self.height = self.header + self.n_rows * self.row_height + self.footer

    def fit(self, ax):
        """Set the largest size of cells that fits axes, and a legible font."""
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

    def corner(self, row, column):
        """Return x and y of the upper left corner of a cell."""
        gap = QUERY_GAP if column else 0
        x = column * (self.cell_width + GAP * self.size) + gap * self.size
        return x, self.header + row * self.row_height

    def fill(self, row, column, item, label, detail):
        """Draw an item; below it the label, unless it equals the item, and detail."""
        x, y = self.corner(row, column)
        middle = x + self.cell_width / 2
        if self.is_text and self.are_names:
            text = _base.plain(item)
            room = self.cell_width - 2 * PAD * self.size
            font_size = min(0.3 * self.size, room / (WIDTH * max(len(text), 1)))
            style = {"ha": "center", "va": "center", "fontsize": font_size}
            self._write(text, middle, y + self.size / 2, **style)
        elif self.is_text:
            pad = PAD * self.size
            n_lines = int((self.size - 2 * pad) / (LINE * self.font_size))
            width = int((self.cell_width - 2 * pad) / (WIDTH * self.font_size))
            text = _base.wrapped(item, width, n_lines)
            self._write(text, x + pad, y + pad, va="top")
        else:
            limits = {"xlim": self.ax.get_xlim(), "ylim": self.ax.get_ylim()}
            inset = 0.04 * self.size
            right, below = x + self.cell_width - inset, y + self.size - inset
            _items.show_image(self.ax, item, (x + inset, right, below, y + inset))
            self.ax.set(**limits)
        if not self.is_text or str(item) != str(label):
            room = self.cell_width + 0.8 * GAP * self.size
            label = _base.plain(label, max(int(room / (WIDTH * self.font_size)), 2))
            detail = f"{label}\n{detail}"
        self._write(detail, middle, y + 1.04 * self.size, ha="center", va="top")

    def _write(self, text, x, y, **kwargs):
        kwargs = {"fontsize": self.font_size, "linespacing": 1.1, **kwargs}
        _base.write(self.ax.text(x, y, "", **kwargs), text)

    def frame(self, row, column, is_hit=None):
        """Frame a correct or wrong neighbor, or a query (None); return the frame."""
        from matplotlib.patches import Rectangle

        x, y = self.corner(row, column)
        style = self._frame_style(is_hit)
        frame = Rectangle((x, y), self.cell_width, self.size, **style)
        self.ax.add_patch(frame)
        if is_hit is not None and not is_hit:
            style = {"markersize": 0.16 * self.size, "mew": 0.01 * self.size}
            style |= {"color": _base.OTHER, "mec": "white", "clip_on": False}
            self.ax.plot(x + self.cell_width, y, "X", **style)
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
        """Write the names of the columns above and the legend of the frames below."""
        from matplotlib.patches import Rectangle

        names = ["query", "nearest", *map(_ordinal, range(2, 1 + self.n_neighbors))]
        for column, name in enumerate(names):
            x, y = self.corner(0, column)
            style = {"va": "bottom", "weight": "normal" if column else "bold"}
            x, y = x + self.cell_width / 2, y - 0.4 * self.font_size
            self._write(name, x, y, ha="center", **style)
        x = self.cell_width + (GAP + QUERY_GAP) / 2 * self.size
        self.ax.plot([x, x], [0, self.height - self.footer], color="0.8", linewidth=1)
        styles = [self._frame_style(is_hit) for is_hit in (True, False)]
        frames = [Rectangle((0, 0), 1, 1, **style) for style in styles]
        look: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "frameon": False}
        look |= {"ncols": 2, "fontsize": self.font_size}
        names = ["same class as the query", "another class"]
        self.ax.legend(frames, names, loc="lower center", **look)


def _longest(texts):
    return max((len(_base.plain(text)) for text in texts), default=0)


def _ordinal(number):
    """Return a number as "2nd"."""
    last = number % 10 if number // 10 % 10 != 1 else 0
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")


@_base.documented
@dataclass(eq=False, repr=False)
class RetrievalDisplay(FromEstimatorMixin):
    """Queries in rows with their nearest neighbors in columns.

    Neighbors of the query's class have a solid blue frame, others a dashed orange frame
    and a cross. Use :meth:`from_estimator` or :meth:`from_embeddings` to make one; all
    parameters are stored as attributes.

    Parameters
    ----------
    query_indices : ndarray of shape (n_queries,), int
        Indices of the queries among the samples.
    neighbor_indices : ndarray of shape (n_queries, n_neighbors), int
        Indices of their neighbors in the gallery, nearest first.
    distances : ndarray of shape (n_queries, n_neighbors), float
        Distances of the neighbors to the query.
    labels : array-like of shape (n_samples,)
        Classes of the samples.
    items, item_kind : object
        Items that show the samples, as in :meth:`from_embeddings`.
    gallery_labels, gallery_items : array-like of length n_gallery or None, default=None
        Classes of the gallery, and items that show it. None if the samples are their
        own gallery.
    note : str, default=""
        Note written above the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        The axes with all cells, and their figure.
    frames_ : ndarray of shape (n_queries, n_neighbors) of matplotlib Rectangle
        The frames of the neighbors.
    hits_ : ndarray of shape (n_queries, n_neighbors), bool
        Whether the neighbors are of the query's class.

    See Also
    --------
    RecallCurveDisplay : The share of correct neighbors over all queries.

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

    query_indices: Any
    neighbor_indices: Any
    distances: Any
    labels: Any
    _: KW_ONLY
    items: Any = None
    item_kind: Any = "auto"
    gallery_labels: Any = None
    gallery_items: Any = None
    note: Any = ""

    def plot(self, ax=None):
        """Draw the queries and their neighbors.

        Parameters
        ----------
        {ax}

        {display}
        ValueError
            If items are invalid.
        """
        _base.check_matplotlib_support(f"{type(self).__name__}.plot")
        queries = np.asarray(self.query_indices)
        neighbors = np.asarray(self.neighbor_indices)
        labels, row_labels = _array(self.labels), _array(self.gallery_labels)
        items, row_items, kind = _items.check_both(
            self.items, labels, self.gallery_items, row_labels, self.item_kind
        )
        is_self = row_labels is None
        if is_self:
            row_labels = labels
            codes = row_codes = encode_labels(labels, name="labels")[1]
        else:
            names = ("labels", "gallery_labels")
            codes, row_codes = encode_label_sets(labels, row_labels, names=names)
        n_relevant = count_relevant(codes, row_codes, is_self)
        self.hits_ = row_codes[neighbors] == codes[queries, None]
        both = (items,) if is_self else (items, row_items)
        limits = _items.value_limits(*both) if kind == "image" else None
        shown = _items.read_items(items, kind, queries, limits)
        row_shown = _items.read_items(row_items, kind, neighbors.ravel(), limits)
        grid = Grid(
            *neighbors.shape,
            texts=[*shown, *row_shown] if kind == "text" else None,
            labels=[*labels[queries], *row_labels[neighbors.ravel()]],
        )
        if ax is not None:
            grid.fit(ax)
        width, height = grid.width + 2 * MARGIN, grid.height + TITLE
        size = max(width / 72 + 0.1, 4.8), height / 72
        with _base.axes_for(self, ax, figsize=size) as ax:
            self.ax_, self.figure_ = ax, ax.figure
            grid.ax = ax
            ax.set(xlim=(-MARGIN, grid.width + MARGIN), ylim=(grid.height, 0))
            ax.set_aspect("equal", anchor="N")
            ax.axis("off")
            self.frames_ = np.empty(neighbors.shape, dtype=object)
            for row, query in enumerate(queries):
                to_find = f"{n_relevant[query]:,} to find"
                grid.fill(row, 0, shown[row], labels[query], to_find)
                grid.frame(row, 0)
                for rank, neighbor in enumerate(neighbors[row]):
                    item = row_shown[row * neighbors.shape[1] + rank]
                    distance = f"{self.distances[row][rank]:.3g}"
                    grid.fill(row, rank + 1, item, row_labels[neighbor], distance)
                    hit = self.hits_[row, rank]
                    self.frames_[row, rank] = grid.frame(row, rank + 1, hit)
            grid.add_headers()
            _base.describe(ax, "Queries and their nearest neighbors", self.note)
        return self

    @classmethod
    def _complete(cls, estimator, X, options):
        options.setdefault("items", _as_items(X))
        gallery = options.get("gallery")
        if gallery is not None and options["items"] is not None:
            options.setdefault("gallery_items", _as_items(gallery))
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
        """Show the neighbors of some embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings.
        labels : array-like of shape (n_samples,)
            Classes of the samples.
        items : array-like of length n_samples or None, default=None
            Items that show the samples: images of shape (n, h, w), (n, h, w, c) or
            (n, c, h, w), paths of image files, or text, which is shown literally. None
            shows the classes; :meth:`from_estimator` shows the samples themselves by
            default, unless they are rows.
        item_kind : {"auto", "image", "path", "text"}, default="auto"
            Kind of the items. For "auto", arrays are images, path objects and strings
            that all end as image files do are paths, and everything else is text.
        queries : array-like of int or None, default=None
            Indices of the queries in X. None draws some that have relevant samples.
        n_queries : int, default=5
            Number of queries to draw, at least 1; all with relevant samples if they are
            fewer.
        n_neighbors : int, default=6
            Number of neighbors to show, at least 1.
        metric : {"euclidean", "cosine"}, default="euclidean"
            Distance that orders the neighbors.
        gallery : array-like of shape (n_gallery, n_features) or None, default=None
            Embeddings to search in. None searches each sample of X among all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        gallery_items : array-like of length n_gallery or None, default=None
            Items that show the gallery; needed with ``items`` and ``gallery``.
        random_state : int, RandomState instance or None, default=None
            Seed of the drawn queries.
        {ax}

        {display}
        ValueError
            If shapes or values are invalid, or no query has a relevant sample.

        Warns
        -----
        UserWarning
            If queries cannot be drawn because the gallery has no sample of their class.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        where = gallery, gallery_labels
        X, codes, gallery, gallery_codes = check_data(X, labels, *where)
        is_self = gallery is None
        check_n_neighbors(n_neighbors, len(gallery_codes), is_self=is_self)
        _base.check_least(n_queries=n_queries)
        labels, gallery_labels = _array(labels), _array(gallery_labels)
        _items.check_both(items, labels, gallery_items, gallery_labels, item_kind)
        if queries is None:
            n_relevant = count_relevant(codes, gallery_codes, is_self)
            queries = _base.usable(n_relevant, "a class with another sample to find")
            rng = check_random_state(random_state)
            queries = queries[_base.draw_sample(len(queries), n_queries, rng)]
        else:
            queries = np.asarray(queries)
            is_valid = queries.ndim == 1 and queries.dtype.kind in "iu" and queries.size
            if not is_valid or queries.min() < 0 or queries.max() >= len(X):
                raise ValueError(
                    f"queries must be a list of indices from 0 to {len(X) - 1}, got "
                    f"{queries.tolist()!r}."
                )
            queries = queries.astype(np.int64)
        search = {"n_neighbors": n_neighbors, "metric": metric}
        distances, neighbors = _base.nearest(X, queries, gallery, **search)
        distance = f"{metric} distance to the query".replace("euclid", "Euclid")
        n = len(gallery_codes)
        among = f"{n - 1:,} others" if is_self else f"{n:,} of a gallery"
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
            note=f"searched among {among}; {shown} {distance}",
        )
        return display.plot(ax)


def _array(labels):
    return None if labels is None else np.asarray(as_labels(labels)).reshape(-1)


def _as_items(X):
    """Return samples as items that show them, or None for rows."""
    return X if find_kind(X).is_image else None
