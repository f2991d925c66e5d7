"""Cosine similarities within and between classes."""

from typing import Any

import numpy as np
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from sk_dml.inspection import _style
from sk_dml.inspection._data import check_embeddings, embed_labelled
from sk_dml.inspection._pairs import anchor_pairs, sampled_pairs

KINDS = ("density", "plane")
NEGATIVES = ("hardest", "sampled")


class SimilarityDisplay:
    """Cosine similarities within a class beside those between classes.

    The farther the two are apart, the better a threshold tells whether two samples are
    of one class. It is recommended to use :meth:`from_estimator` or
    :meth:`from_embeddings`. All parameters are stored as attributes.

    Parameters
    ----------
    positive_similarities : ndarray of shape (n_positives,), float
        Similarities of samples of one class, in [-1, 1].
    negative_similarities : ndarray of shape (n_negatives,), float
        Similarities of samples of two classes. For the plane, those of the same anchors
        as the positive ones, place by place.
    kind : {"density", "plane"}, default="density"
        What to draw.
    negatives : {"hardest", "sampled"}, default="hardest"
        For the plane: which samples of other classes an anchor is compared with.
    note : str, default=""
        What one must know to read the picture; it is written above it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.
    histograms_ : list of two lists of matplotlib patches
        The densities within and between classes; for the density alone.
    scatter_ : matplotlib PathCollection
        The anchors; for the plane alone.
    boundary_ : matplotlib Circle or None
        The decision boundary, if a margin is given; for the plane alone.

    References
    ----------
    .. [1] Y. Sun, C. Cheng, Y. Zhang, C. Zhang, L. Zheng, Z. Wang, Y. Wei. "Circle
           Loss: A Unified Perspective of Pair Similarity Optimization". CVPR 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml.inspection import SimilarityDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = SimilarityDisplay.from_embeddings(X - X.mean(axis=0), y)
    >>> len(display.positive_similarities), len(display.negative_similarities)
    (3675, 7500)
    >>> bool(display.positive_similarities.mean() > 0.5)
    True
    >>> bool(display.negative_similarities.mean() < 0)
    True
    """

    def __init__(
        self,
        positive_similarities,
        negative_similarities,
        *,
        kind="density",
        negatives="hardest",
        note="",
    ):
        self.positive_similarities = positive_similarities
        self.negative_similarities = negative_similarities
        self.kind = kind
        self.negatives = negatives
        self.note = note

    def plot(self, ax=None, *, margin=None, n_bins=60):
        """Draw the densities, or the plane.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        margin : float or None, default=None
            For the plane: draws the boundary that the Circle loss of this margin asks
            anchors to cross, ``s_n**2 + (s_p - 1)**2 = 2 * margin**2`` [1]_.
        n_bins : int, default=60
            Bins of the densities.

        Returns
        -------
        self : object
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a margin is given with densities, or is not above 0.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}.")
        if margin is not None and (self.kind != "plane" or margin <= 0):
            raise ValueError(
                f"margin must be None, or above 0 with kind='plane'; got {margin} with "
                f"kind={self.kind!r}."
            )
        size = (6.5, 4) if self.kind == "density" else (5.6, 6)
        ax = _style.new_axes(f"{type(self).__name__}.plot", ax, figsize=size)
        self.ax_, self.figure_ = ax, ax.figure
        if self.kind == "density":
            self._draw_densities(n_bins)
        else:
            self._draw_plane(margin)
        return self

    def _draw_densities(self, n_bins):
        ax = self.ax_
        both = [
            np.asarray(self.positive_similarities),
            np.asarray(self.negative_similarities),
        ]
        # Rounding may bring a similarity beyond 1.
        both = [np.clip(values, -1, 1) for values in both]
        lowest = min(0.99, *(values.min() for values in both))
        edges = np.linspace(lowest, 1, n_bins + 1)
        self.histograms_, names = [], []
        for values, color, line, which in zip(
            both,
            (_style.SAME, _style.OTHER),
            ("-", "--"),
            ("same class", "different classes"),
            strict=True,
        ):
            style = {"bins": edges, "density": True, "histtype": "stepfilled"}
            face = ax.hist(values, **style, color=color, alpha=0.25)[2]
            style |= {"fill": False, "edgecolor": color, "linestyle": line}
            outline = ax.hist(values, **style, linewidth=1.5)[2]
            self.histograms_.append([*face, *outline])
            names.append(f"{which}: {len(values):,} pairs, mean {values.mean():.2f}")
        handles = [tuple(patches) for patches in self.histograms_]
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
        ax.legend(handles, names, loc="upper left")
        ax.set(xlabel="cosine similarity of two samples", ylabel="density of pairs")
        ax.margins(x=0.02)
        _style.describe(ax, "Similarity within and between classes", self.note)

    def _draw_plane(self, margin):
        from matplotlib.lines import Line2D
        from matplotlib.patches import Circle

        ax = self.ax_
        n = np.asarray(self.negative_similarities)
        p = np.asarray(self.positive_similarities)
        is_hardest = self.negatives == "hardest"
        self.scatter_ = ax.scatter(
            n,
            p,
            s=14 if len(n) <= 2000 else 6,
            alpha=float(np.clip(1000 / len(n), 0.06, 0.5)),
            color=_style.COLORS[0],
            linewidths=0,
        )
        ax.plot([-1, 1], [-1, 1], color="0.4", linestyle=":")
        point: dict[str, Any] = {
            "marker": "o",
            "linestyle": "",
            "color": _style.COLORS[0],
        }
        handles = [
            Line2D([], [], markersize=4, **point),
            Line2D([], [], color="0.4", linestyle=":"),
        ]
        names = [
            "an anchor" if is_hardest else "an anchor and one of another class",
            f"$s_p = s_n$; above it {np.mean(p > n):.0%} of the points",
        ]
        low = min(n.min(), p.min()) - 0.05
        self.boundary_ = None
        if margin is not None:
            radius = np.sqrt(2) * margin
            style: dict[str, Any] = {
                "color": _style.OTHER,
                "linestyle": "--",
                "linewidth": 2,
            }
            self.boundary_ = Circle((0, 1), radius, fill=False, **style)
            ax.add_patch(self.boundary_)
            inside = np.mean(n**2 + (p - 1) ** 2 <= radius**2)
            handles.append(Line2D([], [], **style))
            names.append(f"margin {margin:g}; inside it {inside:.0%} of the points")
            low = min(low, 1 - radius - 0.05)
        nearest = "most similar sample" if is_hardest else "samples"
        ax.set(
            xlim=(low, 1.03),
            ylim=(low, 1.03),
            xlabel=f"$s_n$, similarity to {nearest} of other classes",
            ylabel="$s_p$, similarity to least similar sample of own class",
        )
        ax.set_aspect("equal")
        ax.legend(handles, names, loc="lower left", fontsize="small")
        title = "Hardest similarities" if is_hardest else "Similarities"
        _style.describe(ax, f"{title} of every anchor", self.note)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        kind="density",
        margin=None,
        negatives="hardest",
        n_pairs=20000,
        n_anchors=1000,
        random_state=None,
        n_bins=60,
        ax=None,
    ):
        """Embed samples and compare them.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        kind : {"density", "plane"}, default="density"
            As for :meth:`from_embeddings`.
        margin : float or None, default=None
            As for :meth:`plot`.
        negatives : {"hardest", "sampled"}, default="hardest"
            As for :meth:`from_embeddings`.
        n_pairs : int, default=20000
            As for :meth:`from_embeddings`.
        n_anchors : int or None, default=1000
            As for :meth:`from_embeddings`.
        random_state : int, RandomState instance or None, default=None
            Draws pairs and anchors.
        n_bins : int, default=60
            Bins of the densities.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        SimilarityDisplay
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
            kind=kind,
            margin=margin,
            negatives=negatives,
            n_pairs=n_pairs,
            n_anchors=n_anchors,
            random_state=random_state,
            n_bins=n_bins,
            ax=ax,
        )

    @classmethod
    def from_embeddings(
        cls,
        X,
        labels,
        *,
        kind="density",
        margin=None,
        negatives="hardest",
        n_pairs=20000,
        n_anchors=1000,
        random_state=None,
        n_bins=60,
        ax=None,
    ):
        """Compare embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings; a row of zeros has similarity 0 to all.
        labels : array-like of shape (n_samples,)
            Their classes.
        kind : {"density", "plane"}, default="density"
            "density" shows how similarities of pairs are distributed. "plane" shows
            every anchor by its similarity to the least similar sample of its class,
            upwards, and to the most similar one of another class, to the right [1]_.
        margin : float or None, default=None
            As for :meth:`plot`.
        negatives : {"hardest", "sampled"}, default="hardest"
            For the plane: "hardest" takes the most similar sample of another class,
            "sampled" draws ``n_pairs // n_anchors`` of them, one or more, per anchor.
        n_pairs : int, default=20000
            How many pairs to draw, at least 1: of one class and, again, of two. All
            pairs are taken where there are no more.
        n_anchors : int or None, default=1000
            For the plane: how many samples to draw as anchors, at least 1; each is
            compared with all samples. None takes all.
        random_state : int, RandomState instance or None, default=None
            Draws pairs and anchors.
        n_bins : int, default=60
            Bins of the densities.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.

        Returns
        -------
        SimilarityDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If shapes or values do not fit, or there are no pairs of either sort.

        Warns
        -----
        UserWarning
            For the plane, if samples are left out because they are alone in their
            class.
        """
        _style.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        _check_choices(kind, negatives, n_pairs, n_anchors)
        X, _, codes = check_embeddings(X, labels)
        rows = normalize(X)
        random_state = check_random_state(random_state)
        if kind == "density":
            same, other, totals = sampled_pairs(rows, codes, n_pairs, random_state)
            if not len(same) or not len(other):
                raise ValueError(
                    f"There are {totals[0]} pairs of one class and {totals[1]} of two; "
                    "both are needed. Give 2 or more classes, one with 2 or more "
                    "samples."
                )
            note = _density_note(len(X), totals, n_pairs)
        else:
            n_negatives = None
            if negatives == "sampled":
                n_drawn = len(X) if n_anchors is None else min(n_anchors, len(X))
                n_negatives = max(1, n_pairs // n_drawn)
            same, other, n_possible = anchor_pairs(
                rows, codes, n_anchors, n_negatives, random_state
            )
            n_drawn = len(same) // (n_negatives or 1)
            note = f"{n_drawn:,} anchors"
            if n_drawn < n_possible:
                note = f"{n_drawn:,} of {n_possible:,} anchors, drawn at random"
            if n_negatives:
                note += f", with {n_negatives:,} of other classes each"
        display = cls(same, other, kind=kind, negatives=negatives, note=note)
        return display.plot(ax, margin=margin, n_bins=n_bins)


def _check_choices(kind, negatives, n_pairs, n_anchors):
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    if negatives not in NEGATIVES:
        raise ValueError(f"negatives must be one of {NEGATIVES}, got {negatives!r}.")
    if n_pairs < 1:
        raise ValueError(f"n_pairs must be >= 1, got {n_pairs}.")
    if n_anchors is not None and n_anchors < 1:
        raise ValueError(f"n_anchors must be >= 1 or None, got {n_anchors}.")


def _density_note(n_samples, totals, n_pairs):
    drawn = ", pairs drawn at random" if max(totals) > n_pairs else ", all pairs"
    return f"{n_samples:,} samples{drawn}"
