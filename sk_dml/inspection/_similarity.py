"""Displays of cosine similarities within and between classes."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.random import sample_without_replacement

from sk_dml.inspection import _base
from sk_dml.inspection._base import FromEstimatorMixin, check_embeddings, draw_sample
from sk_dml.metrics import sample_pairs
from sk_dml.neighbors._validation import check_choice, check_positive

KINDS = ("density", "plane")
NEGATIVES = ("hardest", "sampled")


def sampled_pairs(rows, codes, n_pairs, random_state):
    """Return similarities of drawn pairs of one class, of pairs of two, and a note."""
    sizes = np.bincount(codes)
    n_same = int((sizes * (sizes - 1) // 2).sum())
    n_other = len(codes) * (len(codes) - 1) // 2 - n_same
    if not n_same or not n_other:
        raise ValueError(
            "labels must have 2 or more classes, one with 2 or more samples, got "
            f"{n_same} pairs of one class and {n_other} of two."
        )
    draws = {"n_pairs": n_pairs, "random_state": random_state}
    first, second, is_same = sample_pairs(codes, **draws)
    parts = gen_batches(len(first), 2**14)
    similarities = np.concatenate(
        [np.einsum("ij,ij->i", rows[first[i]], rows[second[i]]) for i in parts]
    )
    same, other = similarities[is_same], similarities[~is_same]
    note = f"{len(same):,} of {n_same:,} pairs within classes, "
    return same, other, note + f"{len(other):,} of {n_other:,} between them"


def anchor_pairs(rows, codes, *, negatives, n_anchors, n_pairs, random_state):
    """Return similarities of anchors to own and other classes (n,), and a note.

    The positive is the least similar sample of the anchor's class.
    """
    sizes = np.bincount(codes)[codes]
    needed = "2 or more classes, one with 2 or more samples"
    possible = _base.usable((sizes > 1) & (sizes < len(codes)), needed)
    anchors = possible[draw_sample(len(possible), n_anchors, random_state)]
    n_negatives = max(1, n_pairs // len(anchors))
    positive_parts, negative_parts = [], []
    available = get_config()["working_memory"] * 2**20
    for batch in gen_batches(len(anchors), max(1, int(available / (32 * len(rows))))):
        index = anchors[batch]
        similarities = rows[index] @ rows.T
        same = codes == codes[index, None]
        other = ~same
        same[np.arange(len(index)), index] = False
        least = np.where(same, similarities, np.inf).min(axis=1)
        if negatives == "hardest":
            positive_parts.append(least)
            negative_parts.append(np.where(other, similarities, -np.inf).max(axis=1))
            continue
        for own, is_other, row in zip(least, other, similarities, strict=True):
            others = row[is_other]
            n_drawn = min(n_negatives, len(others))
            drawn = sample_without_replacement(
                len(others), n_drawn, random_state=random_state
            )
            negative_parts.append(others[drawn])
            positive_parts.append(np.full(n_drawn, own))
    note = f"{len(anchors):,} of {len(possible):,} anchors"
    if negatives == "sampled":
        counts = [len(values) for values in negative_parts]
        note += f", with {min(counts):,} to {max(counts):,} of other classes each"
    return np.concatenate(positive_parts), np.concatenate(negative_parts), note


@_base.documented
@dataclass(eq=False, repr=False)
class SimilarityDisplay(FromEstimatorMixin):
    """Cosine similarities within classes beside those between classes.

    The less the two overlap, the better a threshold decides whether two samples are of
    one class. Use :meth:`from_estimator` or :meth:`from_embeddings` to make one; all
    parameters are stored as attributes.

    Parameters
    ----------
    positive_similarities : ndarray of shape (n_positives,), float
        Similarities of samples of one class, in [-1, 1].
    negative_similarities : ndarray of shape (n_negatives,), float
        Similarities of samples of two classes. For the plane, element i is of the same
        anchor as element i of the positive ones.
    kind, negatives : str
        As in :meth:`from_embeddings`. The plane is that of [1]_.
    note : str, default=""
        Note written above the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        The axes drawn on, and their figure.
    histograms_ : list of two lists of matplotlib patches
        The densities within and between classes; empty for the plane.
    scatter_ : matplotlib PathCollection or None
        The anchors; None for the density.
    boundary_ : matplotlib Line2D or None
        The decision boundary, if a margin is given.

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
    """

    positive_similarities: Any
    negative_similarities: Any
    _: KW_ONLY
    kind: Any = "density"
    negatives: Any = "hardest"
    note: Any = ""

    def plot(
        self, ax=None, *, margin=None, n_bins=60, hist_kwargs=None, scatter_kwargs=None
    ):
        """Draw the densities, or the plane.

        Parameters
        ----------
        {ax}
        margin : float or None, default=None
            For the plane: draws the decision boundary of the Circle loss of this
            margin, ``max(s_n, -margin)**2 + (s_p - 1)**2 = 2 * margin**2``: an arc
            and, where s_n is so small that the pair has no weight, a horizontal line.
        n_bins : int, default=60
            Number of bins of the densities.
        hist_kwargs, scatter_kwargs : dict or None, default=None
            Other arguments of ``ax.hist``, for the densities, or ``ax.scatter``, for
            the plane.

        {display}
        ValueError
            If a margin is given with densities, or is not above 0.
        """
        _check_choices(self.kind, self.negatives, margin)
        size = (6.5, 4) if self.kind == "density" else (5.6, 6.5)
        with _base.axes_for(self, ax, figsize=size) as ax:
            self.ax_, self.figure_ = ax, ax.figure
            self.histograms_, self.scatter_, self.boundary_ = [], None, None
            if self.kind == "density":
                self._draw_densities(n_bins, hist_kwargs)
            else:
                self._draw_plane(margin, scatter_kwargs)
        return self

    def _draw_densities(self, n_bins, hist_kwargs):
        from matplotlib.colors import to_rgba
        from matplotlib.patches import Patch

        ax = self.ax_
        # Rounding may carry a similarity beyond 1.
        same, other = (
            np.clip(values, -1, 1)
            for values in (self.positive_similarities, self.negative_similarities)
        )
        edges = np.linspace(min(0.99, same.min(), other.min()), 1, n_bins + 1)
        names = []
        for values, color, line, which in (
            (same, _base.SAME, "-", "same class"),
            (other, _base.OTHER, "--", "different classes"),
        ):
            style: dict[str, Any] = {"facecolor": to_rgba(color, 0.25)}
            style |= {"edgecolor": color, "linestyle": line, "linewidth": 1.5}
            style |= {"bins": edges, "density": True, "histtype": "stepfilled"}
            style = _base.styled(style, hist_kwargs, Patch)
            self.histograms_.append(ax.hist(values, **style)[2])
            names.append(f"{which}: {len(values):,} pairs, mean {values.mean():.2f}")
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
        ax.legend([patches[0] for patches in self.histograms_], names, loc="upper left")
        ax.set(xlabel="cosine similarity of two samples", ylabel="density of pairs")
        ax.margins(x=0.02)
        _base.describe(ax, "Similarity within and between classes", self.note)

    def _draw_plane(self, margin, scatter_kwargs):
        """Draw every anchor at its negative and positive similarity."""
        from matplotlib.collections import PathCollection
        from matplotlib.transforms import ScaledTranslation

        ax = self.ax_
        n = np.asarray(self.negative_similarities)
        p = np.asarray(self.positive_similarities)
        is_hardest = self.negatives == "hardest"
        style = {
            "s": 14 if len(n) <= 2000 else 6,
            "alpha": float(np.clip(1000 / len(n), 0.06, 0.5)),
            "c": _base.COLORS[0],
            "linewidth": 0,
            "label": "an anchor" + ("" if is_hardest else " and one of another class"),
        }
        style = _base.styled(style, scatter_kwargs, PathCollection)
        self.scatter_ = ax.scatter(n, p, **style)
        share = f"above it {np.mean(p > n):.0%} of the points"
        style = {"color": "0.4", "linestyle": ":", "label": f"$s_p = s_n$; {share}"}
        handles = [self.scatter_, *ax.plot([-1, 1], [-1, 1], **style)]
        low = min(n.min(), p.min()) - 0.05
        if margin is not None:
            low = min(low, 1 - np.sqrt(2) * margin - 0.05)
            # A pair with s_n below -margin has no weight.
            across = np.linspace(-margin, np.sqrt(2) * margin, 200)
            up = 1 - np.sqrt(np.maximum(2 * margin**2 - across**2, 0))
            crossed = np.maximum(n, -margin) ** 2 + (p - 1) ** 2 <= 2 * margin**2
            share = f"beyond it {crossed.mean():.0%} of the points"
            style = {"color": _base.OTHER, "linestyle": "--", "linewidth": 2}
            style["label"] = f"margin {margin:g}; {share}"
            line = [min(low, -margin), *across], [up[0], *up]
            (self.boundary_,) = ax.plot(*line, **style)
            handles.append(self.boundary_)
        near = "most similar sample" if is_hardest else "samples"
        ax.set(
            xlim=(low, 1.03),
            ylim=(low, 1.03),
            xlabel=f"$s_n$, similarity to {near} of other classes",
            ylabel="$s_p$, similarity to least similar sample of own class",
        )
        ax.set_aspect("equal")
        below = ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans)
        corner = {"loc": "upper left", "bbox_to_anchor": (0, 0)}
        style = {"frameon": False, "fontsize": "small", "bbox_transform": below}
        legend = ax.legend(handles=handles, **corner, **style)
        legend.legend_handles[0].set(alpha=1)
        title = "Hardest similarities" if is_hardest else "Similarities"
        _base.describe(ax, f"{title} of anchors", self.note)

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
        hist_kwargs=None,
        scatter_kwargs=None,
    ):
        """Draw the similarities of embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings; a row of zeros has similarity 0 to all.
        labels : array-like of shape (n_samples,)
            Classes of the samples.
        kind : {"density", "plane"}, default="density"
            "density" shows the distributions of the similarities of pairs. "plane"
            shows every anchor by its similarity to the least similar sample of its
            class (vertical) and to the most similar one of another class.
        margin : float or None, default=None
            As for :meth:`plot`.
        negatives : {"hardest", "sampled"}, default="hardest"
            For the plane: "hardest" takes the most similar sample of another class;
            "sampled" draws ``n_pairs`` divided by the number of anchors samples for
            every anchor, at least one, or all if they are fewer.
        n_pairs : int, default=20000
            Number of pairs to draw, at least 1, of one class and again of two. All
            pairs are taken if they are fewer.
        n_anchors : int or None, default=1000
            For the plane: number of samples to draw as anchors, at least 1; each is
            compared with all samples. None takes all.
        random_state : int, RandomState instance or None, default=None
            Seed of the drawn pairs and anchors.
        n_bins : int, default=60
            Number of bins of the densities.
        {ax}
        hist_kwargs, scatter_kwargs : dict or None, default=None
            As for :meth:`plot`.

        {display}
        ValueError
            If shapes or values are invalid, or there are no pairs of one kind.

        Warns
        -----
        UserWarning
            For the plane, if samples are left out as the only ones of their class.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        _check_choices(kind, negatives, margin)
        check_positive(n_pairs, "n_pairs")
        _base.check_least(n_anchors=n_anchors)
        X, _, codes = check_embeddings(X, labels)
        rows = normalize(X)
        random_state = check_random_state(random_state)
        if kind == "density":
            same, other, note = sampled_pairs(rows, codes, n_pairs, random_state)
            note = f"{len(X):,} samples: {note}"
        else:
            draws = {"n_anchors": n_anchors, "n_pairs": n_pairs}
            same, other, note = anchor_pairs(
                rows, codes, negatives=negatives, random_state=random_state, **draws
            )
        display = cls(same, other, kind=kind, negatives=negatives, note=note)
        style = {"hist_kwargs": hist_kwargs, "scatter_kwargs": scatter_kwargs}
        return display.plot(ax, margin=margin, n_bins=n_bins, **style)


def _check_choices(kind, negatives, margin):
    check_choice(kind, KINDS, "kind")
    check_choice(negatives, NEGATIVES, "negatives")
    if margin is not None and (kind != "plane" or margin <= 0):
        raise ValueError(
            f"margin must be None, or above 0 with kind='plane'; got {margin} with "
            f"kind={kind!r}."
        )
