"""Recall@k against k."""

import numpy as np
from scipy.stats import hypergeom
from sklearn.utils import check_random_state

from sk_dml.inspection import _style
from sk_dml.inspection._data import (
    check_search,
    draw_sample,
    embed_labelled,
    findable,
)
from sk_dml.neighbors._rows import distance_blocks
from sk_dml.utils import embed


class RecallCurveDisplay:
    """Recall@k against k: how far down the list the first right neighbour is.

    It is recommended to use :meth:`from_estimator` or :meth:`from_embeddings`. All
    parameters are stored as attributes. Several curves share axes: give the ``ax_`` of
    the first to the others.

    Parameters
    ----------
    k : ndarray of shape (n_points,), int
        Numbers of neighbours, at least 1.
    recall : ndarray of shape (n_points,), float
        Recall at each of them, in [0, 1].
    name : str or None, default=None
        Name of the curve in the legend.
    note : str, default=""
        What one must know to read the curve; it is written below its name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curve.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sk_dml.metrics.recall_at_k_score : The same for one k.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.inspection import RecallCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> curve = RecallCurveDisplay.from_embeddings(X, y, k=[1, 5, 20], name="iris")
    >>> curve.recall.round(2)
    array([0.96, 0.99, 1.  ])
    >>> other = RecallCurveDisplay.from_embeddings(X[:, :2], y, ax=curve.ax_)
    """

    def __init__(self, k, recall, *, name=None, note=""):
        self.k = k
        self.recall = recall
        self.name = name
        self.note = note

    def plot(self, ax=None, *, name=None, line_kw=None):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw, possibly beside other curves. None makes a figure.
        name : str or None, default=None
            Name of the curve in the legend. None takes the display's.
        line_kw : dict or None, default=None
            More arguments of ``ax.plot``.

        Returns
        -------
        self : object
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = _style.new_axes(f"{type(self).__name__}.plot", ax, figsize=(6, 4.5))
        from matplotlib.ticker import NullLocator, PercentFormatter, ScalarFormatter

        self.ax_, self.figure_ = ax, ax.figure
        place = len(ax.get_lines())
        style = {
            "color": _style.COLORS[place % len(_style.COLORS)],
            "linestyle": _style.LINES[place % len(_style.LINES)],
            "marker": _style.MARKERS[place % len(_style.MARKERS)],
            "markersize": 5,
            **(line_kw or {}),
        }
        (self.line_,) = ax.plot(self.k, self.recall, **style)
        ax.set_xscale("log")
        ticks = sorted({*np.concatenate([line.get_xdata() for line in ax.get_lines()])})
        if len(ticks) <= 12:
            ax.set_xticks(ticks)
            ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.set(
            xlabel="k, number of neighbours looked at (log scale)",
            ylabel="recall@k: queries that find their class",
        )
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(color="0.9")
        ax.set_axisbelow(True)
        name = self.name if name is None else name
        start = f"recall@{self.k[0]} = {self.recall[0]:.1%}"
        label = start if name is None else f"{_style.plain(name, 40)}, {start}"
        self.line_.set_label(f"{label}\n{self.note}" if self.note else label)
        handles = [
            line for line in ax.get_lines() if not line.get_label().startswith("_child")
        ]
        _style.add_legend(
            ax,
            handles,
            [line.get_label() for line in handles],
            loc="best",
            fontsize="small",
            handlelength=3,
        )
        _style.describe(ax, "Recall among the nearest neighbours")
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        k=None,
        metric="euclidean",
        gallery=None,
        gallery_labels=None,
        max_queries=10000,
        random_state=None,
        name=None,
        ax=None,
        line_kw=None,
    ):
        """Embed samples and draw the curve of the embedding.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples, the queries.
        y : array-like of shape (n_samples,)
            Their classes.
        k : array-like of int or None, default=None
            As for :meth:`from_embeddings`.
        metric : {"euclidean", "cosine"}, default="euclidean"
            What orders the neighbours.
        gallery : array-like of shape (n_gallery, ...) or None, default=None
            Samples to search among, embedded too. None searches each sample of X among
            all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        max_queries : int or None, default=10000
            As for :meth:`from_embeddings`.
        random_state : int, RandomState instance or None, default=None
            Draws the queries.
        name : str or None, default=None
            Name of the curve in the legend. None takes the estimator's class name.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        line_kw : dict or None, default=None
            More arguments of ``ax.plot``.

        Returns
        -------
        RecallCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has nothing that transforms.
        """
        _style.check_matplotlib_support(f"{cls.__name__}.from_estimator")
        return cls.from_embeddings(
            embed_labelled(estimator, X, y),
            y,
            k=k,
            metric=metric,
            gallery=None if gallery is None else embed(estimator, gallery),
            gallery_labels=gallery_labels,
            max_queries=max_queries,
            random_state=random_state,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            line_kw=line_kw,
        )

    @classmethod
    def from_embeddings(
        cls,
        X,
        labels,
        *,
        k=None,
        metric="euclidean",
        gallery=None,
        gallery_labels=None,
        max_queries=10000,
        random_state=None,
        name=None,
        ax=None,
        line_kw=None,
    ):
        """Draw the curve of embeddings.

        Neighbours at equal distance count with the mean over all their orders.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries.
        labels : array-like of shape (n_samples,)
            Their classes.
        k : array-like of int or None, default=None
            Numbers of neighbours, from 1 to the size of the gallery. None takes the
            powers of two up to 128.
        metric : {"euclidean", "cosine"}, default="euclidean"
            What orders the neighbours.
        gallery : array-like of shape (n_gallery, n_features) or None, default=None
            Embeddings to search among. None searches each sample of X among all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        max_queries : int or None, default=10000
            How many queries to search, at least 1, drawn at random where there are
            more; each is searched among all of the gallery. None searches all.
        random_state : int, RandomState instance or None, default=None
            Draws the queries.
        name : str or None, default=None
            Name of the curve in the legend.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        line_kw : dict or None, default=None
            More arguments of ``ax.plot``.

        Returns
        -------
        RecallCurveDisplay
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
            If samples are left out, because the gallery holds nothing of their class.
        """
        _style.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        if max_queries is not None and max_queries < 1:
            raise ValueError(f"max_queries must be >= 1 or None, got {max_queries}.")
        X, codes, rows, row_codes, n_relevant = check_search(
            X, labels, gallery, gallery_labels
        )
        is_self = gallery is None
        k = _check_k(k, len(rows) - is_self)
        queries = findable(n_relevant)
        sample = draw_sample(
            len(queries), max_queries, check_random_state(random_state)
        )
        queries = queries[sample]
        recall = _recall(X, codes, rows, row_codes, queries, is_self, k, metric)
        n_queries = f"{len(queries):,}"
        if len(queries) < len(X):
            n_queries += f" of {len(X):,}"
        note = f"{n_queries} queries, searched among {len(rows) - is_self:,}"
        note += " others" if is_self else " of a gallery"
        return cls(k, recall, name=name, note=note).plot(ax, line_kw=line_kw)


def _check_k(k, largest):
    if k is None:
        return 2 ** np.arange(min(8, largest.bit_length()))
    k = np.asarray(k)
    if k.ndim != 1 or k.size == 0 or k.dtype.kind not in "iu":
        raise ValueError(f"k must be a list of integers, got {k.tolist()!r}.")
    if k.min() < 1 or k.max() > largest:
        raise ValueError(
            f"k must be from 1 to {largest}, as many as there are to find, got "
            f"{k.tolist()}."
        )
    return np.unique(k)


def _recall(X, codes, gallery, gallery_codes, queries, is_self, k, metric):
    total = np.zeros(len(k))
    for block, squares in distance_blocks(X[queries], gallery, metric=metric, copies=6):
        similarities, index = -squares, queries[block]
        relevant = gallery_codes == codes[index, None]
        if is_self:
            place = np.arange(len(index)), index
            similarities[place], relevant[place] = -np.inf, False
        best = np.where(relevant, similarities, -np.inf).max(axis=1, keepdims=True)
        n_before = (similarities > best).sum(axis=1, keepdims=True)
        tied = similarities == best
        n_tied = tied.sum(axis=1, keepdims=True)
        n_hits = (tied & relevant).sum(axis=1, keepdims=True)
        # Some of the tied ones are among the k: the chance that one is right.
        n_drawn = np.clip(k - n_before, 0, n_tied)
        total += (1 - hypergeom.pmf(0, n_tied, n_hits, n_drawn)).sum(axis=0)
    return total / len(queries)
