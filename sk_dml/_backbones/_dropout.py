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
        if (
            not self.training
            or not 0 < dropped < LEVELS
            or inputs.device.type != "cpu"
            or torch.compiler.is_compiling()  # which fuses torch's own
        ):
            return super().forward(inputs)
        numbers = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64)
        levels = numbers.random_(-(2**63), None).view(torch.int16)
        kept = levels[: inputs.numel()].view(inputs.shape) >= LOWEST + dropped
        return inputs * kept.to(inputs.dtype).mul_(LEVELS / (LEVELS - dropped))
