"""Maps of embeddings in two dimensions."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_random_state

from sk_dml._utils._labels import as_labels, encode_labels
from sk_dml._utils._warn import warn
from sk_dml.inspection import _base, _items
from sk_dml.inspection._base import FromEstimatorMixin, check_embeddings, nearest
from sk_dml.neighbors._validation import check_choice

METHODS = ("pca", "tsne", "umap")
FEWEST_UMAP = 4  # samples that UMAP needs
FEW = 10  # classes that differ in color alone, as frames of images must
MANY = 100  # classes that differ in color or shape
MAX_LEGEND = 30  # classes
HIGHLIGHTS = tuple(color for color in _base.COLORS if color not in _base.GRAYS)
UNCHOSEN = "#cccccc"  # points of classes that are not highlighted
SIZES = (200, 2000, 5000), (30, 16, 8)  # numbers of points, and their areas
POINTS_PER_INCH = 72
SMALLEST_THUMBNAIL, LARGEST_THUMBNAIL = 14, 40  # points
FILLED = 0.85  # width of a thumbnail per distance of two


def check_highlight(highlight, classes):
    """Return the codes of the classes to color; None without a choice."""
    if highlight is None:
        return None
    labels = as_labels(highlight)
    if isinstance(highlight, (str, bytes)) or labels.ndim != 1:
        raise ValueError(f"highlight must be a list of labels, got {highlight!r}.")
    codes = {label: code for code, label in enumerate(classes.tolist())}
    known = {label for label in labels.tolist() if label in codes}
    if len(known) < len(labels) or not 1 <= len(labels) <= len(HIGHLIGHTS):
        raise ValueError(
            f"highlight must be 1 to {len(HIGHLIGHTS)} different classes of the map, "
            f"got {len(labels)}, different and known {len(known)}: {highlight!r}."
        )
    return np.array([codes[label] for label in labels.tolist()])


def sample_points(codes, chosen, size, random_state):
    """Return indices of drawn samples: of every chosen class first, then of all."""
    if size is None or size >= len(codes):
        return np.arange(len(codes))
    order = random_state.permutation(len(codes))
    if chosen is not None:
        turn = np.where(np.isin(codes[order], chosen), 1, 2)
        firsts = np.unique(codes[order], return_index=True)[1]
        turn[firsts] -= turn[firsts] == 1
        order = order[np.argsort(turn, kind="stable")]
    return np.sort(order[:size])


def group_points(classes, codes, chosen, is_near_own, n_classes):
    """Return groups (name, mask, color, marker), the legend's title and a note.

    Groups without a name are drawn in the background.
    """
    n_classes = len(classes) if n_classes is None else n_classes
    if chosen is not None:
        styles = zip(chosen, HIGHLIGHTS, _base.MARKERS, strict=False)
        groups = [(classes[i], codes == i, *style) for i, *style in styles]
        rest = (None, ~np.isin(codes, chosen), UNCHOSEN, "o")
        note = f"{len(chosen):,} of {n_classes:,} classes in color"
        return [rest, *groups], "class", note
    if is_near_own is not None:
        own = np.asarray(is_near_own, dtype=bool)
        groups = [("its own class", own, _base.SAME, "o")]
        groups += [("another class", ~own, _base.OTHER, "^")]
        note = f"{n_classes:,} classes; the nearest neighbor, in all dimensions, "
        note += f"is of the same class for {own.mean():.0%} of the points"
        return groups, "nearest is of", note
    if len(classes) > MANY:
        every = np.ones(len(codes), dtype=bool)
        return [(None, every, _base.COLORS[0], "o")], "", f"{n_classes:,} classes"
    # Shapes shift by one against the colors after every ten classes.
    groups = [
        (name, codes == i, _base.COLORS[i % FEW], _base.MARKERS[(i + i // FEW) % FEW])
        for i, name in enumerate(classes)
    ]
    note = f"{n_classes:,} classes, each with a color and shape of its own"
    return groups, "class", "" if len(classes) <= MAX_LEGEND else note


def reduce(X, method, random_state):
    """Return positions (n, 2) of rows (n >= 2) on a map, and the names of its axes."""
    names = {"pca": "principal component", "tsne": "t-SNE", "umap": "UMAP"}
    axis_names = tuple(f"{names[method]} {i}" for i in (1, 2))
    if method == "umap":
        try:
            import umap
        except ImportError as error:
            message = "method='umap' requires umap-learn: `pip install umap-learn`."
            raise ImportError(message) from error
    if (X[0] == X).all():
        warn(f"All {len(X)} samples are embedded at the same point; there is no map.")
        return np.zeros((len(X), 2)), axis_names
    if method == "pca":
        pca = PCA(2, random_state=random_state)
        positions = pca.fit_transform(X)
        shares = pca.explained_variance_ratio_
        return positions, tuple(
            f"{name} ({share:.0%} of the variance)"
            for name, share in zip(axis_names, shares, strict=True)
        )
    if method == "tsne":
        # t-SNE needs about three times as many samples as the perplexity.
        perplexity = min(30.0, max(1.0, (len(X) - 1) / 3))
        model = TSNE(perplexity=perplexity, random_state=random_state)
    else:
        if len(X) < FEWEST_UMAP:
            raise ValueError(
                f"method='umap' needs {FEWEST_UMAP} or more samples, got {len(X)}."
            )
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        n_neighbors = min(15, len(X) - 1)
        model = umap.UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(X), dtype=np.float64), axis_names


def spread(points, n_chosen, smallest):
    """Return indices of at most ``n_chosen`` points (n, 2) far from each other.

    Return also the least distance (maximum over the axes) of two of them: ``smallest``
    or more, inf for fewer than two.
    """
    if n_chosen == 0:
        return np.arange(0), np.inf
    # Start in the middle; repeatedly add the point farthest from those chosen.
    middle = np.median(points, axis=0)
    chosen = [int(np.abs(points - middle).max(axis=1).argmin())]
    distances = np.full(len(points), np.inf)
    spacing = np.inf
    while len(chosen) < n_chosen:
        from_last = np.abs(points - points[chosen[-1]]).max(axis=1)
        np.minimum(distances, from_last, out=distances)
        farthest = int(distances.argmax())
        if distances[farthest] < smallest or distances[farthest] == 0:
            break
        chosen.append(farthest)
        spacing = distances[farthest]
    return np.array(chosen), float(spacing)


@_base.documented
@dataclass(eq=False, repr=False)
class EmbeddingDisplay(FromEstimatorMixin):
    """A map of an embedding in two dimensions, colored by class.

    The map is made by principal components, by t-SNE [1]_ or by UMAP [2]_.

    Up to 100 classes have a color and a shape each, and up to 30 are in the legend.
    With more classes, or more than 10 where images are shown, as their frames have no
    shapes, the color shows whether a sample's nearest neighbor is of its class.

    Use :meth:`from_estimator` or :meth:`from_embeddings` to make one; its parameters
    are stored as attributes.

    Parameters
    ----------
    positions : ndarray of shape (n_points, 2), float
        Position of every sample on the map.
    labels : array-like of shape (n_points,)
        Classes of the samples.
    is_near_own : ndarray of shape (n_points,), bool, or None, default=None
        Whether the nearest neighbor of each, in all dimensions, is of its class. If
        given, it decides the colors.
    images : array-like of shape (n_samples, ...) or None, default=None
        Images of shape (n, h, w), (n, h, w, c) or (n, c, h, w), or paths of image
        files.
    image_indices : ndarray of shape (n_points,), int, or None, default=None
        Indices of the points' images. None takes the images in their order.
    axis_names : tuple of two str, default=("", "")
        Labels of the axes.
    has_scale : bool, default=True
        Whether distances on the map have a meaning; if so, the axes have ticks.
    n_classes : int or None, default=None
        Number of classes, where ``labels`` may lack some. None counts them.
    note : str, default=""
        Note written above the map.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        The axes with the map, and their figure.
    scatters_ : list of matplotlib PathCollection
        The points of every class or other group with a color and a shape.
    thumbnails_ : list of matplotlib AnnotationBbox
        The images shown; empty without images.
    legend_ : matplotlib Legend or None
        None with more than 30 groups, or a single one.

    See Also
    --------
    RetrievalDisplay : The nearest neighbors in all dimensions, which no map shows.

    References
    ----------
    .. [1] L. van der Maaten, G. Hinton. "Visualizing Data using t-SNE". JMLR 2008.
    .. [2] L. McInnes, J. Healy, J. Melville. "UMAP: Uniform Manifold Approximation and
           Projection for Dimension Reduction". arXiv:1802.03426, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_dml.inspection import EmbeddingDisplay
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> images = X.reshape(-1, 8, 8)
    >>> display = EmbeddingDisplay.from_embeddings(X, y, images=images, random_state=0)
    >>> display.positions.shape, len(display.scatters_)
    ((537, 2), 3)
    """

    positions: Any
    labels: Any
    _: KW_ONLY
    is_near_own: Any = None
    images: Any = None
    image_indices: Any = None
    axis_names: Any = ("", "")
    has_scale: Any = True
    n_classes: Any = None
    note: Any = ""

    def plot(self, ax=None, *, n_thumbnails=80, highlight=None, scatter_kwargs=None):
        """Draw the map.

        Parameters
        ----------
        {ax}
        n_thumbnails : int, default=80
            Number of images to show, at least 0, spread over the map. Fewer are shown
            if they would overlap.
        highlight : array-like of at most 8 labels or None, default=None
            Classes to color; the others are gray.
        scatter_kwargs : dict or None, default=None
            Other arguments of ``ax.scatter``.

        {display}
        ValueError
            If a parameter is invalid.
        """
        _base.check_least(0, n_thumbnails=n_thumbnails)
        positions = np.asarray(self.positions)
        classes, codes = encode_labels(self.labels, name="labels")
        chosen = check_highlight(highlight, classes)
        if self.images is not None:
            n_images = len(codes) if self.image_indices is None else len(self.images)
            images, kind = _check_images(self.images, n_images)
        with _base.axes_for(self, ax, figsize=(7.5, 6)) as ax:
            self.ax_, self.figure_ = ax, ax.figure
            groups, title, note = group_points(
                classes, codes, chosen, self.is_near_own, self.n_classes
            )
            colors = self._draw_points(positions, groups, scatter_kwargs)
            names = [_base.plain(name, 24) for name, *_ in groups if name is not None]
            self.legend_ = None
            if 0 < len(names) <= MAX_LEGEND:
                is_short = len(names) <= FEW
                style: dict[str, Any] = {"fontsize": "medium" if is_short else "small"}
                style |= {"labelspacing": 0.5 if is_short else 0.15, "frameon": False}
                style |= {"loc": "upper left", "bbox_to_anchor": (1, 1)}
                self.legend_ = _base.add_legend(
                    ax, self.scatters_, names, title=title, markerscale=1.5, **style
                )
            _base.write(ax.xaxis.label, _base.plain(self.axis_names[0]))
            _base.write(ax.yaxis.label, _base.plain(self.axis_names[1]))
            if self.has_scale:
                ax.set_aspect("equal", adjustable="datalim")
                ax.tick_params(labelsize="small", color="0.7", labelcolor=_base.QUIET)
            else:
                ax.set(xticks=[], yticks=[])
            notes = "; ".join(filter(None, [self.note, note]))
            _base.describe(ax, "Map of the embedding", notes)
            self.thumbnails_ = []
            if self.images is not None:
                self._draw_thumbnails(positions, colors, images, kind, n_thumbnails)
        return self

    def _draw_points(self, positions, groups, scatter_kwargs):
        """Draw all groups; return the colors of the points."""
        from matplotlib.collections import PathCollection

        size = np.interp(len(positions), *SIZES)
        if len(groups) > FEW:
            size = 1.6 * size  # so that shapes are visible
        has_rest = len(groups) > 1 and groups[0][0] is None
        colors = np.empty(len(positions), dtype="U7")
        self.scatters_ = []
        for name, own, color, marker in groups:
            colors[own] = color
            is_rest = has_rest and name is None
            area = 4 * size if has_rest and not is_rest else size
            style = {"s": area, "c": color, "marker": marker, "alpha": 0.8}
            style |= {"linewidth": 0, "zorder": 0 if is_rest else 1}
            style = _base.styled(style, scatter_kwargs, PathCollection)
            points = self.ax_.scatter(*positions[own].T, **style)
            if not is_rest:
                self.scatters_.append(points)
        return colors

    def _draw_thumbnails(self, positions, colors, images, kind, n_thumbnails):
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        figure = self.figure_.figure  # that of a subfigure
        figure.draw_without_rendering()  # settles where the axes are
        points = self.ax_.transData.transform(positions) * POINTS_PER_INCH / figure.dpi
        chosen, spacing = spread(points, n_thumbnails, SMALLEST_THUMBNAIL / FILLED)
        side = min(FILLED * spacing, LARGEST_THUMBNAIL)
        is_all = self.image_indices is None
        indices = chosen if is_all else np.asarray(self.image_indices)[chosen]
        read = _items.read_items(images, kind, indices)
        for image, index in zip(read, chosen, strict=True):
            shown = OffsetImage(
                image, zoom=side / max(image.shape[:2]), **_items.gray()
            )
            frame = {"edgecolor": colors[index], "linewidth": 1.5}
            box = AnnotationBbox(shown, positions[index], pad=0.08, bboxprops=frame)
            self.thumbnails_.append(self.ax_.add_artist(box))

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
        scatter_kwargs=None,
    ):
        """Draw a map of embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, with 2 or more features.
        labels : array-like of shape (n_samples,)
            Classes of the samples.
        method : {"pca", "tsne", "umap"}, default="pca"
            The map: "pca" is linear and keeps the largest distances. "tsne" and
            "umap" keep neighborhoods, but neither sizes nor distances; "umap" needs
            umap-learn.
        images : array-like of shape (n_samples, ...) or None, default=None
            Images of shape (n, h, w), (n, h, w, c) or (n, c, h, w), or paths of image
            files. Some are shown instead of points.
        max_samples : int or None, default=5000
            Maximum number of samples, at least 2, drawn at random where there are more,
            those of highlighted classes first. None maps all.
        random_state : int, RandomState instance or None, default=None
            Seed of the drawn samples and of the map.
        {ax}
        n_thumbnails, highlight, scatter_kwargs : object
            As for :meth:`plot`.

        {display}
        ValueError
            If shapes or values are invalid.

        Warns
        -----
        UserWarning
            If all samples are embedded at the same point.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_embeddings")
        check_choice(method, METHODS, "method")
        _base.check_least(0, n_thumbnails=n_thumbnails)
        X, classes, codes = check_embeddings(X, labels, min_features=2)
        chosen = check_highlight(highlight, classes)
        fewest = 2 if chosen is None else max(2, len(chosen))
        _base.check_least(fewest, max_samples=max_samples)
        if images is not None:
            _check_images(images, len(X))
        random_state = check_random_state(random_state)
        sample = sample_points(codes, chosen, max_samples, random_state)
        note = f"{len(X):,} samples"
        if len(sample) < len(X):
            which = "drawn at random" if chosen is None else "the highlighted first"
            note = f"{len(sample):,} of {note}, {which}"
        is_near_own = None
        if len(classes) > (MANY if images is None else FEW):
            neighbors = nearest(X, sample)[1][:, 0]
            is_near_own = codes[neighbors] == codes[sample]
        positions, axis_names = reduce(X[sample], method, random_state)
        display = cls(
            positions,
            np.asarray(as_labels(labels))[sample],
            is_near_own=is_near_own,
            images=images,
            image_indices=None if images is None else sample,
            axis_names=axis_names,
            has_scale=method == "pca",
            n_classes=len(classes),
            note=note,
        )
        style = {"highlight": highlight, "scatter_kwargs": scatter_kwargs}
        return display.plot(ax, n_thumbnails=n_thumbnails, **style)


def _check_images(images, n_samples):
    allowed = ("image", "path")
    return _items.check_items(images, n_samples, name="images", allowed=allowed)
