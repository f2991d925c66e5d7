"""Queries and their nearest neighbours, side by side."""

import numpy as np
from sklearn.utils import check_random_state

from sk_dml.inspection import _items, _style
from sk_dml.inspection._data import (
    check_search,
    draw_sample,
    embed_labelled,
    findable,
)
from sk_dml.inspection._grid import Grid
from sk_dml.neighbors._search import make_search
from sk_dml.utils import as_labels, embed


class RetrievalDisplay:
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
    hits : ndarray of shape (n_queries, n_neighbors), bool
        Whether they are of the query's class.
    query_labels : ndarray of shape (n_queries,)
        Classes of the queries.
    neighbor_labels : ndarray of shape (n_queries, n_neighbors)
        Classes of the neighbours.
    query_items : ndarray or list of length n_queries
        What the queries look like: images of shape (n, h, w) or (n, h, w, c), paths of
        image files, or text.
    neighbor_items : ndarray or list of length n_queries * n_neighbors
        The same of the neighbours, row by row.
    item_kind : {"image", "path", "text"}
        What the items are.
    n_relevant : ndarray of shape (n_queries,), int, or None, default=None
        How many of the gallery are of each query's class.
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
    >>> display.hits.tolist()
    [[True, True, True], [True, True, True]]
    """

    def __init__(
        self,
        query_indices,
        neighbor_indices,
        distances,
        hits,
        *,
        query_labels,
        neighbor_labels,
        query_items,
        neighbor_items,
        item_kind,
        n_relevant=None,
        note="",
    ):
        self.query_indices = query_indices
        self.neighbor_indices = neighbor_indices
        self.distances = distances
        self.hits = hits
        self.query_labels = query_labels
        self.neighbor_labels = neighbor_labels
        self.query_items = query_items
        self.neighbor_items = neighbor_items
        self.item_kind = item_kind
        self.n_relevant = n_relevant
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
        """
        n_queries, n_neighbors = np.shape(self.neighbor_indices)
        texts = [*self.query_items, *self.neighbor_items]
        grid = Grid(
            n_queries,
            n_neighbors,
            texts=texts if self.item_kind == "text" else None,
            labels=[*self.query_labels, *np.ravel(self.neighbor_labels)],
        )
        ax = _style.new_axes(
            f"{type(self).__name__}.plot", ax, figsize=grid.figure_size()
        )
        self.ax_, self.figure_ = ax, ax.figure
        queries, neighbors = self.query_items, self.neighbor_items
        if self.item_kind != "text":
            # Together, so that both are scaled alike.
            parts = queries, neighbors
            both = (
                np.concatenate(parts)
                if isinstance(queries, np.ndarray)
                else [*queries, *neighbors]
            )
            both = _items.read_images(both, self.item_kind)
            queries, neighbors = both[:n_queries], both[n_queries:]
        grid.prepare(ax)
        self.frames_ = np.empty((n_queries, n_neighbors), dtype=object)
        for row in range(n_queries):
            to_find = (
                "" if self.n_relevant is None else f"{self.n_relevant[row]:,} to find"
            )
            grid.fill(row, 0, queries[row], self.query_labels[row], to_find)
            grid.frame(row, 0)
            for rank in range(n_neighbors):
                grid.fill(
                    row,
                    rank + 1,
                    neighbors[row * n_neighbors + rank],
                    self.neighbor_labels[row][rank],
                    f"{self.distances[row][rank]:.3g}",
                )
                self.frames_[row, rank] = grid.frame(
                    row, rank + 1, self.hits[row][rank]
                )
        grid.add_headers()
        _style.describe(ax, "Queries and their nearest neighbours", self.note)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
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
        """Embed samples and show the neighbours of some.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        items : array-like of length n_samples or None, default=None
            What the samples look like. None takes X itself, or the classes where X are
            rows.
        item_kind : {"auto", "image", "path", "text"}, default="auto"
            As for :meth:`from_embeddings`.
        queries : array-like of int or None, default=None
            As for :meth:`from_embeddings`.
        n_queries : int, default=5
            As for :meth:`from_embeddings`.
        n_neighbors : int, default=6
            How many neighbours to show, at least 1.
        metric : {"euclidean", "cosine"}, default="euclidean"
            What orders the neighbours.
        gallery : array-like of shape (n_gallery, ...) or None, default=None
            Samples to search among, embedded too. None searches each sample of X among
            all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        gallery_items : array-like of length n_gallery or None, default=None
            What the gallery looks like. None takes ``gallery`` itself, as for X.
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
        TypeError
            If the estimator has nothing that transforms.
        """
        _style.check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if items is None:
            items = _items.from_samples(X)
        embedding = embed_labelled(estimator, X, y)
        if gallery is not None:
            if gallery_items is None and items is not None:
                gallery_items = _items.from_samples(gallery)
            gallery = embed(estimator, gallery)
        return cls.from_embeddings(
            embedding,
            y,
            items=items,
            item_kind=item_kind,
            queries=queries,
            n_queries=n_queries,
            n_neighbors=n_neighbors,
            metric=metric,
            gallery=gallery,
            gallery_labels=gallery_labels,
            gallery_items=gallery_items,
            random_state=random_state,
            ax=ax,
        )

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
            shows the classes.
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
        _style.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        if metric not in ("euclidean", "cosine"):
            raise ValueError(f"metric must be 'euclidean' or 'cosine', got {metric!r}.")
        X, codes, rows, row_codes, n_relevant = check_search(
            X, labels, gallery, gallery_labels
        )
        is_self = gallery is None
        if not 1 <= n_neighbors <= len(rows) - is_self:
            raise ValueError(
                f"n_neighbors must be from 1 to {len(rows) - is_self}, as many as "
                f"there are to find, got {n_neighbors}."
            )
        if n_queries < 1:
            raise ValueError(f"n_queries must be >= 1, got {n_queries}.")
        labels = _array(labels)
        row_labels = labels if is_self else _array(gallery_labels)
        are_labels = items is None and gallery_items is None
        items, row_items, kind = _items.check_both(
            items, labels, gallery_items, row_labels, is_self, item_kind
        )
        if queries is None:
            queries = findable(n_relevant)
            random_state = check_random_state(random_state)
            queries = queries[draw_sample(len(queries), n_queries, random_state)]
        else:
            queries = _check_queries(queries, len(X))
        own = queries if is_self else None
        search = make_search(rows, metric, "exact", None)
        distances, neighbors = search.search(X[queries], n_neighbors, own)
        found_among = (
            f"{len(rows) - is_self:,} {'others' if is_self else 'of a gallery'}"
        )
        captions = "Euclidean" if metric == "euclidean" else metric
        if are_labels:
            captions = f"each shown by its class, with its {captions}"
        else:
            captions = f"below each its class and {captions}"
        display = cls(
            queries,
            neighbors,
            distances,
            row_codes[neighbors] == codes[queries, None],
            query_labels=labels[queries],
            neighbor_labels=row_labels[neighbors],
            query_items=_items.take(items, queries),
            neighbor_items=_items.take(row_items, neighbors.ravel()),
            item_kind=kind,
            n_relevant=n_relevant[queries],
            note=f"searched among {found_among}; {captions} distance to the query",
        )
        return display.plot(ax)


def _array(labels):
    return np.asarray(as_labels(labels)).reshape(-1)


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
