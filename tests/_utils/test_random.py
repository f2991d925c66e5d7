import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sk_dml._utils._torch import resolve_device, torch_seed

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


@pytest.mark.parametrize("device", DEVICES)
def test_block_is_seeded_and_the_rest_is_not(device):
    device = torch.device(device)
    torch.rand(3, device=device)
    before = torch.get_rng_state()
    with torch_seed(5, device):
        first = torch.rand(4, device=device)
    with torch_seed(5, device):
        assert torch.equal(torch.rand(4, device=device), first)
    with torch_seed(6, device):
        assert not torch.equal(torch.rand(4, device=device), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_state_comes_back_after_an_error():
    before = torch.get_rng_state()
    with (
        pytest.raises(RuntimeError, match="negative"),
        torch_seed(0, torch.device("cpu")),
    ):
        torch.rand(-1)
    assert torch.equal(torch.get_rng_state(), before)


def test_devices():
    assert resolve_device("cpu") == resolve_device(torch.device("cpu"))
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for wrong in ("gpu", "cuda:99", "meta"):
        with pytest.raises(ValueError, match=f"device='{wrong}' cannot be used here"):
            resolve_device(wrong)


def test_blocks_in_several_threads_take_turns():
    cpu = torch.device("cpu")

    def draw(seed):
        with torch_seed(seed, cpu):
            first = torch.rand(3)
            time.sleep(0.01)  # in which the others would draw or seed
            return torch.cat([first, torch.rand(3)])

    expected = [draw(seed) for seed in range(4)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw, range(4)))
    for one, other in zip(drawn, expected, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
