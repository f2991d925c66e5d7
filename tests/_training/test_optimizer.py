import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from skorch.callbacks import Callback
from torch import nn

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._training._optimizer import find_head


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


class Net(nn.Module):
    """A network whose head comes first, by name."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        self.stem = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))

    def forward(self, inputs):
        return self.head(self.stem(inputs))


def quick(cls=CircleEmbedder, module=Net, **params):
    settings = {"max_epochs": 2, "random_state": 0, "lr": 0.01, **params}
    return cls(3, module=module, **settings)


def state_after(epochs, data, **params):
    """Return an embedder, and its weights and statistics after training."""
    embedder = quick(max_epochs=epochs, **params).fit(*data)
    state = embedder.net_.module_.backbone.state_dict()
    return embedder, {name: value.clone() for name, value in state.items()}


def moved(data, **params):
    """Return the names of what the second and third epoch change."""
    _, one = state_after(1, data, lr_schedule=None, **params)
    _, three = state_after(3, data, lr_schedule=None, **params)
    return {name for name in one if not torch.equal(one[name], three[name])}


def test_head():
    net = Net()
    assert find_head(net) is net.head
    layers = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU())
    assert find_head(layers) is layers[2]
    assert find_head(nn.Sequential(nn.Flatten(), nn.Linear(2, 3))) is None
    assert find_head(nn.Identity()) is None


def test_all_moves_by_default(iris):
    assert moved(iris) == set(Net().state_dict())


def test_frozen_backbone_with_a_trained_head(iris):
    names = moved(iris, backbone_lr=0)
    assert names == {name for name in Net().state_dict() if name.startswith("head")}
    embedder, _ = state_after(1, iris, backbone_lr=0)
    network = embedder.net_.module_
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_frozen_backbone_drops_nothing(iris):
    seen = []

    class Spy(Net):
        def forward(self, inputs):
            if self.head.training and len(inputs) > 2:
                seen.append(self.stem(inputs))
                assert torch.equal(self.stem(inputs), seen[-1])
            return super().forward(inputs)

    quick(module=Spy, backbone_lr=0).fit(*iris)
    assert seen
    seen.clear()
    with pytest.raises(AssertionError):
        quick(module=Spy).fit(*iris)


def test_rates_of_backbone_and_head(iris):
    embedder = quick(NormalizedSoftmaxEmbedder, backbone_lr=1e-4, lr_schedule=None).fit(
        *iris
    )
    network, criterion = embedder.net_.module_.backbone, embedder.net_.criterion_
    rates = {
        parameter: (group["lr"], group["weight_decay"])
        for group in embedder.net_.optimizer_.param_groups
        for parameter in group["params"]
    }
    assert rates[network.stem[0].weight] == (1e-4, 1e-2)
    assert rates[network.stem[0].bias] == rates[network.stem[1].weight] == (1e-4, 0)
    assert rates[network.head[0].weight] == (0.01, 1e-2)
    assert rates[network.head[2].bias] == (0.01, 0)
    assert rates[criterion.proxies] == (0.1, 0)
    assert len(rates) == len([*network.parameters()]) + 1
    assert embedder.net_.optimizer_.param_groups[0]["lr"] == 0.01


def test_rates_by_name(iris):
    patterns = [
        ("stem.0.*", {"lr": 0}),
        ("*bias", {"lr": 0.5, "betas": [0.5, 0.9]}),
    ]
    params = {"optimizer__param_groups": patterns}
    names = moved(iris, net_params=params)
    assert names == set(Net().state_dict()) - {"stem.0.weight", "stem.0.bias"}
    embedder = quick(net_params=params, lr_schedule=None).fit(*iris)
    network = embedder.net_.module_.backbone
    found = {
        parameter: group
        for group in embedder.net_.optimizer_.param_groups
        for parameter in group["params"]
    }
    assert found[network.head[0].bias]["lr"] == 0.5
    assert found[network.head[0].bias]["betas"] == [0.5, 0.9]
    assert found[network.head[0].bias]["weight_decay"] == 0
    assert found[network.head[0].weight]["lr"] == 0.01


def test_part_of_a_frozen_backbone_learns_by_its_own_rate(iris):
    class Deep(Net):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

        def forward(self, inputs):
            return super().forward(self.first(inputs))

    patterns = [("stem.*", {"lr": 1e-3})]
    params = {"backbone_lr": 0, "net_params": {"optimizer__param_groups": patterns}}
    names = moved(iris, module=Deep, **params)
    assert names == set(Net().state_dict())  # all but the first layers
    patterns[0] = ("stem.0.*", {"lr": 1e-3})
    names = moved(iris, module=Deep, **params)
    rest = {name for name in Net().state_dict() if name.startswith("head")}
    assert names == {"stem.0.weight", "stem.0.bias", *rest}


def test_frozen_layers_have_no_part_in_the_norm_of_gradients(iris):
    found = []

    class Spy(Callback):
        def on_grad_computed(self, net, **kwargs):
            stem = net.module_.backbone.stem
            found.extend([stem[0].weight.grad, stem[0].bias.grad])

    patterns = [("stem.0.*", {"lr": 0})]
    quick(net_params={"optimizer__param_groups": patterns}, callbacks=[Spy()]).fit(
        *iris
    )
    assert found
    assert not any(gradient is not None for gradient in found)
    found.clear()
    quick(callbacks=[Spy()]).fit(*iris)
    assert all(gradient is not None for gradient in found)


def test_frozen_batch_norm(iris):
    names = moved(iris, net_params={"freeze_batch_norm": True})
    norm = {name for name in Net().state_dict() if name.startswith("stem.1")}
    assert len(norm) == 5
    assert names == set(Net().state_dict()) - norm


def largest_step(data, **params):
    """Return the length of the longest step of gradient descent at rate 1."""
    norms = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            before = [
                p.detach().clone() for g in self.param_groups for p in g["params"]
            ]
            loss = super().step(closure)
            after = [p.detach() for g in self.param_groups for p in g["params"]]
            moves = [(a - b).square().sum() for a, b in zip(after, before, strict=True)]
            norms.append(float(sum(moves).sqrt()))
            return loss

    settings = {"lr": 1.0, "lr_schedule": None, "weight_decay": 0.0, "proxy_lr": 1.0}
    quick(NormalizedSoftmaxEmbedder, optimizer=Spy, **settings, **params).fit(*data)
    return max(norms)


def test_clipping(iris):
    assert largest_step(iris) > 0.5
    clipped = largest_step(iris, net_params={"gradient_clip_value": 0.1})
    assert clipped == pytest.approx(0.1, rel=1e-3)
    by_largest = {"gradient_clip_value": 0.1, "gradient_clip_norm_type": np.inf}
    assert 0.1 < largest_step(iris, net_params=by_largest) < 0.5


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_fast_steps_equal_the_plain_ones(optimizer, iris):
    # Without batch norm, whose gradient-free biases Adam moves by rounding errors.
    params = {"optimizer": optimizer, "module": "linear"}
    embedding = quick(**params).fit_transform(*iris)
    plain = {"optimizer__foreach": False}
    expected = quick(**params, net_params=plain).fit_transform(*iris)
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone_lr": 0, "module": "linear"}, "backbone_lr=0 has no effect"),
        ({"backbone_lr": -1}, "'backbone_lr' parameter"),
        ({"net_params": {"freeze_batch_norm": 1}}, "norm=1; allowed are True and"),
        ({"net_params": {"gradient_clip_value": 0}}, "value=0; allowed are numbers"),
        (
            {"module": "linear", "net_params": {"freeze_batch_norm": True}},
            "freeze_batch_norm=True, but the network has no batch norm",
        ),
        (
            {"net_params": {"optimizer__param_groups": [("steam*", {"lr": 1})]}},
            r"pattern 'steam\*', which matches no parameter.*'stem.0.weight'",
        ),
        (
            {"net_params": {"optimizer__param_groups": [("stem*", {"rate": 1})]}},
            r"\['rate'\], which the optimizer does not take. Allowed are.*'betas'",
        ),
        (
            {"net_params": {"optimizer__param_groups": {"stem*": {"lr": 1}}}},
            "allowed is a list of tuples",
        ),
        (
            {"net_params": {"optimizer__param_groups": [("*", {"lr": 0})]}},
            "no parameters to train",
        ),
    ],
)
def test_bad_input(params, message, iris):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(*iris)


# What random weights behind norms that see no batch make of images.
@pytest.mark.filterwarnings("ignore:The embedding has collapsed")
def test_frozen_random_weights_raise_a_warning():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100].reshape(-1, 8, 8), y[:100]
    embedder = quick(module=None, backbone_lr=0, warm_start=True)
    with pytest.warns(UserWarning, match=r"backbone_lr=0 freezes the random .*ConvNet"):
        embedder.fit(X, y)
    norm = embedder.net_.module_.backbone.stem[1]
    assert torch.equal(norm.running_var, torch.ones(32))
    with pytest.warns(UserWarning, match=r"backbone_lr=0 freezes the random .*MLP"):
        quick(module="mlp", backbone_lr=0).fit(X, y)


def test_frozen_weights_that_are_not_random_or_move_raise_none(iris):
    warm = quick(module="mlp", warm_start=True).fit(*iris)
    warm.set_params(backbone_lr=0).fit(*iris)
    quick(module=Net(), backbone_lr=0).fit(*iris)
    patterns = {"optimizer__param_groups": [("*", {"lr": 0.1})]}
    quick(module="mlp", backbone_lr=0, net_params=patterns).fit(*iris)
    assert quick(module="mlp", backbone_lr=1e-9).fit(*iris).n_iter_ == 2
