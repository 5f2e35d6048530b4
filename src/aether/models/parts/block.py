"""One layer from parts: a mixer (attention, or a recurrence of `mixers`) and a feed-forward part, with norms before, after or around each.

What `aether.models.decoder.Block` is for the default decoder, plainer and without its hand-written kernels. Whole windows with
gradients and new tokens over a cache are the same code.

Shapes: B batch, T tokens, C hidden size, H query heads, K key-value heads, D head size, F MLP size, R rotated values of a head.
"""

import torch
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.parts.attention import Scores, attend
from aether.models.parts.compressive import CompressiveAttention
from aether.models.parts.experts import MixtureOfExperts
from aether.models.parts.feed_forward import FeedForward, linear
from aether.models.parts.latent import LatentAttention
from aether.models.parts.mixers import MIXERS
from aether.models.parts.norms import Norm
from aether.models.parts.shared import Pass, turned
from aether.models.seams import ALONE


class PartsBlock(nn.Module):
    """Layer `layer` of a decoder from parts."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.config, self.window = config, config.layer_window(layer)
        self.seams = ALONE
        kind = config.layer_mixer(layer)
        self.place = sum(config.layer_mixer(earlier) == "attention" for earlier in range(layer))
        if kind != "attention":
            self.mixer = MIXERS[kind](config, layer)
        elif config.memory is not None:
            self.mixer = CompressiveAttention(config, config.memory, layer)
        elif config.latent is not None:
            self.mixer = LatentAttention(config, config.latent, self.place)
        else:
            self.mixer = None
            self._attend_with(config)
        before, after = config.norm_place != "post", config.norm_place != "pre"
        feeds = config.mlp_size > 0
        self.attention_norm = self._norm() if before else None
        self.mlp_norm = self._norm() if before and feeds else None
        self.attention_post_norm = self._norm() if after else None
        self.mlp_post_norm = self._norm() if after and feeds else None
        self.mlp = self._feed_forward()

    def _feed_forward(self) -> FeedForward | MixtureOfExperts | None:
        config = self.config
        if config.experts is not None:
            return MixtureOfExperts(config, config.experts)
        return FeedForward(config, config.mlp_size) if config.mlp_size else None

    def _attend_with(self, config: DecoderConfig) -> None:
        size, width = config.head_size, config.hidden_size
        query, key = config.heads * size, config.kv_heads * size
        self.qkv = nn.Parameter(torch.empty(query + 2 * key, width))
        self.out = nn.Parameter(torch.empty(width, query))
        self.qkv_bias = nn.Parameter(torch.zeros(query + 2 * key)) if config.bias else None
        self.out_bias = nn.Parameter(torch.zeros(width)) if config.bias else None
        normed = {"none": None, "head": (size, size), "full": (query, key)}[config.qk_norm]
        self.q_norm, self.k_norm = (None, None) if normed is None else (Norm("rms", s, config.norm_eps) for s in normed)
        self.sink = nn.Parameter(torch.zeros(config.heads)) if config.sink_logits else None

    def _norm(self) -> Norm:
        return Norm(self.config.norm, self.config.hidden_size, self.config.norm_eps)

    def forward(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """The layer over whole windows, or over new tokens that see the cache."""
        return self.fed(self.mixed(x_BTC, given), given)

    def mixed(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """The stream after the mixer."""
        normal = x_BTC if self.attention_norm is None else self.attention_norm(x_BTC)
        change = self.attention(normal, given) if self.mixer is None else self.mixer(normal, given)
        return x_BTC + (change if self.attention_post_norm is None else self.attention_post_norm(change))

    def fed(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """That stream after the feed-forward part."""
        if self.mlp is None:
            return x_BTC
        normal = x_BTC if self.mlp_norm is None else self.mlp_norm(x_BTC)
        if isinstance(self.mlp, MixtureOfExperts):
            change = self.mlp(normal, given.routed, given.learning)
        else:
            change = self.seams.leave(self.mlp(self.seams.enter(normal)))
        return x_BTC + (change if self.mlp_post_norm is None else self.mlp_post_norm(change))

    def attention(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """What attention adds to the stream, before a norm after it."""
        config = self.config
        heads, kv_heads, size = config.heads, config.kv_heads, config.head_size
        projected = linear(self.seams.enter(x_BTC), self.qkv, self.qkv_bias)
        q, k, v = projected.split((heads * size, kv_heads * size, kv_heads * size), dim=-1)
        batch, tokens, _ = projected.shape
        full = config.qk_norm == "full"
        if full and self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (part.view(batch, tokens, -1, size).transpose(1, 2) for part in (q, k, v))
        if not full and self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        near = self.window is not None
        tables = given.near_tables if near else given.tables
        q, k = turned(q, tables), turned(k, tables)
        if given.slots is not None:
            k, v = given.slots.store(self.place, k, v)
        scale = (config.query_scale or size) ** -0.5
        scores = Scores(scale, config.attention_softcap, given.slopes_H, self.sink)
        sight = given.near if near else given.far
        assert sight is not None
        if self.seams.attend is None or given.slots is not None:
            attended = attend(q, k, v, sight, scores)
        else:
            attended = self.seams.attend(q, k, v, sight.documents_BP)
        return self.seams.leave(linear(attended, self.out, self.out_bias))
