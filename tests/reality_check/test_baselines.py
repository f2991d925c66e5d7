import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_dml import CircleEmbedder, SoftmaxEmbedder
from sk_dml.metrics import map_at_r_score
from sk_dml.reality_check._baselines import (
    BASELINES,
    LinearNCA,
    Principal,
    make_baselines,
)
from tests.reality_check.small import data

X, y = data()


def test_every_baseline_embeds_rows():
    made = make_baselines(BASELINES, CircleEmbedder(3), X)
    assert tuple(made) == BASELINES
    embeddings = {name: est.fit(X, y).transform(X) for name, est in made.items()}
    assert_array_equal(embeddings["raw features"], X)
    assert_allclose(embeddings["scaled features"], StandardScaler().fit_transform(X))
    assert embeddings["untrained network"].shape == embeddings["PCA"].shape == (48, 3)
    assert embeddings["LDA"].shape == (48, 5)
    assert embeddings["linear NCA"].shape == (48, 3)
    assert map_at_r_score(embeddings["linear NCA"], y) > map_at_r_score(X, y)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 255.0])
def test_linear_nca_learns_at_any_scale(scale):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(20), 10)
    wide = rng.normal(size=(20, 300))[y] + 3 * rng.normal(size=(200, 300))
    wide += rng.normal(size=(200, 5)) @ rng.normal(size=(5, 300))
    X = scale * wide
    nca = LinearNCA(32, random_state=0).fit(X, y)
    pca = Principal(32).fit(X, y)
    learned = map_at_r_score(nca.transform(X), y)
    assert learned > map_at_r_score(pca.transform(X), y) + 0.1
    unscaled = LinearNCA(32, random_state=0).fit(wide, y)
    assert_allclose(map_at_r_score(unscaled.transform(wide), y), learned, atol=0.05)


def test_images_and_files():
    images = np.random.default_rng(0).integers(0, 255, (48, 20, 20)).astype(np.uint8)
    made = make_baselines(BASELINES, SoftmaxEmbedder(3), images)
    assert set(made) == set(BASELINES) - {"scaled features"}
    for name, estimator in made.items():
        embedding = np.asarray(estimator.fit(images, y).transform(images))
        assert embedding.ndim == 2
        if name == "raw features":
            assert_array_equal(embedding, images.reshape(48, 400))
    files = np.array([f"{i}.png" for i in range(48)])
    assert list(make_baselines(BASELINES, CircleEmbedder(), files)) == [
        "untrained network"
    ]
    assert "untrained network" not in make_baselines(BASELINES, PCA(2), X)


@pytest.mark.parametrize("piped", [False, True])
def test_untrained_network_keeps_its_first_weights(piped):
    estimator = SoftmaxEmbedder(
        3,
        proxy_lr=0.1,
        early_stopping=True,
        random_state=0,
        lr_schedule="step",
        net_params={
            "module__hidden": (7,),
            "lr_schedule__warmup": 2,
            "optimizer__param_groups": [("*", {"lr": 0.1})],
        },
    )
    if piped:
        estimator = make_pipeline(StandardScaler(), estimator)
    (untrained,) = make_baselines(["untrained network"], estimator, X).values()
    weights = []
    for n_epochs in (1, 4):
        prefix = "softmaxembedder__" if piped else ""
        untrained.set_params(**{f"{prefix}max_epochs": n_epochs}).fit(X, y)
        embedder = untrained[-1] if piped else untrained
        weights.append([p.detach().numpy() for p in embedder.net_.module_.parameters()])
    assert embedder.net_params == {"module__hidden": (7,)}
    assert len(weights[0]) > 2
    for once, longer in zip(*weights, strict=True):
        assert_allclose(once, longer, rtol=0, atol=1e-28)


@pytest.mark.parametrize("piped", [False, True])
def test_untrained_head_of_features_knows_no_classes(piped):
    estimator = SoftmaxEmbedder(3, module="features", random_state=0)
    if piped:
        estimator = make_pipeline(StandardScaler(), estimator)
    (untrained,) = make_baselines(["untrained network"], estimator, X).values()
    expected = untrained.fit(X, y).transform(X)
    shuffled = np.random.default_rng(0).permutation(y)
    assert_allclose(untrained.fit(X, shuffled).transform(X), expected, atol=1e-6)
    # Cosines of rows of length one, centered, on the axes along which they vary most.
    rows = StandardScaler().fit_transform(X) if piped else X
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    projected = PCA(3).fit_transform(rows)
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    assert_allclose(expected @ expected.T, projected @ projected.T, atol=1e-4)


def test_linear_nca_draws_from_large_data():
    small = LinearNCA(2, max_samples=30, random_state=0).fit(X, y)
    assert small.nca_.n_features_in_ == 5
    again = LinearNCA(2, max_samples=30, random_state=0).fit(X, y)
    assert_array_equal(small.transform(X), again.transform(X))
    whole = LinearNCA(2, random_state=0).fit(X, y)
    assert not np.allclose(small.transform(X), whole.transform(X))
