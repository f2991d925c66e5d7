"""Dropout that draws its random numbers four at a time."""

import torch
from torch import nn

LEVELS = 2**16
LOWEST = -(2**15)  # of the 16-bit integers


class Dropout(nn.Dropout):
    """Dropout in a third of torch's time on CPUs, where it draws number by number.

    Four units share a random integer of 64 bits. The share of units that is left out is
    ``p`` to the nearest of 65,536 levels; what is left is scaled by just that share.
    """

    def forward(self, inputs):
        """Leave out some of the inputs, in training mode."""
        dropped = round(self.p * LEVELS)
        if not self.training or not 0 < dropped < LEVELS or inputs.device.type != "cpu":
            return super().forward(inputs)
        draw = _factors_op if torch.compiler.is_compiling() else _factors
        return inputs * draw(inputs.detach(), dropped)


def _factors(inputs: torch.Tensor, dropped: int) -> torch.Tensor:
    """Draw what each input is multiplied by."""
    numbers = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64)
    levels = numbers.random_(-(2**63), None).view(torch.int16)
    kept = levels[: inputs.numel()].view(inputs.shape) >= LOWEST + dropped
    return kept.to(inputs.dtype).mul_(LEVELS / (LEVELS - dropped))


# A compiled network calls this as it is: torch would make slower code of it.
_factors_op = torch.library.custom_op(
    "sk_dml::dropout_factors",
    _factors,
    mutates_args=(),
    tags=[torch.Tag.nondeterministic_seeded],
)
_factors_op.register_fake(lambda inputs, dropped: torch.empty_like(inputs))
