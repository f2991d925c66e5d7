import pytest
import torch

from sk_dml._training._callbacks import complete_epochs
from sk_dml._utils._torch import RandomNumbers, torch_seed

devices = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.cuda,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
        ],
    ),
]


@pytest.mark.parametrize("device", devices)
def test_random_numbers_are_drawn_again(device):
    def draw():
        return [
            numbers.sampling.integers(2**60),
            torch.randint(2**60, (), generator=numbers.loader).item(),
            torch.rand(()).item(),
            torch.rand((), device=device).item(),
        ]

    with torch_seed(0, torch.device(device)):
        numbers = RandomNumbers(3, device)
        draw()
        state = numbers.state_dict()
        first, second = draw(), draw()
        assert not set(first) & set(second)
        numbers.load_state_dict(state)
        assert draw() == first


def test_epochs_that_came_to_their_end():
    rows = [
        {"epoch": 1, "train_loss": 2.0, "duration": 1.0, "batches": [{}]},
        {"epoch": 2, "train_loss": 1.0},
    ]
    assert complete_epochs(rows) == [{"epoch": 1, "train_loss": 2.0, "duration": 1.0}]
    assert "batches" in rows[0]
