"""BaseEmbedder: fit, transform and what scikit-learn expects, on small networks."""

import html
import pickle
import warnings

import numpy as np
import pytest
import skorch
import torch
from joblib import Parallel, delayed, parallel_config
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    ParameterSampler,
    RandomizedSearchCV,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from sk_dml import (
    ArcFaceEmbedder,
    CircleEmbedder,
    ClassDisjointKFold,
    MarginEmbedder,
    NormalizedSoftmaxEmbedder,
    map_at_r,
)
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.utils import all_embedders
from tests._training.small import Interrupted

every_embedder = pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)
# The code is shared: a loss on pairs, one with proxies, and one that is learned.
some_embedders = pytest.mark.parametrize(
    "cls",
    [CircleEmbedder, NormalizedSoftmaxEmbedder, MarginEmbedder],
    ids=lambda cls: cls.__name__,
)
SMALL = {"module__hidden": (16,)}
SMALL_IMAGES = {"module__widths": (8, 8)}


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:120].reshape(-1, 8, 8), y[:120]


def quick(cls=CircleEmbedder, **params):
    return cls(**{"max_epochs": 3, "random_state": 0, "net_params": SMALL, **params})


def quick_images(**params):
    return quick(**{"max_epochs": 2, "net_params": SMALL_IMAGES, **params})


# What is learned


@every_embedder
def test_learns_unseen_rows(cls, wine):
    X, y = wine
    small = {"random_state": 0, "net_params": {"module__hidden": (64,)}}
    embedder = cls(**small, max_epochs=40, lr=3e-3).fit(X[::2], y[::2])
    untrained = cls(**small, max_epochs=1, lr=1e-12).fit(X[::2], y[::2])
    score = map_at_r(embedder, X[1::2], y[1::2])
    assert score > map_at_r(untrained, X[1::2], y[1::2]) + 0.1
    assert score > 0.85
    assert embedder.loss_curve_[-1] < embedder.loss_curve_[0]


@some_embedders
def test_reproducible_to_the_bit_and_seeded(cls, wine):
    X, y = wine
    first = quick(cls).fit_transform(X, y)
    np.testing.assert_array_equal(quick(cls).fit_transform(X, y), first)
    assert (quick(cls, random_state=1).fit_transform(X, y) != first).any()
    generator = np.random.RandomState(0)
    assert (quick(cls, random_state=generator).fit_transform(X, y) == first).all()


@some_embedders
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


def test_names_of_the_classes_do_not_matter(wine):
    X, y = wine
    embedder = quick().fit(X, np.array(["a", "b", "c"])[y])
    assert embedder.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(embedder.transform(X), quick().fit_transform(X, y))


# Images


@pytest.mark.parametrize("layout", ["n h w", "n c h w", "n h w c"])
def test_layouts_of_images_agree(layout, digits):
    X, y = digits
    expected = quick_images().fit_transform(X, y)
    shaped = {"n h w": X, "n c h w": X[:, None], "n h w c": X[..., None]}[layout]
    embedder = quick_images().fit(shaped, y)
    np.testing.assert_array_equal(embedder.transform(shaped), expected)
    assert embedder.n_features_in_ == 64
    as_bytes = shaped.astype(np.uint8)
    np.testing.assert_array_equal(embedder.transform(as_bytes), expected)


def test_images_are_learned():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    embedder = quick_images(
        max_epochs=20, lr=3e-3, net_params={"module__widths": (16, 32)}
    ).fit(X[:200], y[:200])
    assert map_at_r(embedder, X[200:300], y[200:300]) > 0.75


@pytest.mark.parametrize("module", ["linear", "mlp", "conv", "features"])
def test_networks_by_name(module, digits):
    X, y = digits
    embedder = quick(module=module, max_epochs=1, net_params=None)
    assert embedder.fit_transform(X, y).shape == (120, 64)


def test_images_of_another_shape_are_refused(digits):
    X, y = digits
    embedder = quick_images().fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(1, 7, 8\).*fitted.*\(1, 8, 8\)"):
        embedder.transform(X[:, 1:])
    with pytest.raises(ValueError, match=r"X has shape \(120, 7\).* with images"):
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


@some_embedders
def test_copies_embed_alike(cls, wine):
    X, y = wine
    embedder = quick(cls).fit(X, y)
    expected = embedder.transform(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(embedder)).transform(X), expected
    )
    np.testing.assert_array_equal(clone(embedder).fit_transform(X, y), expected)


def test_names_follow_what_was_fitted(wine):
    X, y = wine
    embedder = quick(n_components=4)
    with pytest.raises(NotFittedError):
        embedder.get_feature_names_out()
    embedder.fit(X, y).set_params(n_components=3)
    assert len(embedder.get_feature_names_out()) == 4
    frame = embedder.set_output(transform="pandas").transform(X)
    assert frame.shape == (178, 4)


def test_pickles_hold_the_weights_and_their_optimizer_once(wine):
    embedder = quick(net_params=None).fit(*wine)
    size = sum(p.nbytes for p in embedder.net_.module_.parameters())
    assert len(pickle.dumps(embedder)) < 3.2 * size
    again = pickle.loads(pickle.dumps(embedder))
    assert again.net_.module is again.net_.module_


def test_fits_in_threads_are_those_in_sequence(wine):
    X, y = wine
    state = torch.get_rng_state()

    def embed(seed):
        return quick(random_state=seed).fit_transform(X, y)

    together = Parallel(2, backend="threading")(delayed(embed)(s) for s in range(4))
    np.testing.assert_array_equal(together, [embed(seed) for seed in range(4)])
    assert torch.equal(torch.get_rng_state(), state)


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
    with parallel_config(backend="threading"):
        search.fit(X, y)
    assert search.best_score_ > 0.8
    best = search.best_params_["embed__module__hidden"]
    assert search.best_estimator_["embed"].net_params == {"module__hidden": best}


def test_grid_search_over_unseen_classes(digits):
    X, y = digits
    search = GridSearchCV(
        quick_images(), {"gamma": [32, 80]}, scoring=map_at_r, cv=ClassDisjointKFold(4)
    ).fit(X, y)
    assert 0 < search.best_score_ <= 1


def test_html_repr_links_to_the_documentation():
    with config_context(display="diagram"):
        page = CircleEmbedder(margin=0.25)._repr_html_()
    link = "https://sk-dml.readthedocs.io/en/stable/methods/CircleEmbedder.html"
    assert link in html.unescape(page)
    assert "Number of dimensions of the embedding" in page


def test_repr_shows_what_was_set():
    embedder = CircleEmbedder(32, margin=0.25)
    assert repr(embedder) == "CircleEmbedder(margin=0.25, n_components=32)"


# Training


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


def test_interruption_leaves_a_usable_embedder_and_a_warning(wine):
    X, y = wine
    embedder = quick(optimizer=Interrupted, max_epochs=5)
    Interrupted.left = 8
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 5"):
        embedder.fit(X, y)
    assert embedder.n_iter_ == len(embedder.history_) == len(embedder.loss_curve_) == 1
    assert np.isfinite(embedder.transform(X)).all()


def test_interruption_before_the_first_epoch_interrupts(wine):
    Interrupted.left = 1
    with pytest.raises(KeyboardInterrupt):
        quick(optimizer=Interrupted).fit(*wine)


# Searching

MEMORY = {"memory_size", "memory_warm_up"}
# Settings of the papers and those that the Reality Check found: the ranges hold them.
KNOWN = {
    "ArcFaceEmbedder": [{"margin": 0.5, "scale": 64}, {"margin": 0.32, "scale": 220}],
    "CircleEmbedder": [{"margin": 0.25, "gamma": 256}, {"margin": 0.4, "gamma": 80}],
    "ContrastiveEmbedder": [{"pos_margin": 0, "neg_margin": 0.38}, {"neg_margin": 1}],
    "CosFaceEmbedder": [{"margin": 0.62, "scale": 100}, {"margin": 0.43, "scale": 162}],
    "FastAPEmbedder": [{"n_bins": 10}, {"n_bins": 27}],
    "MarginEmbedder": [
        {"margin": 0.088, "beta": 0.78, "proxy_lr": 1.3e-3},
        {"margin": 0.2, "beta": 1.32, "proxy_lr": 4.8e-5},
    ],
    "MultiSimilarityEmbedder": [
        {"alpha": 2, "beta": 50, "base": 1, "epsilon": 0.1},
        {"alpha": 18, "beta": 157, "base": 0.63, "epsilon": 0.72},
    ],
    "NTXentEmbedder": [{"temperature": 0.07}, {"temperature": 0.0002}],
    "NormalizedSoftmaxEmbedder": [
        {"temperature": 0.05},
        {"temperature": 0.109, "proxy_lr": 7.2e-2},
    ],
    "ProxyAnchorEmbedder": [{"scale": 32, "margin": 0.1}],
    "ProxyNCAEmbedder": [{"scale": 1}, {"scale": 9}, {"scale": 14, "proxy_lr": 5.3e-4}],
    "SoftTripleEmbedder": [
        {"scale": 20, "gamma": 0.1, "tau": 0.2, "margin": 0.01, "proxy_lr": 1e-2},
        # The Reality Check's gamma is the inverse.
        {"scale": 100, "gamma": 1 / 59, "margin": 0.7, "proxy_lr": 5.4e-5},
    ],
    "TripletEmbedder": [{"margin": 0.045}, {"margin": 0.2}],
}


@every_embedder
def test_search_space_holds_every_parameter_of_the_method(cls):
    own = set(cls._get_param_names()) - set(BaseEmbedder._get_param_names()) - MEMORY
    space = cls.search_space()
    assert own <= set(space) <= set(cls._get_param_names())
    assert set(space) - own <= {"proxy_lr"}
    for value in space.values():
        assert isinstance(value, list) or hasattr(value, "rvs")


@every_embedder
def test_values_drawn_are_allowed(cls):
    for params in ParameterSampler(cls.search_space(), 40, random_state=0):
        embedder = cls(**params)
        embedder._validate_params()
        embedder._make_loss(3, 12)


@pytest.mark.parametrize("name", KNOWN)
def test_ranges_hold_known_settings(name):
    space = dict(all_embedders())[name].search_space()
    for setting in KNOWN[name]:
        for parameter, value in setting.items():
            low, high = space[parameter].support()
            assert low <= value <= high


def test_search_space_is_a_copy():
    ArcFaceEmbedder.search_space().clear()
    assert len(ArcFaceEmbedder.search_space()) == 3


def test_randomized_search_takes_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(48, 4)), np.repeat(np.arange(8), 6)
    search = RandomizedSearchCV(
        quick(ArcFaceEmbedder, n_components=2, max_epochs=1),
        ArcFaceEmbedder.search_space(),
        n_iter=2,
        scoring=map_at_r,
        cv=ClassDisjointKFold(2),
        random_state=0,
    ).fit(X, y)
    assert set(search.best_params_) == {"margin", "scale", "proxy_lr"}


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
