"""What every embedder gives to search, and that a search takes it."""

import numpy as np
import pytest
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV

from sk_dml import ArcFaceEmbedder, ClassDisjointKFold, map_at_r
from sk_dml.embedders._base import BaseEmbedder
from sk_dml.utils import all_embedders

every_embedder = pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)
MEMORY = {"memory_size", "memory_warm_up"}
# Settings of the papers and those that the Reality Check found: the ranges hold them.
FOUND = {
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
def test_space_holds_every_parameter_of_the_method(cls):
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
        embedder._make_criterion(3, 12)


@pytest.mark.parametrize("name", FOUND)
def test_ranges_hold_known_settings(name):
    space = dict(all_embedders())[name].search_space()
    for setting in FOUND[name]:
        for parameter, value in setting.items():
            low, high = space[parameter].support()
            assert low <= value <= high


def test_space_is_a_copy():
    ArcFaceEmbedder.search_space().clear()
    assert len(ArcFaceEmbedder.search_space()) == 3


def test_randomized_search_takes_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(48, 4)), np.repeat(np.arange(8), 6)
    search = RandomizedSearchCV(
        ArcFaceEmbedder(2, max_epochs=1, random_state=0),
        ArcFaceEmbedder.search_space(),
        n_iter=2,
        scoring=map_at_r,
        cv=ClassDisjointKFold(2),
        random_state=0,
    ).fit(X, y)
    assert set(search.best_params_) == {"margin", "scale", "proxy_lr"}
