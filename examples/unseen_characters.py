"""Retrieval of characters that training has not seen.

Learns from one half of 200 characters, drawn in the fonts of matplotlib, and searches
the other half. Takes about a minute on two cores.

    python examples/unseen_characters.py --save characters.png
"""

import argparse

import matplotlib.pyplot as plt

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.datasets import load_glyphs
from sk_dml.inspection import RetrievalDisplay
from sk_dml.metrics import retrieval_scores

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument(
    "--save", metavar="FILE", help="write the picture instead of showing it"
)
parser.add_argument("--max-epochs", type=int, default=20)
parser.add_argument("--n-classes", type=int, default=200)
options = parser.parse_args()

glyphs = load_glyphs(n_classes=options.n_classes, random_state=0)
characters = glyphs.target_names[glyphs.target]
X_train, X_test, y_train, y_test = class_disjoint_split(glyphs.images, y=characters)
embedder = CircleEmbedder(max_epochs=options.max_epochs, random_state=0, verbose=1)
embedder.fit(X_train, y_train)

print("pixels: ", retrieval_scores(X_test.reshape(len(X_test), -1), y_test))
print("learned:", retrieval_scores(embedder.transform(X_test), y_test))
RetrievalDisplay.from_estimator(embedder, X_test, y_test, items=X_test, random_state=0)
if options.save:
    plt.savefig(options.save)
else:
    plt.show()
