"""What Ctrl-C ends."""

import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sk_dml import map_at_r
from tests._training.small import X, embedder, y


class Interrupted(torch.optim.SGD):
    """Stands for a user who interrupts at a step of all fits, counted through."""

    left = 0

    def step(self, closure=None):
        Interrupted.left -= 1
        if Interrupted.left == 0:
            raise KeyboardInterrupt
        return super().step(closure)


def search():
    grid = {"margin": [0.2, 0.3, 0.4]}
    estimator = embedder(optimizer=Interrupted, batch_size=8)
    return GridSearchCV(estimator, grid, scoring=map_at_r, cv=2, refit=False)


def test_a_search_goes_on_after_a_fit_that_was_interrupted_in_a_later_epoch():
    fitted = embedder(optimizer=Interrupted, batch_size=8).fit(X[::2], y[::2])
    n_steps = fitted.net_.history[-1, "train_batch_count"]
    Interrupted.left = n_steps + 1
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 3") as caught:
        searched = search().fit(X, y)
    assert len(caught) == 1
    assert len(searched.cv_results_["params"]) == 3


def test_a_search_ends_with_a_fit_that_was_interrupted_in_its_first_epoch():
    Interrupted.left = 1
    with pytest.raises(KeyboardInterrupt):
        search().fit(X, y)


@pytest.mark.parametrize("callbacks", [None, [Callback()]])
def test_an_interrupted_scoring_leaves_whole_epochs_and_warns(callbacks):
    calls = []

    def scorer(estimator, X, y):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.5

    fitted = embedder(max_epochs=9, scoring=scorer, callbacks=callbacks)
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 9"):
        fitted.fit(X, y, validation_data=(X, y))
    assert fitted.n_iter_ == 2
    assert all({"valid_score", "duration"} <= row.keys() for row in fitted.history_)
