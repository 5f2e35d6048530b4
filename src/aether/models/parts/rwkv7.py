"""RWKV-7's time mixing (arXiv 2503.14456, section 4): a delta rule whose decay and rate are vectors.

    S_t = diag(w_t) S_{t-1} - (a_t * h_t) (h_t^T S_{t-1}) + k_t v_t^T,    y_t = S_t^T r_t

r, k, v and the low-rank w, a, v-residual and g each read the token mixed with the one before; h is k's unit-length removal key. Later layers
mix the first RWKV-7 layer's values into their own. The output of each head is normalised, gets a bonus of its own token and is gated.

ln w = -exp(-1/2) sigmoid(..) > -0.607, so that within `CHUNK` tokens decays can be split into a factor of the reader and one of the
writer, at most e^19.4 in float32, and pairs are one matrix product; corrections are solved as in `gated_delta`.

Shapes: B batch, T tokens, n chunks, c tokens of a chunk, E inner channels, H heads, D size of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.parts.feed_forward import linear
from aether.models.parts.recurrent import RecurrentMixer, chunked, first_state, marks, previous, wide
from aether.models.parts.shared import Pass
from aether.models.seams import Stretches

CHUNK = 32
"""Tokens of a chunk: e^(0.607 x 32) is far from the end of float32."""
_STRONGEST = math.exp(-0.5)
"""-ln of the strongest decay (section 4.1)."""
_MIXES = {"read": 0.2, "decay": 0.9, "key": 0.7, "value": 0.7, "rate": 0.9, "gate": 0.2}
"""What mixes a token with the one before, and the power of its first ramp over the channels (of the reference code's order)."""


def vector_delta_rule(
    reading: tuple[Tensor, Tensor], writing: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor,
    begins_BT: Tensor | None = None, stretches: Stretches | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(y, the state after the last token) of S_t = diag(w_t) S_{t-1} + b_t (c_t^T S_{t-1}) + k_t v_t^T; all [B, T, H, D].

    `reading` is (r, c), `writing` (b, k, v).
    """
    if log_decay.shape[1] == 1 and begins_BT is None and stretches is None:
        r, c, b, k, v = (part[:, 0] for part in (*reading, *writing))
        correction = (state * c[..., None]).sum(2)
        state = state * log_decay[:, 0, ..., None].exp() + b[..., None] * correction[:, :, None]
        state = state + k[..., None] * v[:, :, None]
        return (state * r[..., None]).sum(2)[:, None], state
    return _chunks(reading, writing, log_decay, state, begins_BT, stretches)


def _chunks(
    reading: tuple[Tensor, Tensor], writing: tuple[Tensor, Tensor, Tensor], log_decay: Tensor, state: Tensor,
    begins_BT: Tensor | None, stretches: Stretches | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tokens = log_decay.shape[1]
    chunk = min(CHUNK, tokens)
    chunks = -(-tokens // chunk)
    mark = marks(begins_BT, tokens, chunk, log_decay.device)
    r, c, b, k, v, a = (chunked(x, chunk, chunks).transpose(2, 3) for x in (*reading, *writing, log_decay))
    sums = a.cumsum(-2)
    pairs, reads = mark.pairs[:, :, None], mark.reads[:, :, None, :, None]
    # c reads the state before its token, r the one after: their decay ends one token earlier.
    c, r = c * (sums - a).exp(), r * sums.exp()
    products = torch.cat((c, r), dim=-2) @ (torch.cat((b, k), dim=-2) * torch.cat((-sums, -sums), dim=-2).exp()).mT
    (cb, ck), (rb, rk) = (rows.split(chunk, dim=-1) for rows in products.split(chunk, dim=-2))
    earlier = pairs & ~torch.eye(chunk, dtype=torch.bool, device=v.device)
    cb, ck, rb, rk = cb * earlier, ck * earlier, rb * pairs, rk * pairs
    solved = torch.linalg.solve_triangular(-cb, torch.cat((ck @ v, c * reads), dim=-1), upper=False, unitriangular=True)
    corrections, seen = solved.split(v.shape[-1], dim=-1)
    to_end = (sums[..., -1:, :] - sums).exp() * mark.writes[:, :, None, :, None]
    own, added = rk @ v, (k * to_end).mT @ v
    b, r = b * to_end, r * reads
    keeps = sums[..., -1, :, None].exp() * mark.carries[:, :, None, None, None]
    if stretches is not None:
        transitions = torch.eye(k.shape[-1]).to(k) * keeps + b.mT @ seen
        state = first_state(stretches, transitions, added + b.mT @ corrections, torch.matmul)
    rows = []
    for place in range(chunks):
        correction = corrections[:, place] + seen[:, place] @ state
        rows.append(own[:, place] + r[:, place] @ state + rb[:, place] @ correction)
        state = state * keeps[:, place] + added[:, place] + b[:, place].mT @ correction
    return torch.stack(rows, dim=1).transpose(2, 3).flatten(1, 2)[:, :tokens], state


class Rwkv7(RecurrentMixer):
    """One RWKV-7 mixer."""

    read: nn.Parameter
    key: nn.Parameter
    value: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.first = "value" not in self.sizes.lora_sizes
        inner = self.sizes.inner_size
        for name in _MIXES:
            self.register_parameter(f"{name}_mix", nn.Parameter(torch.empty(config.hidden_size)))
        self.decay_bias, self.rate_bias = (nn.Parameter(torch.empty(inner)) for _ in range(2))
        self.value_bias = None if self.first else nn.Parameter(torch.empty(inner))
        self.removal, self.rate_share, self.bonus = (nn.Parameter(torch.empty(inner)) for _ in range(3))
        self.head_gain, self.head_bias = nn.Parameter(torch.ones(inner)), nn.Parameter(torch.zeros(inner))

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Ramps over the channels, by their kind and depth, as the reference code has them (BlinkDL/RWKV-LM); nothing is drawn."""
        channels = torch.linspace(0, 1, self.config.hidden_size)
        later = 1 - self.layer / self.config.layers
        for name, power in _MIXES.items():
            self.get_parameter(f"{name}_mix").copy_(1 - channels ** (power * later))
        self.decay_bias.copy_(6 * torch.linspace(0, 1, self.sizes.inner_size) ** 0.85 - 5.5)
        self.rate_bias.zero_()
        if self.value_bias is not None:
            self.value_bias.fill_(1.0)
        self.removal.fill_(0.85)
        self.rate_share.fill_(1.0)
        self.bonus.zero_()

    def _low_rank(self, name: str, x: Tensor) -> Tensor:
        """The low-rank map `name` of its mixed input, with its bias."""
        down = linear(x, self.get_parameter(f"{name}_low"), None)
        down = {"decay": torch.tanh, "gate": torch.sigmoid}.get(name, lambda same: same)(down)
        up = wide(linear(down, self.get_parameter(f"{name}_high"), None))
        return up if name == "gate" else up + self.get_parameter(f"{name}_bias")

    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """As `RecurrentMixer.mix`."""
        heads = self.sizes.heads
        before, past = previous(x_BTC, held.get("past"), given)
        change = before - x_BTC
        mixed = {name: x_BTC + change * self.get_parameter(f"{name}_mix").to(x_BTC.dtype) for name in _MIXES}
        r, k, v = (wide(linear(mixed[name], self.get_parameter(name), None)) for name in ("read", "key", "value"))
        if self.first:
            given.first_value[:] = [v]
        else:
            v = v.lerp(given.first_value[0], self._low_rank("value", mixed["value"]).sigmoid())
        log_decay = -_STRONGEST * self._low_rank("decay", mixed["decay"]).sigmoid()
        rate = self._low_rank("rate", mixed["rate"]).sigmoid()
        removal = F.normalize((k * self.removal).unflatten(-1, (heads, -1)), dim=-1)
        k = k * (1 + (rate - 1) * self.rate_share)
        r, k, v, rate, log_decay = (part.unflatten(-1, (heads, -1)) for part in (r, k, v, rate, log_decay))
        written, replaced = k, removal * rate
        if given.counted_BT is not None:
            counted = given.counted_BT[..., None, None]
            written, replaced, log_decay = written * counted, replaced * counted, log_decay * counted
        state = held.get("state")
        if state is None:
            state = v.new_zeros(v.shape[0], heads, k.shape[-1], v.shape[-1])
        y, state = vector_delta_rule(
            (r, -removal), (replaced, written, v), log_decay, state, given.begins_BT, given.stretches
        )
        y = F.layer_norm(y, y.shape[-1:], eps=1e-5 * y.shape[-1]).flatten(2) * self.head_gain + self.head_bias
        bonus = (r * k * self.bonus.view(heads, -1)).sum(-1, keepdim=True) * v
        gate = self._low_rank("gate", mixed["gate"])
        return (y + bonus.flatten(2)) * gate, {"state": state, "past": past}
