"""Warm starts."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sk_dml import CircleEmbedder, MarginEmbedder, NormalizedSoftmaxEmbedder
from tests._training.small import X, embedder, parameters, y

each_kind = pytest.mark.parametrize(
    "cls", [CircleEmbedder, NormalizedSoftmaxEmbedder, MarginEmbedder]
)


@each_kind
def test_warm_start_continues(cls):
    tiny = {"lr": 1e-12, "weight_decay": 0.0}  # to see where a training begins
    warm = embedder(cls, warm_start=True).fit(X, y)
    first = parameters(warm)
    cold = parameters(embedder(cls, **tiny).fit(X, y))
    warm.set_params(**tiny).fit(X, y)
    torch.testing.assert_close(parameters(warm), first)
    assert all((one != other).any() for one, other in zip(cold, first, strict=True))
    assert warm.n_iter_ == len(warm.loss_curve_) == 6
    assert [row["epoch"] for row in warm.history_] == [1, 2, 3, 4, 5, 6]


def test_warm_start_takes_new_parameters():
    warm = embedder(warm_start=True).fit(X, y)
    warm.set_params(margin=0.1, max_epochs=2, optimizer="sgd", batch_size=8).fit(X, y)
    assert warm.net_.criterion_.margin == 0.1
    assert warm.n_iter_ == 5
    assert isinstance(warm.net_.optimizer_, torch.optim.SGD)


def test_warm_start_draws_new_batches():
    drawn = []

    class Draws(Callback):
        def on_batch_begin(self, net, batch, **kwargs):
            drawn.append(batch[0].tolist())

    warm = embedder(warm_start=True, max_epochs=1, callbacks=[Draws()])
    warm.fit(X, y).fit(X, y)
    first, second = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert len(first) == len(second)
    assert first != second
    embedder(max_epochs=1, callbacks=[Draws()]).fit(X, y)  # a cold start draws again
    assert drawn[-len(first) :] == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"n_components": 5},
            r"whose network had other parameters.* and is \(5",
        ),
        ({"net_params": {"module__hidden": (9,)}}, "whose network had other"),
        ({"module": "linear", "net_params": None}, "whose network had other"),
    ],
)
def test_warm_start_needs_the_same_network(change, message):
    warm = embedder(warm_start=True).fit(X, y)
    expected = warm.transform(X)
    with pytest.raises(ValueError, match=message):
        warm.set_params(**change).fit(X, y)
    np.testing.assert_array_equal(warm.transform(X), expected)


def test_warm_start_with_another_loss():
    warm = embedder(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="whose loss had other parameters"):
        warm.set_params(supervision="class", samples_per_class=None).fit(X, y)


def test_warm_start_is_checkpointed_from_where_it_began(tmp_path):
    plain = embedder(warm_start=True).fit(X, y).fit(X, y)
    saved = embedder(warm_start=True, checkpoint_dir=tmp_path / "first").fit(X, y)
    with pytest.raises(ValueError, match="the fit before was None and is"):
        saved.fit(X, y)
    saved.set_params(checkpoint_dir=tmp_path / "second").fit(X, y)
    np.testing.assert_array_equal(saved.transform(X), plain.transform(X))
    assert saved.n_iter_ == 6
    again = embedder(warm_start=True).fit(X, y)
    again.set_params(checkpoint_dir=tmp_path / "second").fit(X, y)
    np.testing.assert_array_equal(again.transform(X), plain.transform(X))
    assert again.n_iter_ == 6


def test_the_best_epoch_of_a_warm_start_is_of_its_last_fit():
    scores = iter([0.5, 0.9, 0.4, 0.2, 0.3, 0.1])
    seen = []

    def scorer(estimator, *data):
        seen.append(estimator.transform(X))
        return next(scores)

    warm = embedder(warm_start=True, early_stopping=True, scoring=scorer)
    warm.fit(X, y, validation_data=(X, y))
    assert (warm.best_score_, warm.best_epoch_) == (0.9, 2)
    np.testing.assert_array_equal(warm.transform(X), seen[1])
    warm.fit(X, y, validation_data=(X, y))
    assert (warm.best_score_, warm.best_epoch_, warm.n_iter_) == (0.3, 5, 6)
    assert warm.history_[warm.best_epoch_ - 1]["valid_score"] == warm.best_score_
    np.testing.assert_array_equal(warm.transform(X), seen[4])
    warm.partial_fit(X, y)
    assert (warm.best_score_, warm.best_epoch_, warm.n_iter_) == (None, None, 7)


def test_a_warm_start_holds_the_same_samples_out():
    seen = []

    def scorer(estimator, X, y):
        seen.append(X)
        return 0.5

    warm = embedder(
        warm_start=True,
        early_stopping=True,
        validation_fraction=0.3,
        scoring=scorer,
        random_state=None,
    )
    warm.fit(X, y).fit(X, y)
    assert len(seen) == 6
    np.testing.assert_array_equal(seen[0], seen[-1])
