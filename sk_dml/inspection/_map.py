"""Two dimensions of many, and where on a map there is room."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from sk_dml.utils import warn

FEWEST_UMAP = 4  # samples: of fewer it cannot tell who is near whom
METHODS = ("pca", "tsne", "umap")


def reduce(X, method, random_state):
    """Map rows, 2 or more, to two dimensions; return positions and names of axes."""
    names = {"pca": "principal component", "tsne": "t-SNE", "umap": "UMAP"}
    axis_names = tuple(f"{names[method]} {i}" for i in (1, 2))
    if method == "umap":
        try:
            import umap
        except ImportError as error:
            raise ImportError(
                "method='umap' requires umap-learn. You can install it with "
                "`pip install umap-learn`."
            ) from error
    if (X[0] == X).all():
        warn(
            f"All {len(X)} samples are embedded at the same point: there is nothing "
            "to map.",
        )
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
        # Half as many neighbours as there are samples is more than it can take.
        perplexity = min(30.0, max(1.0, (len(X) - 1) / 3))
        model = TSNE(perplexity=perplexity, random_state=random_state)
    else:
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        if len(X) < FEWEST_UMAP:
            raise ValueError(
                f"method='umap' needs {FEWEST_UMAP} or more samples, got {len(X)}."
            )
        n_neighbors = min(15, len(X) - 1)
        model = umap.UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(X), dtype=np.float64), axis_names


def spread(points, n_chosen, smallest):
    """Choose points far from each other.

    Returns at most ``n_chosen`` places, and the least distance of two of them, along
    the axis where they are farther apart: ``smallest`` or more, inf for fewer than two.
    """
    if n_chosen == 0:
        return np.arange(0), np.inf
    # The farthest from those chosen so far, again and again, from the middle on.
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
