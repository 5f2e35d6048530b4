"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1, equations 9 to 19; DeepSeek-V3, arXiv 2412.19437, section 2.1.1).

Keys and values of all heads come from one compressed vector of each token (section 2.1.2), and queries may be compressed as well;
the rotary part of a head is apart, and its key is one for all heads (section 2.1.3). A cache holds the compressed vector with that
key. Few new tokens over a cache take the absorbed form: the matrix of the keys is applied to the queries and that of the values to
the result, so that heads work on the compressed vectors themselves. Many take the expanded form, which training takes; both are one
function. Equal to transformers' DeepseekV3Attention.

Shapes: B batch, T tokens, P keys, C hidden size, H heads, N values of a head without positions, R rotated ones, V of a head's value,
Q rank of queries, K rank of keys and values.
"""

import torch
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.config_parts import Latent
from aether.models.parts.attention import Scores, Sight, attend
from aether.models.parts.feed_forward import linear
from aether.models.parts.norms import Norm
from aether.models.parts.shared import Pass, turned

NORM_EPS = 1e-6
"""Of the norms of compressed vectors: what transformers' class has, whatever the eps of the layers."""


class LatentAttention(nn.Module):
    """The attention of one layer; `place` counts the layers before it that attend."""

    def __init__(self, config: DecoderConfig, latent: Latent, place: int) -> None:
        super().__init__()
        self.config, self.latent, self.place = config, latent, place
        self.nope_size = config.head_size - latent.rope_size
        width, heads, rank = config.hidden_size, config.heads, latent.kv_rank
        query = heads * config.head_size
        if latent.query_rank is None:
            self.query = nn.Parameter(torch.empty(query, width))
        else:
            self.query_down = nn.Parameter(torch.empty(latent.query_rank, width))
            self.query_norm = Norm("rms", latent.query_rank, NORM_EPS)
            self.query_up = nn.Parameter(torch.empty(query, latent.query_rank))
        self.latent_down = nn.Parameter(torch.empty(rank + latent.rope_size, width))
        self.latent_norm = Norm("rms", rank, NORM_EPS)
        self.latent_up = nn.Parameter(torch.empty(heads * (self.nope_size + latent.value_size), rank))
        """Rows of all keys, then of all values."""
        self.out = nn.Parameter(torch.empty(width, heads * latent.value_size))

    def forward(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """What attention adds to the stream, before a norm after it."""
        config, latent = self.config, self.latent
        q_BHTN, turned_BHTR = self._queries(x_BTC).split((self.nope_size, latent.rope_size), dim=-1)
        turned_BHTR = turned(turned_BHTR, given.tables)
        down = linear(x_BTC, self.latent_down, None)
        c_BTK, key_BTR = down.split((latent.kv_rank, latent.rope_size), dim=-1)
        held = torch.cat((self.latent_norm(c_BTK)[:, None], turned(key_BTR[:, None], given.tables)), dim=-1)
        if given.slots is not None:
            held, _ = given.slots.store(self.place, held, held[..., :0])
        scores = Scores((config.query_scale or config.head_size) ** -0.5, config.attention_softcap)
        absorbed = given.slots is not None and self.absorbs(x_BTC.shape[1], held.shape[2])
        form = self._absorbed if absorbed else self._expanded
        return linear(form(q_BHTN, turned_BHTR, held, given.far, scores), self.out, None)

    def absorbs(self, tokens: int, keys: int) -> bool:
        """Whether the absorbed form has the fewer multiply-adds for `tokens` queries over `keys` positions."""
        rank, rope, value = self.latent.kv_rank, self.latent.rope_size, self.latent.value_size
        projection = rank * (self.nope_size + value)
        absorbed = tokens * projection + tokens * keys * (2 * rank + rope)
        return absorbed < keys * projection + tokens * keys * (self.nope_size + rope + value)

    def _queries(self, x_BTC: Tensor) -> Tensor:
        """[B, H, T, N + R], not yet turned."""
        if self.latent.query_rank is None:
            q = linear(x_BTC, self.query, None)
        else:
            q = linear(self.query_norm(linear(x_BTC, self.query_down, None)), self.query_up, None)
        return q.view(*x_BTC.shape[:2], self.config.heads, -1).transpose(1, 2)

    def _up(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """[H, N, K] of the keys and [H, V, K] of the values."""
        heads, rank = self.config.heads, self.latent.kv_rank
        rows = (heads * self.nope_size, heads * self.latent.value_size)
        key, value = self.latent_up.to(dtype).split(rows)
        return key.view(heads, -1, rank), value.view(heads, -1, rank)

    def _expanded(self, q_BHTN: Tensor, turned_BHTR: Tensor, held: Tensor, sight: Sight, scores: Scores) -> Tensor:
        """Every head's keys and values made from the compressed vectors: [B, T, H * V]."""
        heads, rank = self.config.heads, self.latent.kv_rank
        c_BPK, key_B1PR = held[:, 0, :, :rank], held[..., rank:]
        kv = linear(c_BPK, self.latent_up, None).view(*c_BPK.shape[:2], -1)
        k, v = kv.split((heads * self.nope_size, heads * self.latent.value_size), dim=-1)
        k, v = (part.view(*c_BPK.shape[:2], heads, -1).transpose(1, 2) for part in (k, v))
        k = torch.cat((k, key_B1PR.expand(-1, heads, -1, -1)), dim=-1)
        return attend(torch.cat((q_BHTN, turned_BHTR), dim=-1), k, v, sight, scores)

    def _absorbed(self, q_BHTN: Tensor, turned_BHTR: Tensor, held: Tensor, sight: Sight, scores: Scores) -> Tensor:
        """Heads over the compressed vectors, which are key and value of one head for all: [B, T, H * V]."""
        key_HNK, value_HVK = self._up(q_BHTN.dtype)
        batch, _, tokens, _ = q_BHTN.shape
        q = torch.cat((q_BHTN @ key_HNK, turned_BHTR), dim=-1)
        seen = attend(q, held, held, sight, scores).view(batch, tokens, self.config.heads, -1)
        values = seen[..., : self.latent.kv_rank].transpose(1, 2) @ value_HVK.mT
        return values.transpose(1, 2).flatten(2)
