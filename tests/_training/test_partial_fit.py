"""Partial fits."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from skorch.callbacks import Callback

from sk_dml import (
    CircleEmbedder,
    ContrastiveEmbedder,
    MarginEmbedder,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)
from tests._training.small import Interrupted, X, embedder, parameters, y

rng = np.random.default_rng(0)

each_kind = pytest.mark.parametrize(
    "cls", [CircleEmbedder, NormalizedSoftmaxEmbedder, MarginEmbedder]
)


@each_kind
def test_partial_fits_do_what_fit_does(cls):
    expected = embedder(cls, lr_schedule=None).fit(X, y)
    partial = embedder(cls)
    for i in range(3):
        assert partial.partial_fit(X, y) is partial
        assert partial.n_iter_ == len(partial.history_) == i + 1
    np.testing.assert_array_equal(partial.transform(X), expected.transform(X))
    assert partial.loss_curve_ == expected.loss_curve_
    assert [row["epoch"] for row in partial.history_] == [1, 2, 3]


def test_partial_fits_learn():
    X, y = load_wine(return_X_y=True)
    partial = CircleEmbedder(random_state=0)
    scores = []
    for _ in range(15):
        partial.partial_fit(X[::2], y[::2])
        scores.append(map_at_r(partial, X[1::2], y[1::2]))
    assert scores[-1] > 0.85
    assert scores[-1] > scores[0]


@each_kind
def test_parts_with_some_of_the_classes(cls):
    partial = embedder(cls).partial_fit(X, y)
    some = y < 2
    partial.partial_fit(X[some], y[some])
    assert partial.classes_.tolist() == [0, 1, 2, 3]
    assert partial.n_iter_ == 2
    partial.partial_fit(X[~some], y[~some])
    assert np.isfinite(partial.transform(X)).all()


def test_targets_are_numbered_by_all_classes():
    """A part's proxies alone are learned, whatever the part's own numbers are."""
    partial = embedder(NormalizedSoftmaxEmbedder, optimizer="sgd", proxy_lr=1e-30)
    partial.partial_fit(X, y)
    proxies = partial.net_.criterion_.proxies.detach().clone()
    some = y >= 2
    partial.set_params(proxy_lr=10.0, max_epochs=1)
    far = np.tile(X[some], (20, 1)), np.tile(y[some], 20)
    for _ in range(5):
        partial.partial_fit(*far)
    embedding = torch.from_numpy(partial.transform(X[some]))
    after = torch.nn.functional.normalize(partial.net_.criterion_.proxies.detach())
    before = torch.nn.functional.normalize(proxies)
    gain = (embedding @ (after - before).T).mean(dim=0)
    assert min(gain[2:]) > max(gain[:2])


def test_classes_of_the_first_call():
    partial = embedder(NormalizedSoftmaxEmbedder)
    partial.partial_fit(X[y < 2], y[y < 2], classes=[3, 2, 1, 0, 0])
    assert partial.classes_.tolist() == [0, 1, 2, 3]
    assert partial.net_.criterion_.proxies.shape[0] == 4
    partial.partial_fit(X, y)
    assert partial.classes_.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"2 classes that classes lacks .*example 2\)"):
        embedder().partial_fit(X, y, classes=[0, 1, 9])


@each_kind
def test_new_classes_need_a_loss_that_learns_nothing_for_each(cls):
    partial = embedder(cls).partial_fit(X[y > 1], y[y > 1])
    if partial._compares_samples:
        partial.partial_fit(X, y)
        assert partial.classes_.tolist() == [0, 1, 2, 3]
        assert np.isfinite(partial.transform(X)).all()
    else:
        assert_refuses_new_classes(partial)
    if cls is MarginEmbedder:
        partial = embedder(cls, learn_beta="class").partial_fit(X[y > 1], y[y > 1])
        assert_refuses_new_classes(partial)


def assert_refuses_new_classes(partial):
    expected = partial.transform(X)
    with pytest.raises(ValueError, match=r"New classes .* here 2 .*example 0\): name"):
        partial.partial_fit(X, y)
    np.testing.assert_array_equal(partial.transform(X), expected)
    assert partial.classes_.tolist() == [2, 3]


@pytest.mark.parametrize("how", ["partial_fit", "fit"])
def test_classes_that_early_stopping_held_out(how):
    X, y = rng.normal(size=(120, 3)), np.repeat([f"class {i:02}" for i in range(60)], 2)
    params = {"warm_start": True, "early_stopping": True}
    proxies = embedder(NormalizedSoftmaxEmbedder, **params).fit(X, y)
    assert len(proxies.classes_) == 54
    held = np.setdiff1d(y, proxies.classes_)
    proxies.set_params(early_stopping=False)
    message = (
        f"y holds 6 classes \\(for example '{held[0]}'\\) that early stopping held out "
        "of the fit before.*early_stopping=False"
    )
    with pytest.raises(ValueError, match=message) as raised:
        getattr(proxies, how)(X, y)
    assert "first call" not in str(raised.value)
    y_more = y.copy()
    y_more[:2] = "another"
    with pytest.raises(ValueError, match=r"y holds 6 classes.* New .* here 1 "):
        getattr(proxies, how)(X, y_more)
    kept = np.isin(y, proxies.classes_)
    getattr(proxies, how)(X[kept], y[kept])  # as the message says
    anew = clone(proxies).fit(X, y)
    assert len(getattr(anew, how)(X, y).classes_) == 60
    pairs = embedder(**params).fit(X, y)
    pairs.set_params(early_stopping=False)
    assert len(getattr(pairs, how)(X, y).classes_) == 60


def test_memory_keeps_its_classes():
    partial = embedder(memory_size=20, memory_warm_up=0.0, batch_size="auto")
    partial.partial_fit(X[y > 1], np.array(["b", "d"])[y[y > 1] - 2])
    old = partial.net_.criterion_
    old_labels = partial.classes_[old.memory_labels.numpy()]
    partial.partial_fit(X[:4], np.array(["a", "c", "a", "c"]))
    new = partial.net_.criterion_
    labels = partial.classes_[new.memory_labels.numpy()]
    assert {*old_labels} == {"b", "d"}
    assert {*labels} > {"a", "c"}
    kept = (new.memory[:, None] == old.memory[None]).all(dim=2)
    rows, old_rows = kept.nonzero().T
    assert len(rows) >= 10
    assert labels[rows].tolist() == old_labels[old_rows].tolist()


def test_labels_of_several_calls():
    partial = embedder(ContrastiveEmbedder).partial_fit(X, np.array(["a", "b"])[y % 2])
    partial.partial_fit(X, np.array(["ccc", "a"])[y % 2])
    assert partial.classes_.tolist() == ["a", "b", "ccc"]
    with pytest.raises(TypeError, match="y and the y of earlier fits mix labels"):
        partial.partial_fit(X, y)


def test_new_learning_rates_hold_from_the_next_call():
    partial = embedder(weight_decay=0.0).partial_fit(X, y)
    before = parameters(partial)
    moments = partial.net_.optimizer_.state_dict()["state"][0]["step"].item()
    partial.set_params(lr=1e-12).partial_fit(X, y)
    torch.testing.assert_close(parameters(partial), before)
    assert {g["lr"] for g in partial.net_.optimizer_.param_groups} == {1e-12}
    state = partial.net_.optimizer_.state_dict()["state"][0]
    assert state["step"].item() == 2 * moments


def test_partial_fit_continues_fit():
    partial = embedder(max_epochs=20, batch_size=8).fit(X, y)
    partial.partial_fit(X, y)
    assert partial.n_iter_ == 21
    assert partial.net_.optimizer_.param_groups[0]["lr"] == partial.lr


def test_a_bad_part_costs_nothing():
    partial = embedder().partial_fit(X, y)
    expected = partial.transform(X)
    with_nan = X.copy()
    with_nan[0, 0] = np.nan
    for data, message in [
        ((with_nan, y), "NaN"),
        ((X[:, :2], y), "2 features, but CircleEmbedder is expecting 3"),
        ((X, y * 0), "1 class"),
        ((X.reshape(40, 1, 3), y), "shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            partial.partial_fit(*data)
    partial.set_params(lr=1e38, optimizer="sgd")
    with pytest.raises(ValueError, match="diverged in epoch 2"):
        partial.partial_fit(X, y)
    np.testing.assert_array_equal(partial.transform(X), expected)
    with pytest.raises(ValueError, match="lr"):
        partial.set_params(lr=-1).partial_fit(X, y)


def test_partial_fit_and_checkpoints(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint_dir='.*' is for fit"):
        embedder(checkpoint_dir=str(tmp_path)).partial_fit(X, y)


def test_fit_forgets_what_partial_fit_learned():
    partial = embedder().partial_fit(X, y)
    np.testing.assert_array_equal(
        partial.fit(X, y).transform(X), embedder().fit(X, y).transform(X)
    )
    assert partial.n_iter_ == 3


def test_interrupted_part_leaves_what_was():
    partial = embedder().partial_fit(X, y)
    expected = partial.transform(X)
    Interrupted.left = 1
    with pytest.raises(KeyboardInterrupt):
        partial.set_params(optimizer=Interrupted).partial_fit(X, y)
    np.testing.assert_array_equal(partial.transform(X), expected)
    assert partial.n_iter_ == 1


@pytest.mark.parametrize(
    "changes", [{"weight_decay": 0.0}, {"backbone_lr": 1e-4}, {"optimizer": "sgd"}]
)
def test_moments_find_their_parameters_however_these_are_grouped(changes):
    partial = embedder().partial_fit(X, y)
    names = {p: n for n, p in partial.net_.module_.named_parameters()}
    before = {
        names[p]: kept["exp_avg"].clone()
        for p, kept in partial.net_.optimizer_.state.items()
        if p in names
    }
    partial.set_params(lr=1e-12, **changes)
    partial.partial_fit(X, y)
    state = partial.net_.optimizer_.state
    for name, parameter in partial.net_.module_.named_parameters():
        if "optimizer" in changes:  # whose state is another
            assert "exp_avg" not in state[parameter]
        else:
            assert state[parameter]["exp_avg"].shape == before[name].shape
            assert state[parameter]["step"] > len(X) // partial.net_.batch_size


def test_a_failed_call_leaves_the_moments_as_they_were():
    class Full(Callback):
        n_batches = 0

        def on_batch_end(self, net, **kwargs):
            self.n_batches += 1
            if self.n_batches == 2:
                raise OSError("no more disk")

    partial = embedder().partial_fit(X, y)
    undisturbed = copy.deepcopy(partial)
    with pytest.raises(OSError, match="no more disk"):
        partial.set_params(callbacks=[Full()]).partial_fit(X, y)
    partial.set_params(callbacks=None).partial_fit(X, y)
    undisturbed.partial_fit(X, y)
    torch.testing.assert_close(parameters(partial), parameters(undisturbed))
