"""Steps in half precision whose gradients overflow."""

import warnings

import pytest
import torch
from torch import nn

from sk_dml import CircleEmbedder, ContrastiveEmbedder
from sk_dml._training import _precision
from sk_dml._training._precision import FIRST_SCALE
from tests._training.small import X, assert_same, embedder, killed_fit, parameters, y

N_STEPS = 3 * 2  # of a small embedder's fit


class Steep(ContrastiveEmbedder):
    """Its gradients overflow float16 by far, and its loss does not."""

    def _make_loss(self, n_classes, n_samples):
        return Times(super()._make_loss(n_classes, n_samples), 1e30)


class Times(nn.Module):
    def __init__(self, loss, factor):
        super().__init__()
        self.loss, self.factor = loss, factor

    def forward(self, embeddings, labels):
        return self.factor * self.loss(embeddings, labels)


def test_a_warning_is_raised_if_all_steps_are_skipped():
    start = parameters(embedder(lr=1e-30, weight_decay=0.0).fit(X, y))
    steep = embedder(Steep, precision="float16", weight_decay=0.0)
    message = f"^{N_STEPS} of {N_STEPS} steps were skipped, .*precision='bfloat16'"
    with pytest.warns(UserWarning, match=message):
        steep.fit(X, y)
    assert [row["skipped_steps"] for row in steep.history_] == [2, 2, 2]
    torch.testing.assert_close(parameters(steep), start)  # nothing was learned


def test_the_first_steps_look_for_the_scale(monkeypatch):
    params = {"cls": ContrastiveEmbedder, "precision": "float16", "max_epochs": 20}
    assert skipped(embedder(**params), warns=False) == 0
    # It is halved with every step that is skipped, until a step fits into float16.
    monkeypatch.setattr(_precision, "FIRST_SCALE", 2.0**25)
    assert 2 <= skipped(embedder(**params), warns=False) <= 16


def skipped(estimator, *, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    assert len(caught) == warns
    return sum(row["skipped_steps"] for row in estimator.history_)


@pytest.mark.parametrize(("n_skipped", "warns"), [(3, False), (4, True)])
def test_half_of_the_steps_may_be_skipped(n_skipped, warns, monkeypatch):
    scales = Scales(range(n_skipped, 0, -1))
    monkeypatch.setattr(torch.amp.GradScaler, "get_scale", scales)
    assert skipped(embedder(precision="float16"), warns=warns) == n_skipped


class Scales:
    """Scales before and after the steps: the first of them lower it."""

    def __init__(self, falls):
        self.calls = [scale for fall in falls for scale in (fall, fall - 0.5)]

    def __call__(self):
        return self.calls.pop(0) if self.calls else FIRST_SCALE


def test_a_scale_of_zero_skips_too(monkeypatch):
    monkeypatch.setattr(torch.amp.GradScaler, "get_scale", lambda _: 0.0)
    assert skipped(embedder(precision="float16"), warns=True) == N_STEPS


def test_counts_outlive_a_kill(tmp_path, monkeypatch):
    params = {"precision": "float16", "warm_start": False}
    with pytest.warns(UserWarning, match=f"{N_STEPS} of {N_STEPS} steps"):
        expected = embedder(Steep, **params).fit(X, y)
    resumed = embedder(Steep, checkpoint_dir=tmp_path, **params)
    killed_fit(monkeypatch, resumed, X, y, step=4)
    with pytest.warns(UserWarning, match=f"{N_STEPS} of {N_STEPS} steps"):
        resumed.fit(X, y)
    assert_same(resumed, expected)


def test_other_precisions_skip_nothing():
    for precision in "float32", "bfloat16":
        history = embedder(CircleEmbedder, precision=precision).fit(X, y).history_
        assert "skipped_steps" not in history[0]
