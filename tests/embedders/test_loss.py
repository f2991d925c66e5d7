"""Loss: the parameters of every loss are checked and shown."""

import copy
import inspect
import pickle

import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError

from sk_dml import losses
from sk_dml.embedders._pair import PairLoss
from sk_dml.losses import CircleLoss, MarginLoss, ProxyNCALoss
from sk_dml.utils import all_embedders
from tests.test_bad_input import parameters_outside

LOSSES = [getattr(losses, name) for name in losses.__all__ if name.endswith("Loss")]


def sizes_of(loss):
    parameters = inspect.signature(loss).parameters.values()
    return {p.name: 3 for p in parameters if p.default is inspect.Parameter.empty}


CASES = [(loss, *case) for loss in LOSSES for case in parameters_outside(loss)]


@pytest.mark.parametrize(("loss", "name", "value", "allowed"), CASES)
def test_parameters_outside_their_domain(loss, name, value, allowed):
    with pytest.raises(InvalidParameterError) as error:
        loss(**{**sizes_of(loss), name: value})
    message = str(error.value)
    assert f"'{name}' parameter of {loss.__name__}" in message
    assert repr(value) in message
    assert allowed in message


def test_every_parameter_has_a_domain():
    for loss in LOSSES:
        assert loss._parameter_constraints.keys() == {
            *inspect.signature(loss).parameters
        }


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if sizes_of(loss)])
def test_sizes(loss):
    for name in ("n_classes", "n_features"):
        for value in (0, 2.0, None):
            with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of"):
                loss(**{**sizes_of(loss), name: value})


def test_embedders_have_the_constraints_of_their_loss():
    for _, embedder in all_embedders():
        of_loss = embedder.loss_class._parameter_constraints
        shared = of_loss.keys() & embedder._parameter_constraints.keys()
        assert of_loss.keys() - shared <= {"n_classes", "n_features"}
        for name in shared:
            assert embedder._parameter_constraints[name] is of_loss[name]


def test_optional_sizes():
    with pytest.raises(InvalidParameterError, match="'n_classes' parameter of Circle"):
        CircleLoss(n_classes=0, n_features=2)
    with pytest.raises(InvalidParameterError, match="'n_classes' parameter of Margin"):
        MarginLoss(learn_beta="class", n_classes=1.5)


def test_proxy_nca_needs_another_class():
    with pytest.raises(ValueError, match="n_classes must be at least 2, got 1"):
        ProxyNCALoss(1, 3)


def test_copies_keep_what_they_show():
    loss = CircleLoss(margin=0.3)
    assert repr(loss).startswith("CircleLoss(margin=0.3, gamma=80.0")
    assert repr(copy.deepcopy(loss)) == repr(loss)
    assert repr(pickle.loads(pickle.dumps(loss))) == repr(loss)


def test_shows_what_is_changed_and_what_has_no_parameters():
    loss = CircleLoss()
    loss.margin = 0.1
    assert repr(loss).startswith("CircleLoss(margin=0.1, ")
    assert "beta=1.2" in repr(MarginLoss())  # not the tensor

    class Plain(PairLoss):
        pass

    assert repr(Plain()) == "Plain()"


def test_missing_arguments_are_named_with_the_loss():
    with pytest.raises(
        TypeError, match=r"ProxyNCALoss\.__init__\(\) missing 1 .*features"
    ):
        ProxyNCALoss(3)


def test_subclasses_are_checked_as_their_parents():
    class Doubled(CircleLoss):
        def __init__(self, margin=0.1):
            super().__init__(2 * margin)

    assert repr(Doubled(0.2)) == "Doubled(margin=0.4)"
    with pytest.raises(InvalidParameterError, match="'margin' parameter of Doubled"):
        Doubled(3)
    with pytest.raises(InvalidParameterError, match="'margin' parameter of CircleLoss"):
        Doubled(1)
    assert torch.is_tensor(Doubled()(torch.eye(2), torch.tensor([0, 1])))
