"""
Read the training curves and the similarity plane
=================================================

Has training worked, and did it last long enough? Two pictures answer this: the curves
of the training, and the similarities of positive and negative pairs.
"""

# %%
# The curves
# ----------
# ``validation_data`` are scored after every epoch. As long as the validation score
# rises, more epochs help. If it falls while the loss falls, the embedder learns its
# training classes by heart: use fewer epochs, or ``early_stopping=True``.

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.datasets import load_glyphs
from sk_dml.inspection import TrainingDisplay

glyphs = load_glyphs(
    n_classes=120, n_samples_per_class=8, image_size=16, random_state=0
)
X, y = glyphs.images, glyphs.target
X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
embedder = CircleEmbedder(max_epochs=12, batch_size=32, random_state=0)
embedder.fit(X_train, y_train, validation_data=(X_test, y_test))
TrainingDisplay.from_estimator(embedder)

# %%
# The similarities of pairs
# -------------------------
# The similarity of a pair is the cosine of its two embeddings. Positive pairs, of one
# class, should lie to the right of negative pairs. Where they overlap, neighbors are
# wrong.

from sk_dml.inspection import SimilarityDisplay

SimilarityDisplay.from_estimator(embedder, X_test, y_test, random_state=0)

# %%
# The plane of the Circle loss
# ----------------------------
# Every point is an image: across, its similarity to its hardest negative, s_n; upwards,
# to a positive, s_p. The Circle loss pulls the points to the upper left, where s_n = 0
# and s_p = 1, and the arc is its decision boundary. Points below the arc still have a
# loss.

SimilarityDisplay.from_estimator(
    embedder, X_test, y_test, kind="plane", margin=embedder.margin, random_state=0
)
