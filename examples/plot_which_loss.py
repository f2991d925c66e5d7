"""
Which method is best on my data?
================================

Compare a few methods by cross-validation on unseen classes, with the same network and
the same number of epochs. The differences are often smaller than the differences
between the folds, which is why both are shown here.

For a comparison to publish, which also tunes each method, see
:class:`sk_dml.reality_check.RealityCheck`.
"""

# %%
# Three methods, the same folds
# -----------------------------
# :class:`~sk_dml.ClassDisjointKFold` keeps every class in one fold, so that each method
# is scored on classes that it has not seen.

import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import FunctionTransformer

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    ContrastiveEmbedder,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)
from sk_dml.datasets import load_glyphs

X, y = load_glyphs(n_classes=60, image_size=16, random_state=0, return_X_y=True)
methods = {
    "pixels": FunctionTransformer(lambda X: X.reshape(len(X), -1)),
    "Contrastive": ContrastiveEmbedder(max_epochs=6, random_state=0),
    "Circle": CircleEmbedder(max_epochs=6, random_state=0),
    "NormalizedSoftmax": NormalizedSoftmaxEmbedder(max_epochs=6, random_state=0),
}
scores = {
    name: cross_val_score(method, X, y, scoring=map_at_r, cv=ClassDisjointKFold(3))
    for name, method in methods.items()
}

# %%
# The score of every fold
# -----------------------
# The pixels belong in every comparison: a method that does not beat them has learned
# nothing that helps.

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
for row, values in enumerate(scores.values()):
    ax.plot(values, np.full(len(values), row), "o", color="#0072b2", alpha=0.5)
    ax.plot(values.mean(), row, "k|", markersize=16)
ax.set(yticks=range(len(scores)), yticklabels=scores, xlabel="MAP@R on unseen classes")
ax.set_title("Circles: the folds. Lines: their means.")
ax.invert_yaxis()
