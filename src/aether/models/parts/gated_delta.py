"""The gated delta rule (arXiv 2412.06464, equation 10): each token corrects what the fading state says of its key.

    S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T,    y_t = S_t^T q_t

Within a chunk the corrections are the solution of a unit triangular system (the UT transform, section 3.3 and arXiv 2406.06484), between
chunks the state is handed on. Queries and keys are of unit length, after a short convolution and SiLU; the output of each head is
normalised and gated. Equal to transformers' Qwen3NextGatedDeltaNet on the same weights.

Shapes: B batch, T tokens, n chunks, c tokens of a chunk, H heads, G key heads, K key size, D value size of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.accounting_parts import conv_channels
from aether.models.config import DecoderConfig
from aether.models.parts.feed_forward import linear
from aether.models.parts.norms import Norm
from aether.models.parts.recurrent import (
    CHUNK,
    RecurrentMixer,
    chunked,
    first_state,
    first_steps,
    first_taps,
    marks,
    short_convolution,
    spread,
    wide,
)
from aether.models.parts.shared import Pass
from aether.models.seams import Stretches

_UNIT_EPSILON = 1e-6
"""Under the square root of a key's length, as transformers and flash-linear-attention."""


def delta_rule(
    qkv: tuple[Tensor, Tensor, Tensor], beta: Tensor, log_decay: Tensor, state: Tensor, begins_BT: Tensor | None = None,
    stretches: Stretches | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(y [B, T, H, D], the state after the last token) of q, k [B, T, H, K], v [B, T, H, D], beta and ln a [B, T, H]."""
    if beta.shape[1] == 1 and begins_BT is None and stretches is None:
        q, k, v = (part[:, 0] for part in qkv)
        state = state * log_decay[:, 0, :, None, None].exp()
        correction = (v - (state * k[..., None]).sum(2)) * beta[:, 0, :, None]
        state = state + k[..., None] * correction[:, :, None]
        return (state * q[..., None]).sum(2)[:, None], state
    return _chunks(qkv, beta, log_decay, state, begins_BT, stretches)


def _chunks(
    qkv: tuple[Tensor, Tensor, Tensor], beta: Tensor, log_decay: Tensor, state: Tensor, begins_BT: Tensor | None,
    stretches: Stretches | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tokens = beta.shape[1]
    chunk = min(CHUNK, tokens)
    chunks = -(-tokens // chunk)
    mark = marks(begins_BT, tokens, chunk, beta.device)
    q, k, v, b, a = (chunked(x, chunk, chunks).transpose(2, 3) for x in (*qkv, beta, log_decay))
    sums = a.cumsum(-1)
    reads, writes = mark.reads[:, :, None], mark.writes[:, :, None]
    pairs = sums[..., :, None] - sums[..., None, :]
    fading = pairs.masked_fill(~mark.pairs[:, :, None], float("-inf")).exp()
    scaled = k * b[..., None]
    from_start = (sums.exp() * reads)[..., None]
    # What each token writes is u - w S, with S the state before the chunk: its own value less what the state and earlier tokens say.
    sides = torch.cat((v * b[..., None], scaled * from_start), dim=-1)
    solved = torch.linalg.solve_triangular(scaled @ k.mT * fading, sides, upper=False, unitriangular=True)
    u, w = solved.split((v.shape[-1], k.shape[-1]), dim=-1)
    within, reading = q @ k.mT * fading, q * from_start
    writing = k * ((sums[..., -1:] - sums).exp() * writes)[..., None]
    keeps = sums[..., -1].exp() * mark.carries[:, :, None]
    if stretches is not None:
        transitions = torch.eye(k.shape[-1]).to(k) * keeps[..., None, None] - writing.mT @ w
        state = first_state(stretches, transitions, writing.mT @ u, torch.matmul)
    rows = []
    for place in range(chunks):
        written = u[:, place] - w[:, place] @ state
        rows.append(reading[:, place] @ state + within[:, place] @ written)
        state = state * keeps[:, place, :, None, None] + writing[:, place].mT @ written
    return torch.stack(rows, dim=1).transpose(2, 3).flatten(1, 2)[:, :tokens], state


class GatedDelta(RecurrentMixer):
    """One mixer by the gated delta rule."""

    delta_in: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.taps = nn.Parameter(torch.empty(conv_channels(self.sizes) * self.sizes.conv_size))
        self.step_bias, self.decay_log = (nn.Parameter(torch.empty(self.sizes.heads)) for _ in range(2))
        self.norm = Norm("rms", self.sizes.inner_size // self.sizes.heads, config.norm_eps)

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """As Mamba-2's."""
        self.taps.copy_(first_taps(conv_channels(self.sizes), self.sizes.conv_size, generator))
        self.step_bias.copy_(first_steps(self.sizes.heads))
        self.decay_log.copy_(spread(1.0, 16.0, self.sizes.heads).log())

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        sizes, channels = self.sizes, conv_channels(self.sizes)
        inner, heads, groups = sizes.inner_size, sizes.heads, sizes.key_heads
        keys = (channels - inner) // 2
        parts = linear(x_BTC, self.delta_in, None).split((channels, inner, heads, heads), dim=-1)
        convolved, past = short_convolution(parts[0], self.taps.view(channels, -1), held.get("past"), given)
        q, k, v = wide(F.silu(convolved)).split((keys, keys, inner), dim=-1)
        q, k = (_unit(part.unflatten(-1, (groups, -1))).repeat_interleave(heads // groups, dim=2) for part in (q, k))
        v = v.unflatten(-1, (heads, -1))
        gate, beta, steps = (wide(part) for part in parts[1:])
        beta, log_decay = beta.sigmoid(), -self.decay_log.exp() * F.softplus(steps + self.step_bias)
        if given.counted_BT is not None:
            counted = given.counted_BT[..., None]
            beta, log_decay = beta * counted, log_decay * counted
        state = held.get("state")
        if state is None:
            state = v.new_zeros(v.shape[0], heads, k.shape[-1], v.shape[-1])
        qkv = (q * q.shape[-1] ** -0.5, k, v)
        y, state = delta_rule(qkv, beta, log_decay, state, given.begins_BT, given.stretches)
        return self.norm(y).flatten(2) * F.silu(gate), {"state": state, "past": past}


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + _UNIT_EPSILON)
