"""Compressive memory (Infini-attention, Munkhdalai et al. 2024, arXiv 2404.07143v2, section 3.1, equations 7 to 10).

Attention is causal within a segment. Beside it each head reads a memory M of all earlier segments, with s = ELU + 1:

    A_mem = s(Q) M / (s(Q) z),    M' = M + s(K)^T V,    z' = z + sum s(K),    A = g A_mem + (1 - g) A_dot,    g = sigmoid(beta)

and by the delta rule M' = M + s(K)^T (V - s(K) M / (s(K) z)). z is one more column of M, whose values are ones. Keys and queries turn for
A_dot alone, as the paper has it (section 4.1); since only distances count there, positions start again at each segment. Scores are divided by the root of
the head's size, as everywhere else (the paper's equation 6 has that of the width). A document begins with an empty memory, which reads as zero. A cache holds M and
the keys and values of the segment that is not yet whole; one new token over it is the same arithmetic without the other segments.

Shapes: B batch, T tokens, S segments, N tokens of a segment, H query heads, K key-value heads, D head size, E = D + 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.config_memory import Memory
from aether.models.parts.attention import Scores, Sight, attend
from aether.models.parts.feed_forward import linear
from aether.models.parts.norms import Norm
from aether.models.parts.positions import rotary_tables
from aether.models.parts.recurrent import wide
from aether.models.parts.shared import Pass, turned


class CompressiveAttention(nn.Module):
    """The attention of one layer."""

    def __init__(self, config: DecoderConfig, memory: Memory, layer: int) -> None:
        super().__init__()
        self.config, self.memory, self.layer = config, memory, layer
        size, width = config.head_size, config.hidden_size
        self.qkv = nn.Parameter(torch.empty((config.heads + 2 * config.kv_heads) * size, width))
        self.out = nn.Parameter(torch.empty(width, config.heads * size))
        self.memory_gate = nn.Parameter(torch.zeros(config.heads))
        self.q_norm, self.k_norm = (
            (Norm("rms", size, config.norm_eps) if config.qk_norm == "head" else None) for _ in range(2)
        )
        self.scale = (config.query_scale or size) ** -0.5

    def forward(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """What attention adds to the stream, before a norm after it."""
        config, size = self.config, self.config.head_size
        projected = linear(x_BTC, self.qkv, None).unflatten(-1, (-1, size))
        q, k, v = projected.split((config.heads, config.kv_heads, config.kv_heads), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if given.slots is not None and x_BTC.shape[1] == 1:
            mixed = self._one_token(q, k, v, given)
        else:
            mixed = self._segments(q, k, v, given)
        return linear(mixed.flatten(2), self.out, None)

    def _segments(self, q: Tensor, k: Tensor, v: Tensor, given: Pass) -> Tensor:
        """[B, T, H, D] of queries, keys and values [B, T, heads, D]: laid out by segment, and back."""
        batch, tokens, size = q.shape[0], q.shape[1], self.memory.segment_tokens
        segment_BT, place_BT, held = self._places(batch, tokens, given)
        segments = int(segment_BT.max()) + 1 + (given.slots is not None)
        rows = torch.arange(batch, device=q.device)[:, None]

        def laid(x: Tensor, start: Tensor | None = None) -> Tensor:
            """[B, S, N, heads, D], zeros where no token is; `start` [B, heads, N, D] is what the first segment holds."""
            empty = x.new_zeros(batch, segments, size, *x.shape[2:])
            if start is not None:
                empty[:, 0] = start.transpose(1, 2)
            return empty.index_put((rows, segment_BT, place_BT), x)

        q_laid, k_laid, v_laid = laid(q), laid(k, held.get("keys")), laid(v, held.get("values"))
        counted = torch.ones_like(segment_BT) if given.counted_BT is None else given.counted_BT.to(segment_BT.dtype)
        filled_BS = torch.zeros(batch, segments, dtype=segment_BT.dtype, device=q.device)
        filled_BS = filled_BS.scatter_add(1, segment_BT, counted)
        filled_BS[:, 0] += self._begun(given, batch, q.device)
        fresh_BS = torch.zeros_like(filled_BS, dtype=torch.bool)
        if given.begins_BT is not None:
            fresh_BS[rows.expand_as(segment_BT)[given.begins_BT], segment_BT[given.begins_BT]] = True
        whole_BS = filled_BS == size
        found, state = self._remembered(k_laid, v_laid, (fresh_BS, whole_BS), held.get("memory"))
        read = self._read(q_laid, torch.stack(found, dim=1))
        near = self._near(q_laid, k_laid, v_laid)
        mixed = self._gated(read, near)[rows, segment_BT, place_BT]
        if given.slots is not None:
            last_B = whole_BS.sum(1)
            kept = {n: x[rows[:, 0], last_B].transpose(1, 2) for n, x in (("keys", k_laid), ("values", v_laid))}
            given.slots.keep(self.layer, kept | {"memory": state})
        return mixed

    def _places(self, batch: int, tokens: int, given: Pass) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(segment, place within it) of each token, and what the cache holds."""
        size, device = self.memory.segment_tokens, given.far.queries_RT.device
        if given.slots is None:
            place_RT = given.far.queries_RT if given.far.places_BP is None else given.far.places_BP
            segment_RT = (place_RT % size == 0).cumsum(1) - 1
            return segment_RT.expand(batch, -1), (place_RT % size).expand(batch, -1), {}
        where_BT = self._begun(given, batch, device)[:, None] + torch.arange(tokens, device=device)
        return where_BT // size, where_BT % size, given.slots.held(self.layer)

    def _begun(self, given: Pass, batch: int, device: torch.device) -> Tensor:
        """Tokens of the segment that a cache holds a part of, [B]."""
        if given.slots is None:
            return torch.zeros(batch, dtype=torch.int64, device=device)
        lengths = given.slots.cache.lengths[given.slots.first :][:batch]
        return torch.tensor(lengths, device=device) % self.memory.segment_tokens

    def _remembered(
        self, k: Tensor, v: Tensor, marks: tuple[Tensor, Tensor], state: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        """(the memory [B, K, D, E] that each segment finds, the one after all). `marks`: segments that begin a document; whole ones."""
        keys, values = _features(k).transpose(2, 3), wide(v).transpose(2, 3)
        fresh, whole = (mark[:, :, None, None, None] for mark in marks)
        if state is None:
            state = keys.new_zeros(k.shape[0], k.shape[3], k.shape[4], k.shape[4] + 1)
        found = []
        for segment in range(k.shape[1]):
            state = state * ~fresh[:, segment]
            found.append(state)
            added = self._added(keys[:, segment], values[:, segment], state)
            state = state + added * whole[:, segment]
        return found, state

    def _added(self, keys: Tensor, values: Tensor, state: Tensor) -> Tensor:
        """What keys and values [B, K, N, D] add to the memory."""
        if self.memory.update == "delta":
            values = values - _ratio(keys @ state)
        return keys.mT @ F.pad(values, (0, 1), value=1.0)

    def _read(self, q: Tensor, found: Tensor) -> Tensor:
        """A_mem [B, S, N, H, D] of queries [B, S, N, H, D] and memories [B, S, K, D, E]."""
        keys = found.shape[2]
        grouped = _features(q).transpose(2, 3).unflatten(2, (keys, -1))
        return _ratio(grouped.flatten(3, 4) @ found).unflatten(3, (-1, q.shape[2])).flatten(2, 3).transpose(2, 3)

    def _near(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """A_dot [B, S, N, H, D]: causal within each segment."""
        tokens = q.shape[2]
        tables = self._tables(q)
        parts = (part.flatten(0, 1).transpose(1, 2) for part in (q, k, v))
        q_near, k_near, v_near = parts
        sight = Sight(torch.arange(tokens, device=q.device)[None], 0, tokens)
        out = attend(turned(q_near, tables), turned(k_near, tables), v_near, sight, Scores(self.scale))
        return out.view(q.shape)

    def _tables(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.config.positions != "rope":
            return None
        cos, sin = rotary_tables(self.config, self.memory.segment_tokens)
        return cos.to(like), sin.to(like)

    def _gated(self, read: Tensor, near: Tensor) -> Tensor:
        gate = torch.sigmoid(wide(self.memory_gate))[:, None]
        return (gate * read + (1 - gate) * wide(near)).to(near.dtype)

    def _one_token(self, q: Tensor, k: Tensor, v: Tensor, given: Pass) -> Tensor:
        """[B, 1, H, D] of one new token for each row over the cache."""
        assert given.slots is not None
        size, batch = self.memory.segment_tokens, q.shape[0]
        held, place_B = given.slots.held(self.layer), self._begun(given, batch, q.device)
        rows = torch.arange(batch, device=q.device)
        keys, values = held["keys"].clone(), held["values"].clone()
        keys[rows, :, place_B], values[rows, :, place_B] = k[:, 0], v[:, 0]
        tables, q_near, k_near = self._tables(q), q.transpose(1, 2), keys
        if tables is not None:
            q_near = turned(q_near, (tables[0][place_B, None, None], tables[1][place_B, None, None]))
            k_near = turned(keys, tables)
        sight = Sight(place_B[:, None], int(place_B.min()), size)
        near = attend(q_near, k_near, values, sight, Scores(self.scale)).view(q.shape)
        read = self._read(q[:, None], held["memory"][:, None])[:, 0]
        whole = place_B + 1 == size
        if given.counted_BT is not None:
            whole = whole & given.counted_BT[:, 0]
        state = held["memory"]
        if bool(whole.any()):
            state = state + self._added(_features(keys), wide(values), state) * whole[:, None, None, None]
        given.slots.keep(self.layer, {"keys": keys, "values": values, "memory": state})
        return self._gated(read, near)


def _features(x: Tensor) -> Tensor:
    """ELU + 1, above zero, in float32 at least."""
    return F.elu(wide(x)) + 1


def _ratio(read: Tensor) -> Tensor:
    """[..., E] to [..., D]: by its last value; an empty memory gives zeros."""
    values, total = read[..., :-1], read[..., -1:]
    return values / torch.where(total == 0, 1.0, total)
