import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.benchmark import _fold, _tasks
from sk_dml.benchmark._fold import last_step, seeded, with_deadline
from sk_dml.benchmark._tasks import make_seed, rate_fold
from tests.benchmark.small import data

X, y = data()
HALVES = np.flatnonzero(y < 4), np.flatnonzero(y >= 4)


@pytest.mark.parametrize("piped", [False, True])
def test_deadline_ends_a_training_within_an_epoch(piped, monkeypatch):
    embedder = SoftmaxEmbedder(4, max_epochs=10, batch_size=8, early_stopping=False)
    estimator = make_pipeline(StandardScaler(), embedder) if piped else embedder
    looks = itertools.count(
        1
    )  # at a clock on which a second passes from one to the next
    for module in (_fold, _tasks):
        clock = SimpleNamespace(time=lambda: next(looks))
        monkeypatch.setattr(module, "time", clock)
    assert rate_fold(estimator, X, y, *HALVES, deadline=5) == {"timed_out": True}
    # One before the training, one after each of five batches of 30, one at the end.
    assert next(looks) == 8
    assert rate_fold(estimator, X, y, *HALVES, deadline=5) == {"timed_out": True}
    assert next(looks) == 10  # nothing is begun after it


def test_no_deadline_changes_nothing():
    embedder = TripletEmbedder()
    assert with_deadline(embedder, None).callbacks is None


def test_errors_are_told_in_a_line():
    outcome = rate_fold(SoftmaxEmbedder(4, module="conv"), X, y, *HALVES)
    assert outcome["error"].startswith("ValueError: module='conv' needs images")
    assert "\n" not in outcome["error"]


def test_every_random_state_is_set():
    nested = make_pipeline(StandardScaler(), make_pipeline(TripletEmbedder()))
    assert last_step(nested)[0] == "pipeline__tripletembedder__"
    states = [
        seeded(nested, seed).get_params()["pipeline__tripletembedder__random_state"]
        for seed in (0, 0, 1)
    ]
    assert states[0] == states[1] != states[2]
    seeds = {make_seed(0, i, j) for i in range(3) for j in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
