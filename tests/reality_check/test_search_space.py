from functools import partial

import numpy as np
import optuna
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_dml import CircleEmbedder, TripletEmbedder
from sk_dml.reality_check._run import Method
from sk_dml.reality_check._search_space import (
    default_space,
    describe_space,
    translate,
    translate_space,
)
from sk_dml.utils import all_embedders


def draw(space, n=400):
    dimension = translate("x", space)
    sampler = optuna.samplers.RandomSampler(seed=0)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler)
    trials = [study.ask({"x": dimension.distribution}) for _ in range(n)]
    return [dimension.decode(trial.params["x"]) for trial in trials]


@pytest.mark.parametrize(
    "space",
    [
        stats.uniform(-1, 3),
        stats.loguniform(1e-3, 10),
        stats.loguniform(1, 10, loc=5),
        stats.loguniform(1, 10, scale=3),
        stats.norm(5, 2),
        stats.expon(scale=3),
        stats.beta(2, 5),
    ],
    ids=lambda space: space.dist.name,
)
def test_draws_follow_continuous_distributions(space):
    values = draw(space)
    assert all(type(value) is float for value in values)
    assert stats.kstest(values, space.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "space", [stats.randint(2, 6), stats.binom(4, 0.3), stats.poisson(2)]
)
def test_draws_follow_discrete_distributions(space):
    values = draw(space)
    assert all(type(value) is int for value in values)
    for value in range(6):
        share = np.mean(np.array(values) == value)
        assert share == pytest.approx(space.pmf(value), abs=0.08)


def test_draws_follow_lists():
    for values in ([False, True, "class"], [None, 2, 0.5], [(256,), (512, 512)]):
        drawn = draw(values, 60)
        assert {str(value) for value in drawn} == set(map(str, values))
        assert all(value in values for value in drawn)
    steps = [PCA(2), "passthrough"]
    assert any(value is steps[0] for value in draw(steps, 20))


@pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)
def test_every_method_translates(cls):
    dimensions = translate_space("it", cls(), cls.search_space())
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        storage=storage, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    for _ in range(9):
        trial = study.ask({n: d.distribution for n, d in dimensions.items()})
        params = {n: d.decode(trial.params[n]) for n, d in dimensions.items()}
        cls(**params)._validate_params()


def test_default_space_of_pipelines():
    pipeline = make_pipeline(StandardScaler(), TripletEmbedder())
    space = default_space(pipeline)
    assert set(space) == {"tripletembedder__margin", "tripletembedder__mining"}
    assert set(translate_space("it", pipeline, space)) == set(space)
    assert default_space(PCA(2)) == {}
    assert describe_space(space) == {
        "tripletembedder__margin": "uniform in [0, 0.5]",
        "tripletembedder__mining": "['all', 'semihard', 'hard']",
    }


def test_what_is_no_plain_value_is_shown_without_its_address():
    space = {"func": [np.log1p, partial(draw, n=3), FunctionTransformer(draw), PCA(2)]}
    (shown,) = describe_space(space).values()
    assert " at 0x" not in shown
    assert "(func=<function draw>), PCA(n_components=2)" in shown
    labels = translate("func", space["func"]).distribution.choices
    assert labels[1] == "1: functools.partial(<function draw>, n=3)"


def test_what_is_shown_are_values():
    space = {"n_components": stats.norm(5, 2), "svd_solver": ["full", PCA(2)]}
    dimensions = {name: translate(name, values) for name, values in space.items()}
    method = Method("PCA", "method", PCA(), space, dimensions)
    shown = method.show({"n_components": 0.5, "svd_solver": "1: PCA(n_components=2)"})
    assert shown == {"n_components": 5.0, "svd_solver": "1: PCA(n_components=2)"}


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({"gama": [1, 2]}, ValueError, r"names 'gama', .* Allowed are: .*'gamma'"),
        ({"gamma": []}, ValueError, "'gamma of it' is an empty list"),
        ({"gamma": 3}, TypeError, "'gamma of it' must be a list or a frozen"),
        ({"gamma": stats.uniform}, TypeError, "must be a list or a frozen"),
        (["gamma"], TypeError, r"search_spaces\['it'\] must be a dict"),
    ],
)
def test_bad_input(space, error, message):
    with pytest.raises(error, match=message):
        translate_space("it", CircleEmbedder(), space)
