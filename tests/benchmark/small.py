"""A comparison that takes a second, run as it is or by a process of its own.

``python -m tests.benchmark.small URL OUT SECONDS [FOLD]`` works on the storage, takes
so long for every fold more, waits for good at one fold, and writes what it found.
"""

import json
import sys
import time

import numpy as np

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.benchmark import RealityCheck, _ledger, _run

N_CLASSES = 8


def data():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(N_CLASSES), 6)
    X = rng.normal(size=(N_CLASSES, 5))[y] + rng.normal(size=(len(y), 5))
    return X, y


def small(**params):
    """Two methods, four trials and two repeats."""
    settings = {
        "estimators": {
            "Triplet": TripletEmbedder(4, max_epochs=2),
            "Softmax": SoftmaxEmbedder(4, max_epochs=2),
        },
        "baselines": ["raw features", "LDA"],
        "n_trials": 4,
        "n_folds": 2,
        "n_repeats": 2,
        "metrics": ["map_at_r", "nmi"],
    }
    return RealityCheck(**{**settings, **params})


def outcome(result):
    """All of a result that does not tell the time."""
    return {
        "methods": result.methods,
        "trials": [
            {k: v for k, v in trial.items() if k not in ("start", "duration")}
            for trial in result.trials
        ],
        "repeats": result.repeats,
    }


def main(url, out, seconds, waits_at=0):
    _ledger.HEARTBEAT, _ledger.SILENCE, _run.POLL = 0.2, 6.0, 0.05
    rate = _run.rate_fold
    n_folds = 0

    def slowly(*args):
        nonlocal n_folds
        n_folds += 1
        print("fold", flush=True)
        time.sleep(600 if n_folds == int(waits_at) else float(seconds))
        return rate(*args)

    _run.rate_fold = slowly
    own = {**outcome(small(storage=url).run(*data())), "n_folds": n_folds}
    with open(out, "w") as file:
        json.dump(own, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
