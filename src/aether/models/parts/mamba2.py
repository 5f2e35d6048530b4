"""Mamba-2 (arXiv 2405.21060): a selective state space whose decay is one number for each head (SSD, section 6).

    S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t^T,    y_t = S_t^T C_t + D x_t

One projection gives gate, x, B, C and dt (section 8.1's parallel form); x, B and C pass a short convolution and SiLU; the output is
gated and then normalised. Equal to transformers' Mamba2Mixer on the same weights. The limits of dt are not covered.

Shapes: B batch, T tokens, H heads, G groups of B and C, N state size, D value size of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.accounting_parts import conv_channels
from aether.models.config import DecoderConfig
from aether.models.parts.decayed import decayed_attention
from aether.models.parts.feed_forward import linear
from aether.models.parts.norms import Norm
from aether.models.parts.recurrent import RecurrentMixer, first_steps, first_taps, short_convolution, spread, wide
from aether.models.parts.shared import Pass


class Mamba2(RecurrentMixer):
    """One Mamba-2 mixer."""

    mamba2_in: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        sizes, channels = self.sizes, conv_channels(self.sizes)
        self.taps = nn.Parameter(torch.empty(channels * sizes.conv_size))
        self.taps_bias = nn.Parameter(torch.empty(channels))
        self.step_bias, self.decay_log, self.skip = (nn.Parameter(torch.empty(sizes.heads)) for _ in range(3))
        self.norm = Norm("rms", sizes.inner_size, config.norm_eps)

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """As its reference code; A evenly from 1 to 16 in the logarithm."""
        sizes = self.sizes
        self.taps.copy_(first_taps(self.taps_bias.shape[0], sizes.conv_size, generator))
        self.taps_bias.zero_()
        self.step_bias.copy_(first_steps(sizes.heads))
        self.decay_log.copy_(spread(1.0, 16.0, sizes.heads).log())
        self.skip.fill_(1.0)

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        sizes = self.sizes
        inner, heads, groups, state_size = sizes.inner_size, sizes.heads, sizes.key_heads, sizes.state_size
        channels = self.taps_bias.shape[0]
        gate, convolved, steps = linear(x_BTC, self.mamba2_in, None).split((inner, channels, heads), dim=-1)
        convolved, past = short_convolution(convolved, self.taps.view(channels, -1), held.get("past"), given)
        convolved = F.silu(convolved + self.taps_bias.to(convolved.dtype))
        x, b, c = convolved.split((inner, groups * state_size, groups * state_size), dim=-1)
        steps_BTH = F.softplus(wide(steps) + self.step_bias)
        if given.counted_BT is not None:
            steps_BTH = steps_BTH * given.counted_BT[..., None]
        x, b, c = (wide(part).unflatten(-1, (count, -1)) for part, count in ((x, heads), (b, groups), (c, groups)))
        log_decay, added = -self.decay_log.exp() * steps_BTH, x * steps_BTH[..., None]
        y, state = decayed_attention((c, b, added), log_decay, held.get("state"), given.begins_BT, given.stretches)
        y = (y + self.skip[:, None] * x).flatten(2)
        return self.norm(y * F.silu(wide(gate))), {"state": state, "past": past}
