"""The dense feed-forward part, and a product with weights in the type of the stream.

Shapes: C hidden size, F inner size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models import taps
from aether.models.config import DecoderConfig
from aether.models.parts.activations import GATED, activate


class FeedForward(nn.Module):
    """A dense feed-forward part: gated (three matrices, two of them fused) or plain (two)."""

    def __init__(self, config: DecoderConfig, size: int) -> None:
        super().__init__()
        self.kind = config.activation
        width, inner = config.hidden_size, size * (2 if self.kind in GATED else 1)
        name = "gate_up" if self.kind in GATED else "up"
        self.register_parameter(name, nn.Parameter(torch.empty(inner, width)))
        self.down = nn.Parameter(torch.empty(width, size))
        self.up_bias = nn.Parameter(torch.zeros(inner)) if config.bias else None
        self.down_bias = nn.Parameter(torch.zeros(width)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., C] to [..., C]."""
        matrix = self.gate_up if self.kind in GATED else self.up
        assert isinstance(matrix, Tensor)
        return linear(taps.inner(activate(self.kind, linear(x, matrix, self.up_bias))), self.down, self.down_bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A product in the type of `x`."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
