"""
Tune a method for unseen classes
================================

How do I choose the margin? By a grid search that is scored on classes that were not
trained on. With the usual folds, which have samples of every class, the search would
choose the parameters that learn the training classes best.
"""

# %%
# GridSearchCV with class-disjoint folds
# --------------------------------------
# A scorer of this package and a splitter of this package; all else is scikit-learn.

from sklearn.model_selection import GridSearchCV

from sk_dml import CircleEmbedder, ClassDisjointKFold, class_disjoint_split, map_at_r
from sk_dml.datasets import load_glyphs

X, y = load_glyphs(n_classes=80, image_size=16, random_state=0, return_X_y=True)
X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
margins = [0.1, 0.25, 0.4, 0.7]
search = GridSearchCV(
    CircleEmbedder(max_epochs=5, random_state=0),
    {"margin": margins},
    scoring=map_at_r,
    cv=ClassDisjointKFold(2),
)
search.fit(X_train, y_train)
print("best margin:", search.best_params_["margin"])
print(f"MAP@R on the test classes: {map_at_r(search, X_test, y_test):.2f}")

# %%
# The score of every margin
# -------------------------

import matplotlib.pyplot as plt

results = search.cv_results_
_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for fold in ("split0_test_score", "split1_test_score"):
    ax.plot(margins, results[fold], "o", color="#0072b2", alpha=0.5)
ax.plot(margins, results["mean_test_score"], "k-")
ax.set(xlabel="margin", ylabel="MAP@R", title="Circles: the folds. Line: their mean.")

# %%
# More parameters
# ---------------
# Each method knows the parameters of its paper, with the values to search. They fit
# :class:`sklearn.model_selection.RandomizedSearchCV`; Optuna tunes by them in
# :class:`sk_dml.reality_check.RealityCheck`.

print(CircleEmbedder.search_space())
