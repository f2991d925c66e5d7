"""Retrieval of photographs from a folder with one subfolder per class.

Fine-tunes an ImageNet network on the first half of the classes and searches the other
half, which it has not seen. Needs the extra ``vision``, and once an internet connection
for the weights; ``--module conv`` needs neither.

    python examples/photographs.py FOLDER --save found.png
"""

import argparse

import matplotlib.pyplot as plt

from sk_dml import CircleEmbedder, class_disjoint_split
from sk_dml.datasets import load_image_folder
from sk_dml.inspection import RetrievalDisplay
from sk_dml.scorers import retrieval_scorer

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("folder", help="with one subfolder per class")
parser.add_argument(
    "--save", metavar="FILE", help="write the picture instead of showing it"
)
parser.add_argument("--module", default="torchvision/mobilenet_v2", help="or conv")
parser.add_argument("--max-epochs", type=int, default=5)
options = parser.parse_args()

images = load_image_folder(options.folder)
names = images.target_names[images.target]
X_train, X_test, y_train, y_test = class_disjoint_split(images.paths, y=names)
embedder = CircleEmbedder(
    module=options.module, max_epochs=options.max_epochs, random_state=0, verbose=1
).fit(X_train, y_train)

print(retrieval_scorer("precision_at_1", "map_at_r")(embedder, X_test, y_test))
RetrievalDisplay.from_estimator(embedder, X_test, y_test, items=X_test, random_state=0)
if options.save:
    plt.savefig(options.save)
else:
    plt.show()
