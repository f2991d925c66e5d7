"""
Tune a method for unseen classes
================================

How do I choose a margin? By a grid search that is scored on classes that were not
trained on. With the usual folds, which have samples of every class, the search would
choose the parameters that learn the training classes best.
"""

# %%
# Data: people, and recordings of each
# ------------------------------------
# 200 people have ten recordings each. A recording mixes what stays the same, the
# traits, with what changes each time, the circumstances, which are stronger. The second
# half of the people is for the test.

import numpy as np

from sk_dml import class_disjoint_split

rng = np.random.default_rng(0)
y = np.repeat(np.arange(200), 10)
traits = rng.normal(size=(200, 10))[y]
circumstances = 2 * rng.normal(size=(2000, 10))
X = np.hstack([traits, circumstances]) @ rng.normal(size=(20, 50))
X += 2 * rng.normal(size=X.shape)
X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)

# %%
# GridSearchCV with class-disjoint folds
# --------------------------------------
# A scorer of this package and a splitter of this package; all else is scikit-learn.

from sklearn.model_selection import GridSearchCV

from sk_dml import ClassDisjointKFold, ContrastiveEmbedder, map_at_r

margins = [0.4, 0.8, 1.2, 1.6]
search = GridSearchCV(
    ContrastiveEmbedder(max_epochs=20, random_state=0),
    {"neg_margin": margins},
    scoring=map_at_r,
    cv=ClassDisjointKFold(2),
)
search.fit(X_train, y_train)
print("best margin:", search.best_params_["neg_margin"])
print(f"MAP@R on the people of the test: {map_at_r(search, X_test, y_test):.2f}")

# %%
# The score of every margin
# -------------------------

import matplotlib.pyplot as plt

results = search.cv_results_
_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for fold in ("split0_test_score", "split1_test_score"):
    ax.plot(margins, results[fold], "o", color="#0072b2", alpha=0.5)
ax.plot(margins, results["mean_test_score"], "k-")
ax.set(
    xlabel="margin of the negative pairs",
    ylabel="MAP@R",
    title="Circles: the folds. Line: their mean.",
)

# %%
# More parameters
# ---------------
# Each method knows the parameters of its paper, with the values to search. They fit
# :class:`sklearn.model_selection.RandomizedSearchCV`; Optuna tunes by them in
# :class:`sk_dml.reality_check.RealityCheck`.

for name, values in ContrastiveEmbedder.search_space().items():
    print(name, "from", *values.support())
