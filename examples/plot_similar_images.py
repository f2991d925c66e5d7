"""
Find similar images in a folder
===============================

How do I get from a folder of images to the five that are most similar to a new one?
Train an embedder on the files, put their embeddings in an index, and search it.

The images here are characters, which are drawn first, so that nothing is downloaded.
For photographs, take ``module="torchvision/mobilenet_v2"`` and leave ``image_size``
out.
"""

# %%
# A folder with one subfolder for each class
# ------------------------------------------

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from sk_dml.datasets import load_glyphs, load_image_folder

folder = TemporaryDirectory()
glyphs = load_glyphs(n_classes=40, image_size=24, random_state=0)
for i, (image, label) in enumerate(zip(glyphs.images, glyphs.target, strict=True)):
    path = Path(folder.name, f"character_{label:02}", f"{i:04}.png")
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)

images = load_image_folder(folder.name)
print(len(images.paths), "files of", len(images.target_names), "classes")

# %%
# Train on the files
# ------------------
# The files are read batch by batch, never all at once. One image of every class is kept
# out: it is the new image to search with.

import numpy as np

from sk_dml import CircleEmbedder, RetrievalIndex

is_new = np.arange(len(images.paths)) % 20 == 0
embedder = CircleEmbedder(image_size=16, max_epochs=6, random_state=0)
embedder.fit(images.paths[~is_new], images.target[~is_new])

# %%
# Search
# ------
# The index keeps the embeddings together with their ids: here, the paths.

gallery = images.paths[~is_new]
index = RetrievalIndex(n_neighbors=5).fit(embedder.transform(gallery), gallery)
queries = images.paths[is_new]
found = index.kneighbors_labels(embedder.transform(queries))
for path in found[0]:
    print(Path(path).relative_to(folder.name))

# %%
# Look at the result
# ------------------
# Each row is a new image and its five most similar ones.

from sk_dml.inspection import RetrievalDisplay

RetrievalDisplay.from_embeddings(
    embedder.transform(queries),
    images.target[is_new],
    items=queries,
    gallery=embedder.transform(gallery),
    gallery_labels=images.target[~is_new],
    gallery_items=gallery,
    n_neighbors=5,
    random_state=0,
)
folder.cleanup()
