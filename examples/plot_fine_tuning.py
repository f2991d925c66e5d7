"""
Fine-tune a pretrained network
==============================

There are few classes to learn from, and a network that has learned something similar.
Fine-tuning begins with its weights and changes them little.

So that nothing is downloaded, the pretrained network here has learned other characters.
Networks of torchvision and timm are chosen by name,
``module="torchvision/mobilenet_v2"``, and all that is set by hand below is then the
default.
"""

# %%
# A network that was trained on many other classes
# ------------------------------------------------

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.datasets import load_glyphs

glyphs = load_glyphs(
    n_classes=140, n_samples_per_class=8, image_size=16, random_state=0
)
X, y = glyphs.images, glyphs.target
is_other = y < 100
pretrained = CircleEmbedder(max_epochs=8, batch_size=32, random_state=0)
pretrained.fit(X[is_other], y[is_other])
network = pretrained.net_.module_.backbone

# %%
# Train on few classes, from its weights and from random ones
# -----------------------------------------------------------
# ``backbone_lr`` is the learning rate of all layers but the last: a tenth of ``lr``, so
# that what was learned stays.

from sk_dml.metrics import map_at_r_score

X_train, X_test, y_train, y_test = class_disjoint_split(X[~is_other], y=y[~is_other])
scratch = CircleEmbedder(max_epochs=8, batch_size=32, random_state=0)
scratch.fit(X_train, y_train)
tuned = CircleEmbedder(
    module=network, backbone_lr=1e-4, max_epochs=8, batch_size=32, random_state=0
)
tuned.fit(X_train, y_train)
scores = {
    "trained from random weights": scratch,
    "pretrained, as it is": pretrained,
    "fine-tuned": tuned,
}
scores = {k: map_at_r_score(e.transform(X_test), y_test) for k, e in scores.items()}

# %%
import matplotlib.pyplot as plt

_, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), color="#0072b2")
ax.bar_label(bars, fmt="%.2f", padding=3)
ax.set(xlabel="MAP@R on unseen classes", xlim=(0, 1.15 * max(scores.values())))
ax.invert_yaxis()
