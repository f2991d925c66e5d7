"""
Add new classes to an index, without training
=============================================

New products come every day. Must the embedder be trained again? No: an embedder that
has learned to compare places new classes, too. Only the index grows.
"""

# %%
# Train once
# ----------

from sk_dml import CircleEmbedder, RetrievalIndex
from sk_dml.datasets import load_glyphs

glyphs = load_glyphs(
    n_classes=130, n_samples_per_class=8, image_size=16, random_state=0
)
X, y, names = glyphs.images, glyphs.target, glyphs.target_names
is_train = y < 100
embedder = CircleEmbedder(max_epochs=10, batch_size=32, random_state=0)
embedder.fit(X[is_train], y[is_train])

# %%
# Three days of new classes
# -------------------------
# Every day ten classes come that the embedder has never seen. Six images of each go
# into the index; the other two are searched for. The
# share of queries whose nearest neighbor is right, P@1, is that of all days so far.

import numpy as np

index = RetrievalIndex(n_neighbors=5)
number = np.arange(len(y)) % 8
shares = []
for day in range(3):
    is_new = (y >= 100 + 10 * day) & (y < 110 + 10 * day)
    to_add = is_new & (number < 6)
    add = index.add if day else index.fit
    add(embedder.transform(X[to_add]), names[y[to_add]])
    queries = (y >= 100) & (y < 110 + 10 * day) & (number >= 6)
    found = index.kneighbors_labels(embedder.transform(X[queries]))
    shares.append(np.mean(found[:, 0] == names[y[queries]]))
    print(f"day {day + 1}: {to_add.sum()} images added, P@1 {shares[-1]:.2f}")

# %%
# Some searches of the last day
# -----------------------------

from sk_dml.inspection import RetrievalDisplay

in_gallery = (y >= 100) & (number < 6)
RetrievalDisplay.from_embeddings(
    embedder.transform(X[queries]),
    y[queries],
    items=X[queries],
    gallery=embedder.transform(X[in_gallery]),
    gallery_labels=y[in_gallery],
    gallery_items=X[in_gallery],
    n_neighbors=5,
    random_state=0,
)
