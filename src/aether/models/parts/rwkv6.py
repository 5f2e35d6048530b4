"""RWKV-6's time mixing (arXiv 2404.05892, section 4.1, "Finch"): linear attention whose decay is a vector that the token chooses.

    S_t = diag(w_t) S_{t-1} + k_t v_t^T,    y_t = (S_{t-1} + diag(u) k_t v_t^T)^T r_t

Each of r, k, v, g and w reads the token mixed with the one before, by shares that a low-rank map of both chooses. The output of each
head is normalised and gated. ln w = -exp(..) has no bound: where it is strong, only differences of its sums are exponentiated, for each pair and channel,
so that nothing overflows.

Shapes: B batch, T tokens, n chunks, c tokens of a chunk, H heads, D size of a head, E inner channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.parts.feed_forward import linear
from aether.models.parts.recurrent import RecurrentMixer, chunked, first_state, marks, previous, wide
from aether.models.parts.shared import Pass
from aether.models.seams import Stretches

CHUNK = 32
"""Tokens of a chunk where no channel fades by more than e^-60 within one: each pair's decay is then split into a factor of the
reader and one of the writer, and pairs are one matrix product."""
PAIRED_CHUNK = 16
"""Tokens of a chunk where one does: c x c numbers for each channel."""
_SAFE = -60.0
"""e^60 times what a product holds is far from the end of float32 (e^88)."""
_MIXES = ("decay", "key", "value", "read", "gate")
"""What mixes a token with the one before, in the order of the low-rank map."""


def bonus_attention(
    rkv: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, bonus_HD: Tensor, state: Tensor, begins_BT: Tensor | None = None,
    stretches: Stretches | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(y, the state after the last token); r, k, v and ln w are [B, T, H, D], the state [B, H, D, D] keys first."""
    r, k, v = rkv
    own = (r * bonus_HD * k).sum(-1, keepdim=True) * v
    if v.shape[1] == 1 and begins_BT is None and stretches is None:
        y = (state * r[:, 0, ..., None]).sum(2)[:, None]
        return y + own, state * log_decay[:, 0, ..., None].exp() + k[:, 0, ..., None] * v[:, 0, :, None]
    y, state = _chunks(rkv, log_decay, state, begins_BT, stretches)
    return y + own, state


def _chunks(
    rkv: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor, begins_BT: Tensor | None,
    stretches: Stretches | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tokens = log_decay.shape[1]
    sums = chunked(log_decay, CHUNK, -(-tokens // CHUNK)).sum(2)
    apart = float(sums.detach().min()) > _SAFE
    chunk = min(CHUNK if apart else PAIRED_CHUNK, tokens)
    chunks = -(-tokens // chunk)
    mark = marks(begins_BT, tokens, chunk, log_decay.device)
    r, k, v, a = (chunked(x, chunk, chunks).transpose(2, 3) for x in (*rkv, log_decay))
    sums = a.cumsum(-2)
    before = sums - a
    earlier = (mark.pairs & ~torch.eye(chunk, dtype=torch.bool, device=v.device))[:, :, None]
    reading = r * before.exp()
    if apart:
        weights = (reading @ (k * (-sums).exp()).mT) * earlier
    else:
        pairs = before[..., :, None, :] - sums[..., None, :, :]
        fading = pairs.masked_fill(~earlier[..., None], float("-inf")).exp()
        weights = (fading * r[..., :, None, :] * k[..., None, :, :]).sum(-1)
    reading = reading * mark.reads[:, :, None, :, None]
    added = (k * (sums[..., -1:, :] - sums).exp() * mark.writes[:, :, None, :, None]).mT @ v
    keeps = sums[..., -1, :, None].exp() * mark.carries[:, :, None, None, None]
    if stretches is not None:
        state = first_state(stretches, keeps, added, torch.mul)
    found = []
    for place in range(chunks):
        found.append(state)
        state = state * keeps[:, place] + added[:, place]
    y = weights @ v + reading @ torch.stack(found, dim=1)
    return y.transpose(2, 3).flatten(1, 2)[:, :tokens], state


class Rwkv6(RecurrentMixer):
    """One RWKV-6 mixer."""

    read: nn.Parameter
    key: nn.Parameter
    value: nn.Parameter
    gate: nn.Parameter
    mix_low: nn.Parameter
    mix_high: nn.Parameter
    decay_low: nn.Parameter
    decay_high: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        inner = self.sizes.inner_size
        self.first_mix = nn.Parameter(torch.empty(config.hidden_size))
        self.mixes = nn.Parameter(torch.empty(len(_MIXES) * config.hidden_size))
        self.decay_bias, self.bonus = (nn.Parameter(torch.empty(inner)) for _ in range(2))
        self.head_gain, self.head_bias = nn.Parameter(torch.ones(inner)), nn.Parameter(torch.zeros(inner))

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Ramps over the channels, by depth, after the reference code (BlinkDL/RWKV-LM); nothing is drawn."""
        hidden, inner = self.config.hidden_size, self.sizes.inner_size
        ramp = 1 - torch.linspace(0, 1, hidden) ** (1 - self.layer / self.config.layers)
        self.first_mix.copy_(ramp)
        self.mixes.copy_(ramp.repeat(len(_MIXES)))
        self.decay_bias.copy_(5 * torch.linspace(0, 1, inner) - 6)
        self.bonus.copy_(0.5 * (1 - torch.linspace(0, 1, inner)))

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        heads, dtype = self.sizes.heads, x_BTC.dtype
        before, past = previous(x_BTC, held.get("past"), given)
        change = before - x_BTC
        low = torch.tanh(linear(x_BTC + change * self.first_mix.to(dtype), self.mix_low, None))
        ups = self.mix_high.to(dtype).chunk(len(_MIXES))
        shares = self.mixes.to(dtype).chunk(len(_MIXES))
        parts = zip(_MIXES, low.chunk(len(_MIXES), dim=-1), ups, shares, strict=True)
        mixed = {name: x_BTC + change * (share + F.linear(part, up)) for name, part, up, share in parts}
        r, k, v, gate = (wide(linear(mixed[n], self.get_parameter(n), None)) for n in ("read", "key", "value", "gate"))
        decay = linear(torch.tanh(linear(mixed["decay"], self.decay_low, None)), self.decay_high, None)
        log_decay = -(self.decay_bias + wide(decay)).exp()
        r, k, v, log_decay = (part.unflatten(-1, (heads, -1)) for part in (r, k, v, log_decay))
        if given.counted_BT is not None:
            counted = given.counted_BT[..., None, None]
            k, log_decay = k * counted, log_decay * counted
        state = held.get("state")
        if state is None:
            state = v.new_zeros(v.shape[0], heads, k.shape[-1], v.shape[-1])
        y, state = bonus_attention(
            (r, k, v), log_decay, self.bonus.view(heads, -1), state, given.begins_BT, given.stretches
        )
        y = F.layer_norm(y, y.shape[-1:], eps=1e-5 * y.shape[-1]).flatten(2) * self.head_gain + self.head_bias
        return y * F.silu(gate), {"state": state, "past": past}
