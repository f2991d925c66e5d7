"""Recall@k against k."""

import numpy as np

from sk_dml.inspection import _base
from sk_dml.inspection._base import FromEstimatorMixin
from sk_dml.metrics import retrieval_values

CURVE = "sk_dml recall"  # by which our own lines are known


class RecallCurveDisplay(FromEstimatorMixin):
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

    def plot(self, ax=None, *, name=None, line_kwargs=None):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw, possibly beside other curves. None makes a figure.
        name : str or None, default=None
            Name of the curve in the legend. None takes the display's.
        line_kwargs : dict or None, default=None
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
        with _base.axes_for(self, ax, figsize=(6, 4.5)) as ax:
            self.ax_, self.figure_ = ax, ax.figure
            curves = [line for line in ax.get_lines() if line.get_gid() == CURVE]
            others = ax.get_legend_handles_labels()[0]
            others = [artist for artist in others if artist not in curves]
            name = self.name if name is None else name
            self._draw_curve(name, len(curves), line_kwargs)
            curves.append(self.line_)
            self._set_axes(curves)
            # The names of others may be mathtext; our own are shown as they are.
            names = [""] * len(curves) + [artist.get_label() for artist in others]
            style = {"fontsize": "small", "handlelength": 3}
            legend = ax.legend([*curves, *others], names, **style)
            for text, curve in zip(legend.get_texts(), curves, strict=False):
                _base.write(text, curve.get_label())
            _base.describe(ax, "Recall among the nearest neighbours")
        return self

    def _draw_curve(self, name, place, line_kwargs):
        from matplotlib.lines import Line2D

        style = {
            "color": _base.COLORS[place % len(_base.COLORS)],
            "linestyle": _base.LINES[place % len(_base.LINES)],
            "marker": _base.MARKERS[place % len(_base.MARKERS)],
            "markersize": 5,
        }
        label = f"recall@{self.k[0]} = {self.recall[0]:.1%}"
        if name is not None:
            label = f"{_base.plain(name, 40)}, {label}"
        if self.note:
            label += f"\n{_base.plain(self.note)}"
        style = _base.styled(style, line_kwargs, Line2D)
        (self.line_,) = self.ax_.plot(self.k, self.recall, **style)
        self.line_.set(label=label, gid=CURVE)

    def _set_axes(self, curves):
        from matplotlib.ticker import NullLocator, PercentFormatter, ScalarFormatter

        ax = self.ax_
        ax.set_xscale("log")
        ticks = np.unique(np.concatenate([curve.get_xdata() for curve in curves]))
        if len(ticks) <= 12:
            ax.set_xticks(ticks)
            ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set(
            xlabel="k, number of neighbours looked at (log scale)",
            ylabel="recall@k: queries that find their class",
        )
        ax.grid(color="0.9")
        ax.set_axisbelow(True)

    @classmethod
    def _complete(cls, estimator, X, options):
        return {"name": type(estimator).__name__, **options}

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
        name=None,
        ax=None,
        line_kwargs=None,
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
        name : str or None, default=None
            Name of the curve in the legend. In :meth:`from_estimator` it is that of the
            estimator's class where it is not given.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        line_kwargs : dict or None, default=None
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
            If queries are left out, because the gallery holds nothing of their class,
            or all of the gallery is of one class.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        n_others = len(X) - 1 if gallery is None else len(gallery)
        k = _check_k(k, n_others)
        values = retrieval_values(
            X,
            labels,
            metrics=[f"recall_at_{i}" for i in k],
            metric=metric,
            gallery=gallery,
            gallery_labels=gallery_labels,
        )
        recall = np.array([np.nanmean(of_queries) for of_queries in values.values()])
        n_queries = int(np.isfinite(next(iter(values.values()))).sum())
        note = f"{n_queries:,}" + (f" of {len(X):,}" if n_queries < len(X) else "")
        among = "others" if gallery is None else "of a gallery"
        note += f" queries, searched among {n_others:,} {among}"
        return cls(k, recall, name=name, note=note).plot(ax, line_kwargs=line_kwargs)


def _check_k(k, largest):
    if k is None:
        return 2 ** np.arange(min(8, max(largest, 1).bit_length()))
    k = np.asarray(k)
    if k.ndim != 1 or k.size == 0 or k.dtype.kind not in "iu":
        raise ValueError(f"k must be a list of integers, got {k.tolist()!r}.")
    if k.min() < 1 or k.max() > largest:
        raise ValueError(
            f"k must be from 1 to {largest}, as many as there are to find, got "
            f"{k.tolist()}."
        )
    return np.unique(k)
