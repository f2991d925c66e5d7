"""
Use the features of a pretrained network
========================================

I have features of a network that somebody else trained. Can metric learning improve
them in seconds, without the network? ``module="features"`` does: it learns a linear map
that begins with a discriminant analysis and stays close to the features.

So that nothing is downloaded, the pretrained network here is one that has learned to
classify other characters. For photographs, the user guide computes the features of an
ImageNet network.
"""

# %%
# A network that was trained on other classes
# -------------------------------------------
# It has learned 60 characters. Its features are then computed for 120 others.

from sk_dml import CircleEmbedder, SoftmaxEmbedder, class_disjoint_split
from sk_dml.datasets import load_glyphs

glyphs = load_glyphs(
    n_classes=180, n_samples_per_class=8, image_size=16, random_state=0
)
X, y = glyphs.images, glyphs.target
is_other = y < 60
pretrained = SoftmaxEmbedder(256, max_epochs=12, batch_size=32, random_state=0)
pretrained.fit(X[is_other], y[is_other])
features = pretrained.transform(X[~is_other])

# %%
# Learn on the features
# ---------------------
# Half of the 120 characters is for training, the other half for test.

import time

from sk_dml.metrics import map_at_r_score

F_train, F_test, y_train, y_test = class_disjoint_split(features, y=y[~is_other])
start = time.perf_counter()
embedder = CircleEmbedder(256, module="features", max_epochs=20, random_state=0)
embedder.fit(F_train, y_train)
print(f"trained in {time.perf_counter() - start:.1f} s")
scores = {
    "pixels": map_at_r_score(
        X[~is_other][-len(F_test) :].reshape(len(F_test), -1), y_test
    ),
    "features as they are": map_at_r_score(F_test, y_test),
    "learned on the features": map_at_r_score(embedder.transform(F_test), y_test),
}

# %%
# The features as they are belong in the comparison: where the classes to learn from are
# few, they can win.

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), color="#0072b2")
ax.bar_label(bars, fmt="%.2f", padding=3)
ax.set(xlabel="MAP@R on unseen classes", xlim=(0, 1.15 * max(scores.values())))
ax.invert_yaxis()
