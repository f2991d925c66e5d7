"""A comparison that takes a second, run as it is or by a process of its own."""

import time

import numpy as np
import torch
from sklearn.decomposition import PCA

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.reality_check import RealityCheck, _search, _workers

N_CLASSES = 8
# Settings of a comparison that takes a tenth of a second.
QUICK = {
    "estimators": {"PCA": PCA()},
    "search_spaces": {"PCA": {"n_components": [1, 2, 3, 4, 5]}},
    "baselines": [],
    "metrics": ["map_at_r"],
}


def data():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(N_CLASSES), 6)
    X = rng.normal(size=(N_CLASSES, 5))[y] + rng.normal(size=(len(y), 5))
    return X, y


def small(**params):
    """Return a check of two methods with four trials and two repeats."""
    settings = {
        "estimators": {
            "Triplet": TripletEmbedder(4, max_epochs=1),
            "Softmax": SoftmaxEmbedder(4, max_epochs=1),
        },
        "baselines": ["raw features", "LDA"],
        "n_trials": 4,
        "n_folds": 2,
        "n_repeats": 2,
        "metrics": ["map_at_r", "nmi"],
    }
    return RealityCheck(**{**settings, **params})


def outcome(result):
    """Return all of a result that does not depend on the time."""
    return {
        "methods": result.methods,
        "trials": [
            {k: v for k, v in trial.items() if k not in ("start", "duration")}
            for trial in result.trials
        ],
        "repeats": result.repeats,
        "notes": result.notes,
    }


def work(connection, url, *, seconds=0, waits_at=0, barrier=None, grace=1, **params):
    """Run on a storage in a process of its own; send every fold, then the outcome.

    Every fold takes so many seconds more, and one of them waits for good.
    """
    torch.set_num_threads(1)
    _search.HEARTBEAT, _search.GRACE, _workers.POLL = 3, grace, 0.05
    score = _workers.score_fold
    n_folds = 0

    def slowly(*args):
        nonlocal n_folds
        n_folds += 1
        connection.send("fold")
        time.sleep(600 if n_folds == waits_at else seconds)
        return score(*args)

    _workers.score_fold = slowly
    if barrier is not None:
        barrier.wait(60)
    connection.send(outcome(small(storage=url, **params).run(*data())))
