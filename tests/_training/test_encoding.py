import json
import math

import numpy as np
import pytest
import torch

from sk_dml._training._checkpoint import decode, encode


def there_and_back(value):
    tensors = {}
    tree = json.loads(json.dumps(encode(value, tensors)))
    return decode(tree, tensors)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**127 + 1,  # the state of a numpy generator
        0.1 + 0.2,
        math.inf,
        "ü/ä",
        [],
        {},
        (),
        [1, [2.5, (3, "x")], {"a": (), 7: [None], True: {}}],
        {"betas": (0.9, 0.999), (1, 2): "pair"},
    ],
    ids=repr,
)
def test_plain_values_come_back_as_they_were(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_tensors_come_back_as_they_were():
    whole = torch.arange(12.0).reshape(3, 4)
    value = {
        "part": whole[:, 1:2],
        "transposed": whole.T,
        "half": torch.tensor(0.1, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 2, dtype=torch.int64),
        "bytes": [torch.get_rng_state()],
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    found = there_and_back(value)
    assert list(found) == list(value)
    found["bytes"], value["bytes"] = found["bytes"][0], value["bytes"][0]
    for name, tensor in found.items():
        assert tensor.dtype == value[name].dtype
        assert tensor.shape == value[name].shape
        assert torch.equal(tensor, value[name])
    found["part"] += 1
    assert whole[0, 1] == 1


def test_arrays_and_numbers_of_numpy():
    found = there_and_back({"a": np.arange(3), "b": np.float64(0.1), "c": np.bool_(1)})
    assert found["a"].dtype == np.int64
    assert found["a"].tolist() == [0, 1, 2]
    assert found["b"] == 0.1
    assert found["c"] is True


def test_paths_that_look_alike_stay_apart():
    value = {1: torch.tensor(1), "1": torch.tensor(2), "a": {"b": torch.tensor(3)}}
    value["a/b"] = torch.tensor(4)
    found = there_and_back(value)
    assert (found[1], found["1"], found["a"]["b"], found["a/b"]) == (1, 2, 3, 4)


@pytest.mark.parametrize("value", [object(), {1}, np.array(["a"]), np.array([None])])
def test_other_values_are_refused_with_their_place(value):
    with pytest.raises(TypeError, match=r"state/a/0 is a (object|set|ndarray)"):
        encode({"a": [value]}, {})
