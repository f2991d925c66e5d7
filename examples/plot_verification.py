"""
Decide whether two samples belong together
==========================================

From which distance on are two images of different classes? A threshold answers this, as
for faces and signatures. It is chosen on classes that were neither trained on nor
tested.
"""

# %%
# Three disjoint sets of classes
# ------------------------------
# For training, for the choice of the threshold, and for the test.

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
X_train, X_rest, y_train, y_rest = class_disjoint_split(X, y=y)
X_choice, X_test, y_choice, y_test = class_disjoint_split(X_rest, y=y_rest)
embedder = CircleEmbedder(max_epochs=10, batch_size=32, random_state=0)
embedder.fit(X_train, y_train)

# %%
# The threshold for a false accept rate
# -------------------------------------
# ``far=0.01`` accepts one in a hundred pairs of different classes. The rate is that of
# one comparison: a search in a gallery of 100 others makes 100 of them.

from sk_dml.metrics import sample_pairs, verification_scores, verification_threshold

threshold = verification_threshold(
    embedder.transform(X_choice), y_choice, far=0.01, random_state=0
)
embedding = embedder.transform(X_test)
print(f"threshold: a distance of {threshold:.2f}")
print(verification_scores(embedding, y_test, far=0.01, random_state=0))

# %%
# The decision on new classes
# ---------------------------

import matplotlib.pyplot as plt

first, second, is_same = sample_pairs(y_test, n_pairs=5000, random_state=0)
distance = np.linalg.norm(embedding[first] - embedding[second], axis=1)
accepted = distance <= threshold
print(f"accepted: {accepted[is_same].mean():.0%} of the pairs of one class,")
print(f"          {accepted[~is_same].mean():.1%} of the pairs of two")

_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.linspace(0, 2, 50)
ax.hist(distance[is_same], bins, alpha=0.6, label="one class", color="#0072b2")
ax.hist(distance[~is_same], bins, alpha=0.6, label="two classes", color="#d55e00")
ax.axvline(threshold, color="k", label="threshold")
ax.set(xlabel="distance", ylabel="pairs")
ax.legend()
