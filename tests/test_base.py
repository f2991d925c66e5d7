import html
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skorch
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    NormalizedSoftmaxEmbedder,
    SoftTripleEmbedder,
    map_at_r,
)
from sk_dml.utils import all_embedders

every_embedder = pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300].reshape(-1, 8, 8), y[:300]


def quick(cls=CircleEmbedder, **params):
    return cls(**{"max_epochs": 3, "random_state": 0, **params})


# What is learned


@every_embedder
def test_learns_unseen_rows(cls, wine):
    X, y = wine
    embedder = cls(random_state=0).fit(X[::2], y[::2])
    untrained = cls(random_state=0, max_epochs=1, lr=1e-12).fit(X[::2], y[::2])
    score = map_at_r(embedder, X[1::2], y[1::2])
    assert score > map_at_r(untrained, X[1::2], y[1::2]) + 0.1
    assert score > 0.85
    assert embedder.loss_curve_[-1] < embedder.loss_curve_[0]


@every_embedder
def test_reproducible_to_the_bit_and_seeded(cls, wine):
    X, y = wine
    first = quick(cls).fit_transform(X, y)
    np.testing.assert_array_equal(quick(cls).fit_transform(X, y), first)
    assert (quick(cls, random_state=1).fit_transform(X, y) != first).any()
    generator = np.random.RandomState(0)
    assert (quick(cls, random_state=generator).fit_transform(X, y) == first).all()


@every_embedder
def test_global_random_numbers_are_left_alone(cls, wine):
    X, y = wine
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(cls).fit(X, y).transform(X)
    assert torch.equal(torch.get_rng_state(), torch_state)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(before, after)


def test_scale_and_offset_of_features_hardly_matter(wine):
    X, y = wine
    plain = quick().fit_transform(X, y)
    moved = X * np.logspace(-6, 6, X.shape[1]) + 1e8 * (np.arange(X.shape[1]) == 1)
    np.testing.assert_allclose(quick().fit_transform(moved, y), plain, atol=0.05)


def test_constant_and_extreme_features(wine):
    X, y = wine
    X = np.column_stack([X, np.full(len(X), 3.0), np.zeros(len(X))])
    embedder = quick().fit(X, y)
    X[0, -2:] = 1e300
    assert np.isfinite(embedder.transform(X)).all()


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([3, 1, 2], dtype=object),
        np.array([2**60, 2**60 + 1, -5]),
        np.array([1.0, 2.0, 3.0]),
        np.array([False, True, True]),
    ],
    ids=["str", "object str", "object int", "large int", "whole floats", "bool"],
)
def test_kinds_of_labels(labels, wine):
    X, y = wine
    embedder = quick().fit(X, labels[y])
    assert embedder.classes_.tolist() == sorted(set(labels.tolist()))
    numbered = np.unique(labels[y].astype(str), return_inverse=True)[1]
    expected = quick().fit_transform(X, numbered)
    if sorted(map(str, set(labels.tolist()))) == list(map(str, embedder.classes_)):
        np.testing.assert_array_equal(embedder.transform(X), expected)


@pytest.mark.parametrize("kind", ["series", "categorical", "list", "polars", "string"])
def test_containers_of_labels(kind, wine):
    X, y = wine
    names = np.array(["x", "y", "z"])[y]
    given = {
        "series": pd.Series(names, index=range(5, 5 + len(y))),
        "categorical": pd.Series(pd.Categorical(names)),
        "list": names.tolist(),
        "polars": pl.Series(names),
        "string": pd.Series(names, dtype="string"),
    }[kind]
    embedder = quick().fit(X, given)
    assert embedder.classes_.tolist() == ["x", "y", "z"]
    np.testing.assert_array_equal(
        embedder.transform(X), quick().fit_transform(X, names)
    )


# Images


@pytest.mark.parametrize("layout", ["n h w", "n c h w", "n h w c"])
def test_layouts_of_images_agree(layout, digits):
    X, y = digits
    expected = quick().fit_transform(X, y)
    shaped = {"n h w": X, "n c h w": X[:, None], "n h w c": X[..., None]}[layout]
    embedder = quick().fit(shaped, y)
    np.testing.assert_array_equal(embedder.transform(shaped), expected)
    assert embedder.n_features_in_ == 64
    as_bytes = shaped.astype(np.uint8)
    np.testing.assert_array_equal(embedder.transform(as_bytes), expected)


def test_images_are_learned(digits):
    X, y = digits
    embedder = CircleEmbedder(max_epochs=20, random_state=0).fit(X[:200], y[:200])
    assert map_at_r(embedder, X[200:], y[200:]) > 0.75


@pytest.mark.parametrize("module", ["linear", "mlp", "conv"])
def test_networks_by_name(module, digits):
    X, y = digits
    assert quick(module=module).fit_transform(X, y).shape == (300, 64)


def test_images_of_another_shape_are_refused(digits):
    X, y = digits
    embedder = quick().fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(1, 7, 8\).*fitted.*\(1, 8, 8\)"):
        embedder.transform(X[:, 1:])
    with pytest.raises(ValueError, match="X has 7 features, but CircleEmbedder is"):
        embedder.transform(X[:, 0, 1:])
    rows = quick().fit(X.reshape(len(X), -1), y)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), but .* fitted .* \(64,\)"):
        rows.transform(X)


# scikit-learn


def test_output_containers_and_names(wine):
    X, y = load_wine(return_X_y=True, as_frame=True)
    embedder = quick(n_components=3).fit(X, y)
    names = ["circleembedder0", "circleembedder1", "circleembedder2"]
    assert embedder.get_feature_names_out().tolist() == names
    assert embedder.feature_names_in_.tolist() == X.columns.tolist()
    array = embedder.transform(X)
    frame = embedder.set_output(transform="pandas").transform(X)
    assert frame.columns.tolist() == names
    assert (frame.dtypes == np.float32).all()
    np.testing.assert_array_equal(frame, array)
    table = embedder.set_output(transform="polars").transform(X)
    assert table.columns == names
    np.testing.assert_array_equal(table, array)


@every_embedder
def test_copies_embed_alike(cls, wine):
    X, y = wine
    embedder = quick(cls, net_params={"module__hidden": (16,)}).fit(X, y)
    expected = embedder.transform(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(embedder)).transform(X), expected
    )
    np.testing.assert_array_equal(clone(embedder).fit_transform(X, y), expected)


def test_fitted_attributes(wine):
    X, y = wine
    embedder = quick(n_components=5).fit(X, y)
    assert embedder.n_iter_ == 3
    assert [row["epoch"] for row in embedder.history_] == [1, 2, 3]
    assert [row["train_loss"] for row in embedder.history_] == embedder.loss_curve_
    assert all(row["duration"] > 0 for row in embedder.history_)
    assert embedder.device_.type in ("cpu", "cuda", "mps")
    assert isinstance(embedder.net_, skorch.NeuralNet)
    assert embedder.transform(X).shape == (178, 5)
    np.testing.assert_allclose(
        np.linalg.norm(embedder.transform(X), axis=1), 1, rtol=1e-5
    )


def test_whole_grid_search_with_a_pipeline(wine):
    X, y = wine
    pipeline = Pipeline([("embed", quick()), ("knn", KNeighborsClassifier())])
    grid = {
        "embed__margin": [0.25, 0.4],
        "embed__module__hidden": [(8,), (16, 16)],
        "knn__n_neighbors": [3],
    }
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(X, y)
    assert search.best_score_ > 0.8
    best = search.best_params_["embed__module__hidden"]
    assert search.best_estimator_["embed"].net_params == {"module__hidden": best}


def test_grid_search_over_unseen_classes(digits):
    X, y = digits
    search = GridSearchCV(
        quick(), {"gamma": [32, 80]}, scoring=map_at_r, cv=ClassDisjointKFold(4)
    ).fit(X, y)
    assert 0 < search.best_score_ <= 1


def test_html_repr_links_to_the_documentation():
    with config_context(display="diagram"):
        page = CircleEmbedder(margin=0.25)._repr_html_()
    link = "https://sk-dml.readthedocs.io/en/stable/methods/CircleEmbedder.html"
    assert link in html.unescape(page)
    assert "Width of the embedding" in page


def test_repr_shows_what_was_set():
    embedder = CircleEmbedder(32, margin=0.25)
    assert repr(embedder) == "CircleEmbedder(margin=0.25, n_components=32)"


# Parameters of the net


def test_net_params_are_parameters():
    embedder = CircleEmbedder(net_params={"module__hidden": (8,), "compile": False})
    assert embedder.get_params()["module__hidden"] == (8,)
    assert "module__hidden" not in embedder.get_params(deep=False)
    before = embedder.net_params
    embedder.set_params(module__hidden=(4,), optimizer__eps=1e-3, compile=True, lr=0.1)
    assert before == {"module__hidden": (8,), "compile": False}
    assert embedder.net_params == {
        "module__hidden": (4,),
        "compile": True,
        "optimizer__eps": 1e-3,
    }
    assert embedder.lr == 0.1
    for name in ("modul__hidden", "hidden", "net__lr"):
        with pytest.raises(ValueError, match="Invalid parameter"):
            embedder.set_params(**{name: 1})


def test_net_params_reach_the_net(wine):
    X, y = wine
    params = {
        "module__hidden": (8, 4),
        "module__dropout": 0.5,
        "optimizer__eps": 1e-3,
        "iterator_valid__batch_size": 7,
    }
    net = quick(net_params=params).fit(X, y).net_
    widths = [
        layer.out_features
        for layer in net.module_.backbone
        if isinstance(layer, torch.nn.Linear)
    ]
    assert widths == [8, 4, 64]
    assert net.optimizer_.defaults["eps"] == 1e-3
    assert net.iterator_valid__batch_size == 7


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("modul__hidden", "unknown key 'modul__hidden'. Allowed are 'compile' and"),
        ("hidden", "unknown key 'hidden'"),
        ("criterion__margin", "unknown key 'criterion__margin'"),
        ("lr", "set its parameter lr instead"),
        ("optimizer__lr", "set its parameter lr instead"),
        ("optimizer__weight_decay", "set its parameter weight_decay instead"),
        ("iterator_train__batch_size", "set its parameter batch_size instead"),
        ("module__n_components", "set its parameter n_components instead"),
        ("optimizer__betaz", r"AdamW does not take. Allowed are.*'optimizer__betas'"),
        ("module__hiden", r"MLP does not take. Allowed are.*'module__hidden'"),
    ],
)
def test_bad_net_params(key, message, wine):
    with pytest.raises(ValueError, match=f"net_params holds .*{message}"):
        CircleEmbedder(net_params={key: 1}).fit(*wine)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_optimizers(optimizer, wine):
    embedder = quick(optimizer=optimizer, lr=1e-3).fit(*wine)
    by_class = quick(optimizer=type(embedder.net_.optimizer_), lr=1e-3).fit(*wine)
    np.testing.assert_array_equal(
        embedder.transform(wine[0]), by_class.transform(wine[0])
    )


def test_callbacks_are_called_and_not_changed(wine):
    counter = skorch.callbacks.EpochScoring(
        lambda net, X, y: 1.0, name="one", on_train=True, use_caching=False
    )
    embedder = quick(callbacks=[counter]).fit(*wine)
    assert [row["one"] for row in embedder.net_.history] == [1.0] * 3
    assert not hasattr(counter, "best_score_")


def test_verbose_prints_a_line_an_epoch(wine, capsys):
    quick(verbose=1).fit(*wine)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["epoch", str(i)] for i in (1, 2, 3)
    ]
    quick().fit(*wine)
    assert capsys.readouterr().out == ""


def test_interruption_leaves_a_usable_embedder_and_a_warning(wine):
    class Interrupt(torch.optim.SGD):
        calls = 0

        def step(self, closure=None):
            Interrupt.calls += 1
            if Interrupt.calls == 8:
                raise KeyboardInterrupt
            return super().step(closure)

    X, y = wine
    embedder = quick(optimizer=Interrupt, max_epochs=5)
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 5"):
        embedder.fit(X, y)
    assert embedder.n_iter_ == len(embedder.history_) == len(embedder.loss_curve_) == 1
    assert np.isfinite(embedder.transform(X)).all()


# Devices


def test_device(wine):
    X, y = wine
    assert quick(device="cpu").fit(X, y).device_ == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device='tpu9' cannot be used here.*'cpu'"):
        quick(device="tpu9").fit(X, y)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_embedder
def test_cuda(cls, wine):
    X, y = wine
    state = torch.cuda.get_rng_state()
    embedder = quick(cls, device="cuda").fit(X, y)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert next(embedder.net_.module_.parameters()).is_cuda
    embedding = embedder.transform(X)
    assert embedding.shape == (178, 64)
    cpu = quick(cls, device="cpu").fit(X, y).transform(X)
    np.testing.assert_allclose(embedding, cpu, atol=0.2)


# Bad input

X_small = np.random.default_rng(0).normal(size=(40, 3))
y_small = np.arange(40) % 4
with_nan, with_inf = X_small.copy(), X_small.copy()
with_nan[3, 1], with_inf[3, 1] = np.nan, np.inf


@every_embedder
@pytest.mark.parametrize(
    ("X", "y", "params", "error", "message"),
    [
        (X_small, np.zeros(40), {}, ValueError, "1 class .*needs at least 2 classes"),
        (
            X_small,
            y_small,
            {"batch_size": 64},
            ValueError,
            "batch_size=64 is larger than the number of samples, n_samples=40",
        ),
        (with_nan, y_small, {}, ValueError, "X contains NaN"),
        (with_inf, y_small, {}, ValueError, "X contains infinity"),
        (X_small, y_small[:30], {}, ValueError, r"inconsistent .*: \[40, 30\]"),
        (X_small, None, {}, ValueError, "requires y to be passed"),
        (X_small, X_small[:, 0], {}, ValueError, "Unknown label type: continuous"),
        (X_small, np.array(["a", 1] * 20, object), {}, TypeError, "y mixes labels"),
        (X_small, np.array(["a", None] * 20, object), {}, ValueError, "20 missing"),
        (X_small[:, 0], y_small, {}, ValueError, "Expected 2D array, got 1D"),
        (X_small[:0], y_small[:0], {}, ValueError, "0 sample"),
        (np.zeros((40, 2, 2, 2, 2)), y_small, {}, ValueError, "dim 5"),
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
        (X_small, y_small, {"optimizer": "lion"}, InvalidParameterError, "optimizer"),
        (X_small, y_small, {"net_params": 3}, InvalidParameterError, "net_params"),
    ],
)
def test_bad_input(cls, X, y, params, error, message):
    with pytest.raises(error, match=message):
        quick(cls, **params).fit(X, y)


@every_embedder
def test_missing_y_names_it(cls):
    with pytest.raises(TypeError, match="'y'"):
        quick(cls).fit(X_small)


@every_embedder
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
    embedder = quick(module="conv")
    with pytest.raises(ValueError, match="needs images"):
        embedder.fit(X_small, y_small)
    with pytest.raises(NotFittedError):
        embedder.transform(X_small)


@every_embedder
def test_classes_with_one_sample(cls):
    y = y_small.copy()
    y[:2] = [10, 11]
    if cls._compares_samples:
        with pytest.raises(ValueError, match=r"2 classes with 1 sample.*example 10"):
            quick(cls).fit(X_small, y)
    else:
        assert len(quick(cls).fit(X_small, y).classes_) == 6


@every_embedder
def test_samples_per_class(cls):
    if cls._compares_samples:
        for value in (None, 1):
            with pytest.raises(ValueError, match=f"samples_per_class={value} leaves"):
                quick(cls, samples_per_class=value).fit(X_small, y_small)
    else:
        quick(cls, samples_per_class=1).fit(X_small, y_small)
    quick(cls, samples_per_class=3, batch_size=9).fit(X_small, y_small)
    for size in (3, 10):
        with pytest.raises(ValueError, match=rf"batch_size={size} must be a multiple"):
            quick(cls, samples_per_class=3, batch_size=size).fit(X_small, y_small)


def test_proxy_lr_needs_proxies():
    with pytest.raises(ValueError, match=r"proxy_lr=0\.1 has no effect: CircleLoss"):
        quick(proxy_lr=0.1).fit(X_small, y_small)
    quick(NormalizedSoftmaxEmbedder, proxy_lr=None).fit(X_small, y_small)


@every_embedder
def test_divergence_stops_with_the_cause(cls):
    embedder = quick(cls, lr=1e38, optimizer="sgd", max_epochs=20, lr_schedule=None)
    with pytest.raises(
        ValueError, match=r"diverged in epoch \d+.*lower lr \(now 1e\+38"
    ):
        embedder.fit(X_small, y_small)


def test_default_batches_fit_tiny_data():
    X, y = X_small[:4], np.array([0, 1, 0, 1])
    assert quick().fit(X, y).transform(X).shape == (4, 64)
    assert quick(SoftTripleEmbedder).fit(X, y).net_.batch_size == 4
