"""Curves of recall@k against k."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from sk_dml.inspection import _base
from sk_dml.inspection._base import FromEstimatorMixin
from sk_dml.metrics import retrieval_values

CURVE = "sk_dml recall"  # id of our own lines


@_base.documented
@dataclass(eq=False, repr=False)
class RecallCurveDisplay(FromEstimatorMixin):
    """Recall@k against k: the share of queries with a correct neighbor among k.

    Use :meth:`from_estimator` or :meth:`from_embeddings` to make one; its parameters
    are stored as attributes. To draw several curves together, pass the ``ax_`` of the
    first to the others.

    Parameters
    ----------
    k : ndarray of shape (n_points,), int
        Numbers of neighbors, at least 1.
    recall : ndarray of shape (n_points,), float
        Recall at each of them, in [0, 1].
    name : str or None, default=None
        Name of the curve in the legend.
    note : str, default=""
        Note written below the name.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        The axes with the curve, and their figure.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sk_dml.metrics.recall_at_k_score : Recall for one k.

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

    k: Any
    recall: Any
    _: KW_ONLY
    name: Any = None
    note: Any = ""

    def plot(self, ax=None, *, name=None, line_kwargs=None):
        """Draw the curve.

        Parameters
        ----------
        {ax}
        name : str or None, default=None
            Name of the curve in the legend. None takes the display's.
        line_kwargs : dict or None, default=None
            Other arguments of ``ax.plot``.

        {display}
        """
        with _base.axes_for(self, ax, figsize=(6, 4.5)) as ax:
            from matplotlib import ticker
            from matplotlib.lines import Line2D

            self.ax_, self.figure_ = ax, ax.figure
            curves = [line for line in ax.get_lines() if line.get_gid() == CURVE]
            others = ax.get_legend_handles_labels()[0]
            others = [artist for artist in others if artist not in curves]
            n = len(curves)
            style: dict[str, Any] = {"marker": _base.MARKERS[n % 10], "markersize": 5}
            style |= {"color": _base.COLORS[n % 10], "linestyle": _base.LINES[n % 4]}
            style = _base.styled(style, line_kwargs, Line2D)
            (self.line_,) = ax.plot(self.k, self.recall, **style)
            label = f"recall@{self.k[0]} = {self.recall[0]:.1%}"
            name = self.name if name is None else name
            label = label if name is None else f"{_base.plain(name, 40)}, {label}"
            label += f"\n{_base.plain(self.note)}" if self.note else ""
            self.line_.set(label=label, gid=CURVE)
            curves.append(self.line_)
            ax.set_xscale("log")
            ticks = np.unique(np.concatenate([curve.get_xdata() for curve in curves]))
            if len(ticks) <= 12:
                ax.set_xticks(ticks)
                ax.xaxis.set_minor_locator(ticker.NullLocator())
            ax.xaxis.set_major_formatter(ticker.ScalarFormatter())
            ax.yaxis.set_major_formatter(ticker.PercentFormatter(1))
            ax.set_xlabel("k, number of neighbors looked at (log scale)")
            ax.set_ylabel("recall@k: queries that find their class")
            ax.grid(color="0.9")
            ax.set_axisbelow(True)
            # Names of other artists may be mathtext; our own are shown literally.
            names = [""] * len(curves) + [artist.get_label() for artist in others]
            style = {"fontsize": "small", "handlelength": 3}
            legend = ax.legend([*curves, *others], names, **style)
            for text, curve in zip(legend.get_texts(), curves, strict=False):
                _base.write(text, curve.get_label())
            _base.describe(ax, "Recall among the nearest neighbors")
        return self

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

        Neighbors at equal distance count with the mean over all their orders.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of the queries.
        labels : array-like of shape (n_samples,)
            Classes of the queries.
        k : array-like of int or None, default=None
            Numbers of neighbors, from 1 to the size of the gallery. None takes the
            powers of two up to 128.
        metric : {"euclidean", "cosine"}, default="euclidean"
            Distance that orders the neighbors.
        gallery : array-like of shape (n_gallery, n_features) or None, default=None
            Embeddings to search in. None searches each sample of X among all others.
        gallery_labels : array-like of shape (n_gallery,) or None, default=None
            Classes of the gallery.
        name : str or None, default=None
            Name of the curve in the legend. :meth:`from_estimator` uses the name of the
            estimator's class by default.
        {ax}
        line_kwargs : dict or None, default=None
            Other arguments of ``ax.plot``.

        {display}
        ValueError
            If shapes or values are invalid, or no query has a relevant sample.

        Warns
        -----
        UserWarning
            If queries are left out because the gallery has no sample of their class, or
            the gallery has one class only.
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
    """Return the sorted numbers of neighbors; powers of two for None."""
    if k is None:
        return 2 ** np.arange(min(8, max(largest, 1).bit_length()))
    k = np.asarray(k)
    is_valid = k.ndim == 1 and k.size and k.dtype.kind in "iu"
    if not is_valid or k.min() < 1 or k.max() > largest:
        raise ValueError(
            f"k must be a list of integers from 1 to {largest}, the size of the "
            f"gallery, got {k.tolist()}."
        )
    return np.unique(k)
