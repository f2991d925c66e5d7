"""``net_params``: settings that reach the skorch net, and refused ones."""

import pytest
import torch
from sklearn.datasets import load_wine

from sk_dml import CircleEmbedder


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


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
    net = CircleEmbedder(max_epochs=2, net_params=params).fit(X, y).net_
    widths = [
        layer.out_features
        for layer in net.module_.backbone
        if isinstance(layer, torch.nn.Linear)
    ]
    assert widths == [8, 4, 64]
    assert net.optimizer_.defaults["eps"] == 1e-3
    assert net.iterator_valid__batch_size == 7


def test_fused_steps_give_way_to_what_the_user_asks(wine):
    X, y = wine
    assert CircleEmbedder(max_epochs=1).fit(X, y).net_.optimizer_.defaults["fused"]
    params = {"optimizer__foreach": True}
    net = CircleEmbedder(max_epochs=1, net_params=params).fit(X, y).net_
    assert net.optimizer_.defaults["foreach"]
    assert not net.optimizer_.defaults["fused"]


def test_optimizers_with_any_arguments(wine):
    class Momentum(torch.optim.SGD):
        def __init__(self, params, **settings):
            super().__init__(params, **settings)

    params = {"optimizer__momentum": 0.5}
    embedder = CircleEmbedder(max_epochs=1, optimizer=Momentum, net_params=params)
    assert embedder.fit(*wine).net_.optimizer_.defaults["momentum"] == 0.5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimizer": torch.optim.LBFGS}, "optimizer must be one of .*LBFGS"),
        (
            {"optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])},
            "'optimizer' parameter .* must be .*instance of 'type'",
        ),
        ({"optimizer": int}, "optimizer must be one of .*torch optimizer class"),
        ({"callbacks": [print]}, "callbacks must be a list of skorch callbacks.*print"),
        ({"callbacks": ["x"]}, "callbacks must be a list of skorch callbacks.*'x'"),
    ],
)
def test_bad_optimizers_and_callbacks(parameters, message, wine):
    with pytest.raises(TypeError, match=message):
        CircleEmbedder(**parameters).fit(*wine)


class MatricesOnly(torch.optim.SGD):
    """An optimizer that refuses biases, as torch.optim.Muon does."""

    def add_param_group(self, group):
        if any(parameter.ndim < 2 for parameter in group["params"]):
            raise ValueError("only matrices")
        super().add_param_group(group)


def test_parameters_that_the_optimizer_refuses(wine):
    message = "optimizer MatricesOnly cannot be built .* only matrices"
    with pytest.raises(ValueError, match=message):
        CircleEmbedder(optimizer=MatricesOnly).fit(*wine)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "modul__hidden",
            "unknown key 'modul__hidden'. Allowed are 'compile', .* and keys",
        ),
        ("hidden", "unknown key 'hidden'"),
        ("criterion__margin", "unknown key 'criterion__margin'"),
        ("lr", "set the parameter lr instead"),
        ("optimizer__lr", "set the parameter lr instead"),
        ("optimizer__weight_decay", "set the parameter weight_decay instead"),
        ("iterator_train__batch_size", "set the parameter batch_size instead"),
        ("module__n_components", "set the parameter n_components instead"),
        ("optimizer__betaz", r"AdamW does not take. Allowed are.*'optimizer__betas'"),
        ("iterator_train__worker", r"DataLoader does not take.*num_workers"),
        ("iterator_valid__shuffle", r"DataLoader does not take.*num_workers"),
        ("callbacks__x__y", "but callbacks is None"),
        ("compile__mod", r"compile does not take. Allowed are.*'compile__mode'"),
        ("compile__mode", "'compile__mode', but not compile=True"),
        ("compile", "compile=1; allowed are True and False"),
        ("module__hiden", r"MLP does not take. Allowed are.*'module__hidden'"),
    ],
)
def test_bad_net_params(key, message, wine):
    with pytest.raises(ValueError, match=f"net_params holds .*{message}"):
        CircleEmbedder(net_params={key: 1}).fit(*wine)


@pytest.mark.parametrize("key", [1, None, ("module__hidden",)])
def test_keys_that_are_no_strings(key, wine):
    with pytest.raises(
        TypeError, match=r"net_params holds the key .*; allowed are str"
    ):
        CircleEmbedder(net_params={key: 1}).fit(*wine)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"optimizer__eps": -1},
            r"optimizer__\*={'eps': -1}, which AdamW refuses: Inv",
        ),
        ({"optimizer__betas": "ab"}, "'betas': 'ab'}, which AdamW refuses"),
        ({"optimizer__betas": 3}, "'betas': 3}, which AdamW refuses"),
        ({"optimizer__betas": (2, 0.9)}, r"'betas': \(2, 0.9\)}, which AdamW refuses"),
    ],
)
def test_settings_that_the_optimizer_refuses(params, message, wine):
    with pytest.raises(ValueError, match=f"net_params holds .*{message}"):
        CircleEmbedder(net_params=params).fit(*wine)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1}, "lr=-1 must be a number of 0 or more"),
        ({"lr": "fast"}, "lr='fast' must be a number of 0 or more"),
        ({"lr": float("nan")}, "lr=nan must be a number of 0 or more"),
        ({"weight_decay": None}, "weight_decay=None must be a number of 0 or more"),
        ({"maximize": True, "lr": [1]}, r"lr=\[1\] must be a number"),
    ],
)
def test_settings_of_groups(optimizer, settings, message, wine):
    groups = [("*.weight", {"lr": 0.1}), ("*.bias", settings)]
    params = {"optimizer__param_groups": groups}
    with pytest.raises(ValueError, match=rf"groups with \('\*.bias', .*{message}"):
        CircleEmbedder(optimizer=optimizer, net_params=params).fit(*wine)


def test_settings_of_groups_that_the_optimizer_refuses(wine):
    params = {"optimizer__param_groups": [("*", {"betas": (2, 3)})]}
    message = r"groups with .*'betas': \(2, 3\)}\), which AdamW refuses: Invalid beta"
    with pytest.raises(ValueError, match=message):
        CircleEmbedder(net_params=params).fit(*wine)
