"""A map of an embedding in two dimensions."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sk_dml.inspection import _items, _style
from sk_dml.inspection._data import check_embeddings, draw_sample, embed_labelled
from sk_dml.inspection._map import METHODS, densest, reduce, spread
from sk_dml.utils import as_labels, encode_labels

MAX_LEGEND = 10  # classes, as there are colours
MAX_NAMES = 30  # classes named on the map
UNCHOSEN = "#cccccc"  # points of classes that are not highlighted
SIZES = (200, 2000, 5000), (30, 16, 8)  # numbers of points, and their areas
POINTS_PER_INCH = 72
SMALLEST_THUMBNAIL, LARGEST_THUMBNAIL = 14, 40  # points
FILLED = 0.85  # share of the room between thumbnails that they take


class EmbeddingDisplay:
    """A map of an embedding in two dimensions, coloured by class.

    It is recommended to use :meth:`from_estimator` or :meth:`from_embeddings`. All
    parameters are stored as attributes.

    Parameters
    ----------
    positions : ndarray of shape (n_points, 2), float
        Where every sample lies on the map.
    labels : array-like of shape (n_points,)
        Their classes.
    images : array-like of shape (n_points, ...) or None, default=None
        What the samples look like: images of shape (n, h, w), (n, h, w, c) or
        (n, c, h, w), or paths of image files.
    axis_names : tuple of two str, default=("", "")
        What the axes mean.
    has_scale : bool, default=True
        Whether distances on the map mean anything; the axes have ticks if so.
    n_classes : int or None, default=None
        How many classes there are, where ``labels`` may lack some. None counts them.
    note : str, default=""
        What one must know to read the map; it is written above it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the map.
    figure_ : matplotlib Figure
        Their figure.
    scatters_ : list of matplotlib PathCollection
        The points: of each class where there is a legend, of all classes otherwise.
    thumbnails_ : list of matplotlib AnnotationBbox
        The images shown; empty without images.
    legend_ : matplotlib Legend or None
        None with more than 10 classes.

    See Also
    --------
    RetrievalDisplay : What lies nearest in all dimensions, which no map can show.

    References
    ----------
    .. [1] L. van der Maaten, G. Hinton. "Visualizing Data using t-SNE". JMLR 2008.
    .. [2] L. McInnes, J. Healy, J. Melville. "UMAP: Uniform Manifold Approximation and
           Projection for Dimension Reduction". arXiv:1802.03426, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.inspection import EmbeddingDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> images = X.reshape(-1, 8, 8)
    >>> display = EmbeddingDisplay.from_embeddings(X, y, images=images, random_state=0)
    >>> display.positions.shape, len(display.scatters_)
    ((1797, 2), 10)
    """

    def __init__(
        self,
        positions,
        labels,
        *,
        images=None,
        axis_names=("", ""),
        has_scale=True,
        n_classes=None,
        note="",
    ):
        self.positions = positions
        self.labels = labels
        self.images = images
        self.axis_names = axis_names
        self.has_scale = has_scale
        self.n_classes = n_classes
        self.note = note

    def plot(self, ax=None, *, n_thumbnails=80, highlight=None, scatter_kw=None):
        """Draw the map.

        Up to 10 classes have a colour, a shape and a place in the legend each. Of more
        classes several share a colour; up to 30 are named where they are densest.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        n_thumbnails : int, default=80
            How many images to show, at least 0, spread over the map. Fewer are shown
            where more would cover each other.
        highlight : array-like of at most 10 labels or None, default=None
            Colour these classes alone and leave the others grey.
        scatter_kw : dict or None, default=None
            More arguments of ``ax.scatter``.

        Returns
        -------
        self : object
            The display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a parameter does not fit.
        """
        if n_thumbnails < 0:
            raise ValueError(f"n_thumbnails must be >= 0, got {n_thumbnails}.")
        ax = _style.new_axes(f"{type(self).__name__}.plot", ax, figsize=(7.5, 6))
        self.ax_, self.figure_ = ax, ax.figure
        positions = np.asarray(self.positions)
        if self.images is not None:
            images, kind = _items.check_items(
                self.images,
                len(positions),
                name="images",
                allowed=("image", "path"),
            )
        classes, codes = encode_labels(self.labels, name="labels")
        shown = _chosen(highlight, classes)
        colors = np.array([*_style.COLORS, UNCHOSEN])
        # The place of every class among the colours, the last for those left grey.
        places = np.arange(len(classes)) % (len(colors) - 1)
        n_classes = len(classes) if self.n_classes is None else self.n_classes
        notes = [self.note] if self.note else []
        if highlight is not None:
            places = np.full(len(classes), len(colors) - 1)
            places[shown] = np.arange(len(shown))
            notes.append(f"{len(shown):,} of {n_classes:,} classes in colour")
        elif len(classes) > MAX_LEGEND:
            notes.append(f"{n_classes:,} classes share {MAX_LEGEND} colours")
        colors = colors[places[codes]]
        style: dict[str, Any] = {
            "s": np.interp(len(positions), *SIZES),
            "linewidths": 0,
        }
        style |= {"alpha": 0.8, **(scatter_kw or {})}
        self.scatters_, self.legend_ = [], None
        if highlight is None and len(classes) > MAX_LEGEND:
            self.scatters_ = [ax.scatter(*positions.T, c=colors, **style)]
        else:
            rest = ~np.isin(codes, shown)
            if rest.any():
                ax.scatter(*positions[rest].T, **{"c": UNCHOSEN, **style, "zorder": 0})
                style["s"] = 4 * style["s"]
            self._draw_classes(positions, codes, shown, colors, style)
            self._add_legend(classes[shown])
        ax.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        if self.has_scale:
            ax.set_aspect("equal", adjustable="datalim")
            ax.tick_params(labelsize="small", color="0.7", labelcolor=_style.QUIET)
        else:
            ax.set(xticks=[], yticks=[])
        _style.describe(ax, "Map of the embedding", "; ".join(notes))
        self.thumbnails_ = []
        if self.images is not None:
            self._draw_thumbnails(images, kind, positions, colors, n_thumbnails)
        elif highlight is None and MAX_LEGEND < len(classes) <= MAX_NAMES:
            self._draw_names(positions, classes, codes)
        return self

    def _draw_classes(self, positions, codes, shown, colors, style):
        for code, marker in zip(shown, _style.MARKERS, strict=False):
            own = codes == code
            style_of_class = {"c": colors[own], "marker": marker, **style}
            points = self.ax_.scatter(*positions[own].T, **style_of_class)
            self.scatters_.append(points)

    def _add_legend(self, names):
        self.legend_ = _style.add_legend(
            self.ax_,
            self.scatters_,
            [_style.plain(name, 24) for name in names],
            title="class",
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            markerscale=1.5 if len(names) == len(self.scatters_) else 1.0,
        )

    def _draw_names(self, positions, classes, codes):
        from matplotlib.patheffects import withStroke

        for code, name in enumerate(classes):
            x, y = densest(positions[codes == code])
            text = self.ax_.text(x, y, "", ha="center", va="center", weight="bold")
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])
            _style.write(text, _style.plain(name, 16))

    def _draw_thumbnails(self, images, kind, positions, colors, n_thumbnails):
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        figure = self.figure_.figure  # that of a subfigure
        figure.draw_without_rendering()  # settles where the axes are
        points = self.ax_.transData.transform(positions) * POINTS_PER_INCH / figure.dpi
        chosen, spacing = spread(points, n_thumbnails, SMALLEST_THUMBNAIL / FILLED)
        side = min(FILLED * spacing, LARGEST_THUMBNAIL)
        pictures = _items.read_images(_items.take(images, chosen), kind)
        for index, picture in zip(chosen, pictures, strict=True):
            zoom = side / max(picture.shape[:2])
            frame = {"edgecolor": colors[index], "linewidth": 1.5}
            box = AnnotationBbox(
                OffsetImage(picture, zoom=zoom, **_items.grey(picture)),
                positions[index],
                pad=0.08,
                bboxprops=frame,
            )
            self.thumbnails_.append(self.ax_.add_artist(box))

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        method="pca",
        images=None,
        max_samples=5000,
        random_state=None,
        ax=None,
        n_thumbnails=80,
        highlight=None,
        scatter_kw=None,
    ):
        """Embed samples and map the embedding.

        Parameters
        ----------
        estimator : object
            A fitted embedder (any transformer), a Pipeline that holds one, or a search.
        X : array-like of shape (n_samples, ...)
            Samples.
        y : array-like of shape (n_samples,)
            Their classes.
        method : {"pca", "tsne", "umap"}, default="pca"
            As for :meth:`from_embeddings`.
        images : array-like of shape (n_samples, ...) or None, default=None
            As for :meth:`from_embeddings`.
        max_samples : int or None, default=5000
            As for :meth:`from_embeddings`; all of X is embedded.
        random_state : int, RandomState instance or None, default=None
            As for :meth:`from_embeddings`.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        n_thumbnails : int, default=80
            As for :meth:`plot`.
        highlight : array-like of at most 10 labels or None, default=None
            As for :meth:`plot`.
        scatter_kw : dict or None, default=None
            As for :meth:`plot`.

        Returns
        -------
        EmbeddingDisplay
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
            method=method,
            images=images,
            max_samples=max_samples,
            random_state=random_state,
            ax=ax,
            n_thumbnails=n_thumbnails,
            highlight=highlight,
            scatter_kw=scatter_kw,
        )

    @classmethod
    def from_embeddings(
        cls,
        X,
        labels,
        *,
        method="pca",
        images=None,
        max_samples=5000,
        random_state=None,
        ax=None,
        n_thumbnails=80,
        highlight=None,
        scatter_kw=None,
    ):
        """Map embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, with 2 or more features.
        labels : array-like of shape (n_samples,)
            Their classes.
        method : {"pca", "tsne", "umap"}, default="pca"
            The map: "pca" is linear and keeps the largest distances. "tsne" [1]_ and
            "umap" [2]_ keep who is near whom, and neither sizes nor distances; "umap"
            needs umap-learn.
        images : array-like of shape (n_samples, ...) or None, default=None
            What the samples look like: images of shape (n, h, w), (n, h, w, c) or
            (n, c, h, w), or paths of image files. Some are shown in place of points.
        max_samples : int or None, default=5000
            How many samples to map, at least 2, drawn at random where there are more.
            None maps all.
        random_state : int, RandomState instance or None, default=None
            Draws the samples and seeds the map.
        ax : matplotlib Axes or None, default=None
            Where to draw. None makes a figure.
        n_thumbnails : int, default=80
            As for :meth:`plot`.
        highlight : array-like of at most 10 labels or None, default=None
            As for :meth:`plot`.
        scatter_kw : dict or None, default=None
            As for :meth:`plot`.

        Returns
        -------
        EmbeddingDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib, or umap-learn for "umap", is not installed.
        ValueError
            If shapes or values do not fit.

        Warns
        -----
        UserWarning
            If all samples are embedded at the same point.
        """
        _style.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
        if max_samples is not None and max_samples < 2:
            raise ValueError(f"max_samples must be >= 2 or None, got {max_samples}.")
        X, classes, _ = check_embeddings(X, labels, min_features=2)
        if images is not None:
            images, _ = _items.check_items(
                images, len(X), name="images", allowed=("image", "path")
            )
        random_state = check_random_state(random_state)
        sample = draw_sample(len(X), max_samples, random_state)
        positions, axis_names = reduce(X[sample], method, random_state)
        note = (
            f"{len(X):,} samples"
            if len(sample) == len(X)
            else f"{len(sample):,} of {len(X):,} samples, drawn at random"
        )
        display = cls(
            positions,
            np.asarray(as_labels(labels))[sample],
            images=None if images is None else _items.take(images, sample),
            axis_names=axis_names,
            has_scale=method == "pca",
            n_classes=len(classes),
            note=note,
        )
        return display.plot(
            ax=ax,
            n_thumbnails=n_thumbnails,
            highlight=highlight,
            scatter_kw=scatter_kw,
        )


def _chosen(highlight, classes):
    """Find the classes to colour, all without a choice."""
    if highlight is None:
        return np.arange(len(classes))
    labels = list(as_labels(highlight).tolist())
    places = {label: i for i, label in enumerate(classes.tolist())}
    unknown = [label for label in labels if label not in places]
    if unknown or not 1 <= len(labels) <= MAX_LEGEND:
        raise ValueError(
            f"highlight must name 1 to {MAX_LEGEND} of the classes on the map, got "
            f"{len(labels)}, of which unknown: {unknown[:MAX_LEGEND]}."
        )
    return np.array([places[label] for label in labels])
