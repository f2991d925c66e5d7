"""``net_params``: what reaches the skorch net, and what is refused."""

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
