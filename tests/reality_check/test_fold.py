import itertools
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sk_dml import SoftmaxEmbedder, TripletEmbedder
from sk_dml.reality_check import _fold, _tasks
from sk_dml.reality_check._fold import fit_fold, last_step, seeded, with_deadline
from sk_dml.reality_check._tasks import make_seed, rate_fold
from tests.reality_check.small import data, outcome, small

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


class Pressed(Callback):
    """Ctrl-C in an epoch, where a training would keep what it has learned."""

    def __init__(self, epoch=2):
        self.epoch = epoch

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("place", ["alone", "last", "first"])
def test_ctrl_c_ends_more_than_the_training(place, early_stopping):
    def fit(epoch):
        embedder = SoftmaxEmbedder(
            4,
            max_epochs=3,
            early_stopping=early_stopping and place != "first",
            callbacks=[Pressed(epoch)],
            random_state=0,
        )
        steps = {"last": [StandardScaler(), embedder], "first": [embedder, PCA(2)]}
        estimator = make_pipeline(*steps.get(place, [embedder]))
        return fit_fold(estimator, X, y, *HALVES)

    for epoch in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            fit(epoch)
    fit(4)


def test_training_that_stops_early_is_no_interrupted_one():
    embedder = SoftmaxEmbedder(
        4, max_epochs=60, early_stopping=True, n_iter_no_change=1, tol=1.0
    )
    assert fit_fold(embedder, X, y, *HALVES).n_iter_ < 60


def test_interrupted_comparison_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    expected = outcome(small().run(X, y))
    url = f"sqlite:///{tmp_path}/check.db"
    fit, n_fits = TripletEmbedder.fit, 0

    def interrupted(self, *args, **kwargs):
        nonlocal n_fits
        n_fits += 1
        if n_fits == 3:
            self.callbacks = [Pressed()]
        return fit(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TripletEmbedder, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(storage=url).run(X, y)
    assert n_fits == 3
    assert outcome(small(storage=url).run(X, y)) == expected
