"""Wrong data and parameters are refused, with a message that names the cause."""

from numbers import Integral

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import Interval, InvalidParameterError

from sk_dml import (
    CircleEmbedder,
    MarginEmbedder,
    NormalizedSoftmaxEmbedder,
    SoftTripleEmbedder,
)
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.utils import all_embedders
from tests.quick import quick

# The code is shared: a loss on pairs, one with proxies, and one that is learned.
some_embedders = pytest.mark.parametrize(
    "cls",
    [CircleEmbedder, NormalizedSoftmaxEmbedder, MarginEmbedder],
    ids=lambda cls: cls.__name__,
)
every_embedder = pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)


X_small = np.random.default_rng(0).normal(size=(40, 3))
y_small = np.arange(40) % 4
with_nan, with_inf = X_small.copy(), X_small.copy()
with_nan[3, 1], with_inf[3, 1] = np.nan, np.inf


@some_embedders
@pytest.mark.parametrize(
    ("X", "y", "params", "error", "message"),
    [
        (X_small, np.zeros(40), {}, ValueError, "1 class .*needs at least 2 classes"),
        (
            X_small,
            y_small,
            {"batch_size": 64},
            ValueError,
            "batch_size=64 is larger than the number of samples to learn from",
        ),
        (with_nan, y_small, {}, ValueError, "X contains NaN"),
        (with_inf, y_small, {}, ValueError, "X contains infinity"),
        (X_small, y_small[:30], {}, ValueError, r"inconsistent .*: \[40, 30\]"),
        (X_small, None, {}, ValueError, "requires y to be passed"),
        (X_small, X_small[:, 0], {}, ValueError, "Unknown label type: continuous"),
        (X_small * 1e300, y_small, {}, ValueError, "too large for a mean"),
        (X_small, np.array(["a", 1] * 20, object), {}, TypeError, "y mixes labels"),
        (X_small[:, 0], y_small, {}, ValueError, "Expected 2D array, got 1D"),
        (X_small[:0], y_small[:0], {}, ValueError, "0 sample"),
        (
            np.zeros((40, 2, 2, 2, 2)),
            y_small,
            {},
            ValueError,
            "dim 5 for X; .*3 or 4 axes",
        ),
        (np.zeros((40, 0, 2)), y_small, {}, ValueError, "0 feature"),
        (
            X_small,
            y_small,
            {"module": "conv"},
            ValueError,
            "module='conv' needs images",
        ),
        (X_small, y_small, {"n_components": 0}, InvalidParameterError, "n_components"),
        (X_small, y_small, {"max_epochs": 0}, InvalidParameterError, "max_epochs"),
        (X_small, y_small, {"lr": 0}, InvalidParameterError, "lr"),
        (
            X_small,
            y_small,
            {"lr_schedule": "one"},
            InvalidParameterError,
            "lr_schedule",
        ),
        (X_small, y_small, {"module": "resnet"}, InvalidParameterError, "module"),
        (X_small, y_small, {"augment": "flip"}, InvalidParameterError, "augment"),
        (X_small, y_small, {"augment": "crop"}, ValueError, "is for images; for other"),
        (X_small, y_small, {"optimizer": "lion"}, InvalidParameterError, "optimizer"),
        (X_small, y_small, {"net_params": 3}, InvalidParameterError, "net_params"),
    ],
)
def test_bad_input(cls, X, y, params, error, message):
    with pytest.raises(error, match=message):
        quick(cls, **params).fit(X, y)


def parameters_outside(cls):
    """Yield values just outside of what a method or loss allows."""
    shared = BaseEmbedder._parameter_constraints
    for name, constraints in cls._parameter_constraints.items():
        if name in shared:
            continue
        for constraint in constraints:
            if isinstance(constraint, Interval):
                whole = constraint.type is Integral
                step = 1 if whole or constraint.closed in ("left", "both") else 0
                yield name, constraint.left - step, str(constraint.left)
                if constraint.right is not None:
                    yield name, constraint.right + 1, str(constraint.right)
        yield name, "other", "must be"


@every_embedder
def test_parameters_outside_their_domain(cls):
    for name, value, allowed in parameters_outside(cls):
        with pytest.raises(InvalidParameterError) as error:
            quick(cls, **{name: value}).fit(X_small, y_small)
        message = str(error.value)
        assert f"'{name}' parameter of {cls.__name__}" in message
        assert repr(value) in message
        assert allowed in message


@some_embedders
def test_missing_y_names_it(cls):
    with pytest.raises(TypeError, match="'y'"):
        quick(cls).fit(X_small)


@some_embedders
def test_transform_before_fit_and_with_other_features(cls):
    embedder = quick(cls)
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not"):
        embedder.transform(X_small)
    embedder.fit(X_small, y_small)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* expecting 3"):
        embedder.transform(X_small[:, 1:])
    with pytest.raises(ValueError, match="X contains NaN"):
        embedder.transform(with_nan)


def test_failed_fit_leaves_no_network():
    embedder = quick().fit(X_small, y_small).set_params(module="conv")
    with pytest.raises(ValueError, match="needs images"):
        embedder.fit(X_small, y_small)
    with pytest.raises(NotFittedError):
        embedder.transform(X_small)


@some_embedders
def test_classes_with_one_sample(cls):
    y = y_small.copy()
    y[:2] = [10, 11]
    if cls()._compares_samples:
        with pytest.raises(
            ValueError, match=r"2 of the 6 classes in y have 1 sample .*example 10"
        ):
            quick(cls).fit(X_small, y)
    else:
        assert len(quick(cls).fit(X_small, y).classes_) == 6


@some_embedders
def test_samples_per_class(cls):
    if cls()._compares_samples:
        for value in (None, 1):
            with pytest.raises(ValueError, match=f"samples_per_class={value} leaves"):
                quick(cls, samples_per_class=value).fit(X_small, y_small)
    else:
        quick(cls, samples_per_class=1).fit(X_small, y_small)
    quick(cls, samples_per_class=3, batch_size=9).fit(X_small, y_small)
    for size in (3, 10):
        with pytest.raises(ValueError, match=rf"batch_size={size} must be a multiple"):
            quick(cls, samples_per_class=3, batch_size=size).fit(X_small, y_small)


@pytest.mark.parametrize(("n_samples", "most"), [(40, 40), (400, 128), (12, 32)])
def test_automatic_batches_have_room_for_two_classes(n_samples, most):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_samples, 3)), np.arange(n_samples) % 2
    for cls in (CircleEmbedder, NormalizedSoftmaxEmbedder):
        k = most // 2 + 1
        message = (
            rf"samples_per_class={k} leaves .*'auto'.* at most {most} of {n_samples}"
        )
        with pytest.raises(ValueError, match=rf"{message}.*{most // 2}, or .*{2 * k}"):
            quick(cls, samples_per_class=k).fit(X, y)
        net = quick(cls, samples_per_class=most // 2).fit(X, y).net_
        assert net.batch_size == most
    if n_samples == 400:
        assert quick(samples_per_class=k, batch_size=2 * k).fit(X, y).n_iter_


def test_module_without_parameters():
    with pytest.raises(ValueError, match="module has no parameters to train"):
        quick(n_components=3, module=torch.nn.Identity()).fit(X_small, y_small)
    embedder = quick(
        NormalizedSoftmaxEmbedder, n_components=3, module=torch.nn.Identity()
    )
    assert embedder.fit(X_small, y_small).transform(X_small).shape == (40, 3)


def test_proxy_lr_needs_proxies():
    with pytest.raises(ValueError, match=r"proxy_lr=0\.1 has no effect: CircleLoss"):
        quick(proxy_lr=0.1).fit(X_small, y_small)
    quick(NormalizedSoftmaxEmbedder, proxy_lr=None).fit(X_small, y_small)


@some_embedders
def test_divergence_stops_with_the_cause(cls):
    embedder = quick(cls, lr=1e38, optimizer="sgd", max_epochs=20, lr_schedule=None)
    with pytest.raises(
        ValueError, match=r"diverged in epoch \d+.*lower lr \(now 1e\+38"
    ):
        embedder.fit(X_small, y_small)


def test_default_batches_fit_tiny_data():
    X, y = X_small[:4], np.array([0, 1, 0, 1])
    assert quick().fit(X, y).transform(X).shape == (4, 4)
    assert quick(SoftTripleEmbedder).fit(X, y).net_.batch_size == 4


@some_embedders
def test_a_single_component_warns(cls):
    with pytest.warns(UserWarning, match="n_components=1 leaves rows of length one"):
        embedder = quick(cls, n_components=1).fit(X_small, y_small)
    assert set(np.unique(embedder.transform(X_small))) <= {-1.0, 1.0}
