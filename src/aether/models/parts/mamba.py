"""Mamba (arXiv 2312.00752): a selective state space whose decay differs by channel and state (algorithm 2).

    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,    y_t = C_t h_t + D x_t        for each channel

x passes a short convolution and SiLU and then chooses dt (by a low-rank map), B and C; the output is gated. No product of matrices
computes it: all chunks take their steps at the same time, and then hand their last states on. Equal to transformers' MambaMixer on the
same weights.

Shapes: B batch, T tokens, n chunks, c tokens of a chunk, E inner channels, N state size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.parts.feed_forward import linear
from aether.models.parts.recurrent import RecurrentMixer, chunked, first_steps, first_taps, short_convolution, wide
from aether.models.parts.shared import Pass

CHUNK = 16
"""Tokens of a chunk, and so the steps that are taken one after another within it."""


def selective_scan(decay: Tensor, added: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """(every h [B, T, E, N], the last [B, E, N]) of h_t = decay_t h_{t-1} + added_t. A decay of zero begins a document."""
    tokens = decay.shape[1]
    if tokens == 1:
        state = torch.addcmul(added[:, 0], decay[:, 0], state)
        return state[:, None], state
    chunk = min(CHUNK, tokens)
    chunks = -(-tokens // chunk)
    # Missing tokens at the end leave nothing behind: the last state is read at the last token.
    local, fading = [], []
    for one, more in zip(chunked(decay, chunk, chunks).unbind(2), chunked(added, chunk, chunks).unbind(2), strict=True):
        local.append(torch.addcmul(more, one, local[-1]) if local else more)
        fading.append(one * fading[-1] if fading else one)
    found = []
    for end, kept in zip(local[-1].unbind(1), fading[-1].unbind(1), strict=True):
        found.append(state)
        state = torch.addcmul(end, kept, state)
    before = torch.stack(found, dim=1)
    every = torch.stack([torch.addcmul(more, one, before) for more, one in zip(local, fading, strict=True)], dim=2)
    every = every.flatten(1, 2)[:, :tokens]
    return every, every[:, -1]


class Mamba(RecurrentMixer):
    """One Mamba mixer."""

    mamba_in: nn.Parameter
    mamba_select: nn.Parameter
    mamba_dt: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        inner = self.sizes.inner_size
        self.taps = nn.Parameter(torch.empty(inner * self.sizes.conv_size))
        self.decay_log = nn.Parameter(torch.empty(inner * self.sizes.state_size))
        self.taps_bias, self.step_bias, self.skip = (nn.Parameter(torch.empty(inner)) for _ in range(3))

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """A from 1 to N in every channel (S4D-Real, section 3.6), dt from 0.001 to 0.1 over the channels."""
        sizes = self.sizes
        self.taps.copy_(first_taps(sizes.inner_size, sizes.conv_size, generator))
        self.taps_bias.zero_()
        self.decay_log.copy_(torch.arange(1, sizes.state_size + 1).log().repeat(sizes.inner_size))
        self.step_bias.copy_(first_steps(sizes.inner_size))
        self.skip.fill_(1.0)

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        sizes = self.sizes
        inner, rank, size = sizes.inner_size, sizes.dt_rank or 0, sizes.state_size
        x, gate = linear(x_BTC, self.mamba_in, None).split((inner, inner), dim=-1)
        x, past = short_convolution(x, self.taps.view(inner, -1), held.get("past"), given)
        x = F.silu(x + self.taps_bias.to(x.dtype))
        low, b, c = linear(x, self.mamba_select, None).split((rank, size, size), dim=-1)
        steps = F.softplus(wide(linear(low, self.mamba_dt, None)) + self.step_bias)
        if given.counted_BT is not None:
            steps = steps * given.counted_BT[..., None]
        x, b, c = wide(x), wide(b), wide(c)
        decay = (steps[..., None] * -self.decay_log.exp().view(inner, size)).exp()
        if given.begins_BT is not None:
            decay = decay * ~given.begins_BT[..., None, None]
        state = held.get("state")
        if state is None:
            state = x.new_zeros(x.shape[0], inner, size)
        every, state = selective_scan(decay, (steps * x)[..., None] * b[:, :, None], state)
        y = (every * c[:, :, None]).sum(-1) + self.skip * x
        return y * F.silu(wide(gate)), {"state": state, "past": past}
