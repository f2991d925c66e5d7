"""Draw the pictures of the documentation: every display, with few and many classes.

Takes .npz files with X, images or rows, and y, their classes: the first with images,
the second with rows, the third with images of very many classes. Trains on the first
half of the classes and shows the other half, which the embedder has not seen.

    python examples/make_images.py images.npz rows.npz many.npz --save docs/images
"""

import argparse
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from sk_dml import CircleEmbedder
from sk_dml.inspection import (
    EmbeddingDisplay,
    RecallCurveDisplay,
    RetrievalDisplay,
    SimilarityDisplay,
    TrainingDisplay,
)
from sk_dml.metrics import retrieval_values

SEED = 0


def load(path):
    """Read X and y, and the names of the classes if the file has them."""
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"], file["y"]
        names = file.get("class_names")
    return X, y if names is None else names[y]


def first_half(y):
    """Return a mask of the samples of the first half of the classes."""
    classes = np.unique(y)
    return np.isin(y, classes[: len(classes) // 2])


def save(display, folder, name):
    """Write a figure to a file and close it."""
    path = Path(folder, f"{name}.png")
    buffer = io.BytesIO()
    display.figure_.savefig(buffer, dpi=100)
    # With a palette a file has a third of the size.
    Image.open(buffer).convert("RGB").quantize(256, kmeans=3).save(path, optimize=True)
    plt.close(display.figure_)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def draw_all(prefix, path, folder, max_epochs):
    """Draw every display of a data set."""
    X, y = load(path)
    train = first_half(y)
    embedder = CircleEmbedder(max_epochs=max_epochs, random_state=SEED)
    embedder.fit(X[train], y[train])
    X, y = X[~train], y[~train]
    are_images = X.ndim > 2
    raw = X.reshape(len(X), -1).astype(np.float32)
    embedding = embedder.transform(X)

    def named(name):
        return f"{prefix}_{name}"

    few = np.isin(y, np.unique(y)[:: max(1, len(np.unique(y)) // 10)][:10])
    images = X if are_images else None
    for method in ("pca", "tsne"):
        display = EmbeddingDisplay.from_embeddings(
            embedding[few],
            y[few],
            method=method,
            random_state=SEED,
            max_samples=2000,
        )
        save(display, folder, named(f"map_10_classes_{method}"))
    display = EmbeddingDisplay.from_embeddings(
        embedding, y, images=images, method="tsne", random_state=SEED, max_samples=3000
    )
    save(display, folder, named("map"))

    # Random queries, and two whose nearest neighbor is of another class.
    rng = np.random.default_rng(SEED)
    hits = retrieval_values(embedding, y, metrics="precision_at_1")["precision_at_1"]
    wrong = rng.choice(np.flatnonzero(hits == 0), 2, replace=False)
    queries = [*rng.choice(len(y), 3, replace=False), *wrong]
    display = RetrievalDisplay.from_embeddings(
        embedding, y, items=images, queries=queries
    )
    save(display, folder, named("retrieval"))

    display = SimilarityDisplay.from_embeddings(embedding, y, random_state=SEED)
    save(display, folder, named("similarity"))
    display = SimilarityDisplay.from_embeddings(
        embedding, y, kind="plane", margin=embedder.margin, random_state=SEED
    )
    save(display, folder, named("similarity_plane"))
    display = SimilarityDisplay.from_embeddings(
        embedding, y, kind="plane", margin=0.4, negatives="sampled", random_state=SEED
    )
    save(display, folder, named("similarity_plane_sampled"))

    save(TrainingDisplay.from_estimator(embedder), folder, named("training"))

    display = RecallCurveDisplay.from_embeddings(embedding, y, name="CircleEmbedder")
    display = RecallCurveDisplay.from_embeddings(
        raw, y, name="raw values", ax=display.ax_
    )
    save(display, folder, named("recall_curve"))


def draw_many(path, folder, max_epochs):
    """Draw maps of very many classes, all of them seen in training."""
    X, y = load(path)
    embedder = CircleEmbedder(max_epochs=max_epochs, random_state=SEED).fit(X, y)
    embedding = embedder.transform(X)
    options = {"method": "tsne", "random_state": SEED}
    display = EmbeddingDisplay.from_embeddings(embedding, y, **options)
    save(display, folder, "many_map")
    display.plot(highlight=np.unique(y)[:: len(np.unique(y)) // 8][:8])
    save(display, folder, "many_map_highlight")
    display = EmbeddingDisplay.from_embeddings(embedding, y, images=X, **options)
    save(display, folder, "many_map_images")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", help=".npz with X, images, and y")
    parser.add_argument("rows", help=".npz with X, rows, and y")
    parser.add_argument("many", help=".npz with X and y, of very many classes")
    parser.add_argument("--save", default="docs/images", help="folder for the pictures")
    parser.add_argument("--max-epochs", type=int, default=10)
    arguments = parser.parse_args()
    Path(arguments.save).mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    draw_all("images", arguments.images, arguments.save, arguments.max_epochs)
    draw_all("rows", arguments.rows, arguments.save, arguments.max_epochs)
    draw_many(arguments.many, arguments.save, arguments.max_epochs // 3 or 1)


if __name__ == "__main__":
    main()
