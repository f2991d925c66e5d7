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
# Data: people, and recordings of each
# ------------------------------------
# 200 people have ten recordings each. A recording mixes what stays the same, the
# traits, with what changes each time, the circumstances, which are stronger.

import numpy as np

rng = np.random.default_rng(0)
y = np.repeat(np.arange(200), 10)
traits = rng.normal(size=(200, 10))[y]
circumstances = 2 * rng.normal(size=(2000, 10))
X = np.hstack([traits, circumstances]) @ rng.normal(size=(20, 50))
X += 2 * rng.normal(size=X.shape)

# %%
# Three methods, the same folds
# -----------------------------
# :class:`~sk_dml.ClassDisjointKFold` keeps every person in one fold, so that each
# method is scored on people that it has not seen.

from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import FunctionTransformer

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    ContrastiveEmbedder,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)

methods = {
    "rows as they are": FunctionTransformer(),
    "Contrastive": ContrastiveEmbedder(max_epochs=10, random_state=0),
    "Circle": CircleEmbedder(max_epochs=10, random_state=0),
    "NormalizedSoftmax": NormalizedSoftmaxEmbedder(max_epochs=10, random_state=0),
}
scores = {
    name: cross_val_score(method, X, y, scoring=map_at_r, cv=ClassDisjointKFold(3))
    for name, method in methods.items()
}

# %%
# The score of every fold
# -----------------------
# The rows as they are belong in every comparison: a method that does not beat them has
# learned nothing that helps.

import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
for row, values in enumerate(scores.values()):
    ax.plot(values, np.full(len(values), row), "o", color="#0072b2", alpha=0.5)
    ax.plot(values.mean(), row, "k|", markersize=16)
ax.set(yticks=range(len(scores)), yticklabels=scores, xlabel="MAP@R on unseen people")
ax.set_title("Circles: the folds. Lines: their means.")
ax.invert_yaxis()
