"""
Search among classes that training has not seen
===============================================

Does an embedding help with classes that come after training: new people, new products?
Split the classes, train on one half, and search the other half. Here they are
characters.
"""

# %%
# Split the classes, not the samples
# ----------------------------------

import unicodedata

import numpy as np

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.datasets import load_glyphs

glyphs = load_glyphs(
    n_classes=500, n_samples_per_class=8, image_size=16, random_state=0
)
plain = [unicodedata.is_normalized("NFD", name) for name in glyphs.target_names]
is_plain = np.array(plain)[glyphs.target]  # without accents, which are a few pixels
X, y = glyphs.images[is_plain], glyphs.target[is_plain]
X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
print("classes in both parts:", set(y_train) & set(y_test))

# %%
# Train, and compare with the pixels
# ----------------------------------
# Each image is searched among all others. P@1 is the share of images whose nearest
# neighbor is of their class. MAP@R looks at as many neighbors as the class has, and at
# their order: it is the harder and the more reliable of the two.

from sk_dml.metrics import retrieval_scores

embedder = CircleEmbedder(max_epochs=10, batch_size=32, random_state=0).fit(
    X_train, y_train
)

pixels = X_test.reshape(len(X_test), -1)
embedding = embedder.transform(X_test)
for name, rows in (("pixels", pixels), ("embedding", embedding)):
    scores = retrieval_scores(rows, y_test)
    print(
        f"{name:10} P@1 {scores['precision_at_1']:.2f}, MAP@R {scores['map_at_r']:.2f}"
    )

# %%
# Before and after
# ----------------
# The same queries, searched by their pixels and by their embeddings.

import matplotlib.pyplot as plt

from sk_dml.inspection import RetrievalDisplay

_, axes = plt.subplots(2, figsize=(6.4, 9), layout="constrained")
for ax, rows, title in zip(
    axes, (pixels, embedding), ("Pixels", "Embedding"), strict=True
):
    ax.set_title(title, loc="left")
    RetrievalDisplay.from_embeddings(
        rows, y_test, items=X_test, n_queries=4, random_state=0, ax=ax
    )
