"""Train and score a method on photographs, with the settings of a file.

The first half of the classes is for training, the other for test. A TOML file names the
``method``, an embedder, and its ``[parameters]``, which may be entries of
``net_params``. With a table ``[reality_check]``, the parameters of RealityCheck, a
search finds the others. Needs the extra ``vision``, and once an internet connection for
pretrained weights. A search in the folder ``--out`` is continued.

    python examples/reproduce.py examples/soft_triple_cub200.toml CUB_200_2011
"""

import argparse
import tomllib
from pathlib import Path

from sk_dml.datasets import load_image_folder
from sk_dml.metrics import clustering_scores, retrieval_scores
from sk_dml.model_selection import class_disjoint_split
from sk_dml.reality_check import RealityCheck
from sk_dml.utils import all_embedders

KEYS = ("method", "parameters", "reality_check")
METRICS = (*(f"recall_at_{k}" for k in (1, 2, 4, 8)), "r_precision", "map_at_r")


def read(path):
    """Read the settings: the embedder, and the RealityCheck or None."""
    with open(path, "rb") as file:
        settings = tomllib.load(file)
    unknown = sorted(settings.keys() - set(KEYS))
    if unknown:
        raise ValueError(f"{path} has the unknown keys {unknown}; allowed are {KEYS}.")
    embedders = dict(all_embedders())
    method = settings.get("method")
    if method not in embedders:
        raise ValueError(
            f"{path}: method must be one of {sorted(embedders)}, got {method!r}."
        )
    embedder = embedders[method]().set_params(**settings.get("parameters", {}))
    if "reality_check" not in settings:
        return embedder, None
    check = RealityCheck(estimators=[embedder], verbose=1)
    return embedder, check.set_params(**settings["reality_check"])


def load(folder):
    """List the images and their classes; those of CUB-200 are in its ``images``."""
    inner = Path(folder, "images")
    return load_image_folder(inner if inner.is_dir() else folder, return_X_y=True)


def reproduce(embedder, X, y, out):
    """Train on the first half of the classes, and score on the other."""
    X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    embedder.set_params(checkpoint_dir=out, verbose=1).fit(X_train, y_train)
    embedding = embedder.transform(X_test)
    scores = retrieval_scores(embedding, y_test, metrics=METRICS)
    scores |= clustering_scores(embedding, y_test, metrics=["nmi"], random_state=0)
    for name, value in scores.items():
        print(f"{name:14}{value:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("settings", help="the TOML file")
    parser.add_argument("folder", help="CUB_200_2011, or with one subfolder a class")
    parser.add_argument("--out", help="folder for what is begun (default: the file's)")
    parser.add_argument("--storage", help="of a RealityCheck, to share it: its URL")
    options = parser.parse_args()
    out = Path(options.out or Path(options.settings).stem)
    try:
        embedder, check = read(options.settings)
        X, y = load(options.folder)
        out.mkdir(parents=True, exist_ok=True)
        if check is None:
            reproduce(embedder, X, y, out)
            return
        storage = options.storage or f"sqlite:///{(out / 'trials.db').resolve()}"
        result = check.set_params(storage=storage).run(X, y)
    except (OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    result.to_csv(out / "results.csv")
    result.trials_to_csv(out / "trials.csv")
    result.settings_to_json(out / "settings.json")
    columns = ["method", "scoring", *result.settings["metrics"], "reason"]
    print(result.to_frame()[columns].to_string(index=False))


if __name__ == "__main__":
    main()
