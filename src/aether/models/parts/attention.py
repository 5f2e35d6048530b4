"""Attention of every kind: windows, sink tokens, sink logits, ALiBi, capped scores; `kernel_choice` decides which kernel computes it.

A mask is made for `QUERIES` queries at a time, and a window's queries are given only the keys that they reach: no square of a long
input is ever whole. What SDPA has no argument for becomes part of its product: ALiBi's bias and a sink's logit are extra values of
queries and keys, since softmax does not see what is the same for all keys of a query. Capped scores (Gemma 2, arXiv 2408.00118)
fit into no product: on a CPU they are made by blocks of `CAPPED_QUERIES` queries and made again in the backward pass.
FlexAttention caps scores and skips what a mask hides on a GPU; it has no backward pass on a CPU in torch 2.13.

Shapes: B batch, T queries, P keys, H query heads, K key-value heads, D head size, R = 1 or B rows of positions.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from aether.models import taps
from aether.models.parts.kernel_choice import Kernel, choose, here

QUERIES = 1024
"""Queries whose mask exists at a time (assumed; a mask of 32k keys is then 32 MiB)."""
CAPPED_QUERIES = 256
"""Queries whose capped scores exist at a time (assumed)."""
_HIGH = 256
"""A position is high x 256 + low: both are exact in bfloat16 below 65536."""


@dataclass(frozen=True)
class Sight:
    """Which keys each query may look at: earlier ones of its own document, within its window or among the sink tokens."""

    queries_RT: Tensor
    """Index of each query among the keys."""
    start: int
    """The first query's index where all rows are alike (R = 1)."""
    keys: int
    documents_BP: Tensor | None = None
    places_BP: Tensor | None = None
    """Index of each key in its document: what makes a sink token of it. None: that among the keys."""
    window: int | None = None
    sink_tokens: int = 0

    @cached_property
    def blocks(self) -> Any:
        """FlexAttention's mask, made once for the layers of a pass."""
        from aether.models.parts.fused import block_mask

        return block_mask(self)

    @property
    def aligned(self) -> bool:
        """All rows stand at the same index."""
        return self.queries_RT.shape[0] == 1

    def chunk(self, first: int, last: int) -> tuple[Tensor | slice, Tensor]:
        """(keys, mask [R or B, 1, t, p]) for queries first .. last - 1."""
        device = self.queries_RT.device
        low, high = 0, self.keys
        if self.aligned:
            high = self.start + last
            low = max(0, self.start + first - self.window + 1) if self.window is not None else 0
        if self.sink_tokens and self.documents_BP is not None:
            low = 0
        keys_p = torch.arange(low, high, device=device)
        if low > 0 and self.sink_tokens:
            keys_p = torch.cat((torch.arange(min(self.sink_tokens, low), device=device), keys_p))
        distance_RTp = self.queries_RT[:, first:last, None] - keys_p
        seen = distance_RTp >= 0
        if self.window is not None:
            near = distance_RTp < self.window
            if self.sink_tokens:
                places = keys_p[None] if self.places_BP is None else self.places_BP[:, keys_p]
                near = near | (places < self.sink_tokens)[:, None]
            seen = seen & near
        if self.documents_BP is not None:
            same = self.documents_BP[:, first:last, None] == self.documents_BP[:, None, keys_p]
            seen = seen & same
        chosen = keys_p if keys_p.shape[0] != high - low else slice(low, high)
        return chosen, seen[:, None]


@dataclass(frozen=True)
class Scores:
    """What happens to q k^T before the softmax."""

    scale: float
    softcap: float | None = None
    slopes_H: Tensor | None = None
    """ALiBi."""
    sink_H: Tensor | None = None
    """One more logit for each head, of a key whose value is zero (gpt-oss, arXiv 2508.10925)."""


def attend(
    q_BHTD: Tensor,
    k_BKPD: Tensor,
    v_BKPD: Tensor,
    sight: Sight,
    scores: Scores,
    at_once: int | None = None,
    kernel: Kernel | None = None,
) -> Tensor:
    """softmax(scores) v as [B, T, H * D]; values may be smaller than keys. `at_once`: queries whose mask or scores exist at a time; None: `QUERIES`
    or `CAPPED_QUERIES`. `kernel` None: the one that is chosen for this machine."""
    size, value_size = q_BHTD.shape[-1], v_BKPD.shape[-1]
    taps.attention(q_BHTD, k_BKPD, scores.scale)
    q, k, v = _extended(q_BHTD, k_BKPD, v_BKPD, scores)
    kernel = kernel or _chosen(q, sight, scores)
    if kernel == "sdpa":
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scores.scale, enable_gqa=True)
    elif kernel in ("flex", "flash3"):
        from aether.models.parts import fused

        out = (fused.flex if kernel == "flex" else fused.flash3)(q, k, v, sight, scores)
    else:
        out = _chunks((q, k, v), sight, scores, size, at_once)
    return out[..., :value_size].transpose(1, 2).flatten(2)


def _chosen(q_BHTD: Tensor, sight: Sight, scores: Scores) -> Kernel:
    """What `kernel_choice` says of this pass."""
    whole = sight.aligned and sight.start == 0 and q_BHTD.shape[2] == sight.keys
    window = sight.window is not None and sight.window < sight.keys
    facts = replace(
        here(q_BHTD.device, q_BHTD.dtype, q_BHTD.shape[3]),
        whole=whole,
        window=window,
        documents=sight.documents_BP is not None,
        sink_tokens=window and sight.sink_tokens > 0,
        sink_logits=scores.sink_H is not None,
        capped=scores.softcap is not None,
        alibi=scores.slopes_H is not None,
    )
    return choose(facts).kernel


def _chunks(qkv: tuple[Tensor, Tensor, Tensor], sight: Sight, scores: Scores, size: int, at_once: int | None) -> Tensor:
    """[B, H, T, D], with masks for some queries at a time; `size` of a head before what carries ALiBi and sinks."""
    q, k, v = qkv
    tokens, sink = q.shape[2], scores.sink_H is not None
    parts, step = [], at_once or (QUERIES if scores.softcap is None else CAPPED_QUERIES)
    for first in range(0, tokens, step):
        last = min(first + step, tokens)
        chosen, mask = sight.chunk(first, last)
        keys, values, queries = k[:, :, chosen], v[:, :, chosen], q[:, :, first:last]
        if scores.softcap is not None:
            wanted = torch.is_grad_enabled() and queries.requires_grad
            given = (queries, keys, values, mask, scores.scale, scores.softcap)
            parts.append(checkpoint(_capped, *given, use_reentrant=False) if wanted else _capped(*given))
            continue
        if sink:
            keys, values, mask = _with_sink(keys, values, mask, size + (2 if scores.slopes_H is not None else 0))
        parts.append(
            F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scores.scale, enable_gqa=True)
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _extended(q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values with the values that carry ALiBi and a sink, all of one size that kernels like."""
    batch, heads, tokens, size = q.shape
    more_q: list[Tensor] = []
    more_k: list[Tensor] = []
    if scores.slopes_H is not None:
        slopes_H = (scores.slopes_H / scores.scale).to(q.dtype)
        place_P = torch.arange(k.shape[2], device=k.device)
        for times, digits_P in ((_HIGH, place_P // _HIGH), (1, place_P % _HIGH)):
            more_q.append((slopes_H * times).view(1, heads, 1, 1).expand(batch, heads, tokens, 1))
            more_k.append(digits_P.to(k.dtype).view(1, 1, -1, 1).expand(*k.shape[:3], 1))
    if scores.sink_H is not None:
        logit_H = (scores.sink_H / scores.scale).to(q.dtype)
        more_q.append(logit_H.view(1, heads, 1, 1).expand(batch, heads, tokens, 1))
        more_k.append(k.new_zeros(1).expand(*k.shape[:3], 1))
    if not more_q:
        # Kernels take one size; latent attention's values have their own.
        return q, k, F.pad(v, (0, size - v.shape[-1])) if v.shape[-1] != size else v
    spare = -(size + len(more_q)) % 8
    q = F.pad(torch.cat((q, *more_q), dim=-1), (0, spare))
    k = F.pad(torch.cat((k, *more_k), dim=-1), (0, spare))
    return q, k, F.pad(v, (0, q.shape[-1] - v.shape[-1]))


def _with_sink(k: Tensor, v: Tensor, mask: Tensor, place: int) -> tuple[Tensor, Tensor, Tensor]:
    """One more key that every query sees: a one at `place`, where the queries carry the sink's logit, and a value of zero."""
    batch, kv_heads, _, size = k.shape
    sink = F.one_hot(torch.tensor(place, device=k.device), size).to(k.dtype).expand(batch, kv_heads, 1, size)
    nothing = v.new_zeros(1).expand(batch, kv_heads, 1, size)
    # Not F.pad: what torch 2.13's compiler writes for it does not build.
    seen = torch.cat((mask.new_ones(*mask.shape[:-1], 1), mask), dim=-1)
    return torch.cat((sink, k), dim=2), torch.cat((nothing, v), dim=2), seen


def _capped(q_BHtD: Tensor, k_BKpD: Tensor, v_BKpD: Tensor, mask: Tensor, scale: float, softcap: float) -> Tensor:
    """Attention over cap * tanh(scores / cap), for a block of queries."""
    batch, heads, tokens, size = q_BHtD.shape
    kv_heads = k_BKpD.shape[1]
    q = q_BHtD.reshape(batch, kv_heads, heads // kv_heads, tokens, size)
    scores = softcap * torch.tanh((q * (scale / softcap)) @ k_BKpD[:, :, None].mT)
    scores = scores.masked_fill(~mask[:, :, None], float("-inf"))
    wide = torch.float64 if scores.dtype == torch.float64 else torch.float32
    weights = torch.softmax(scores, dim=-1, dtype=wide).to(q.dtype)
    return (weights @ v_BKpD[:, :, None]).reshape(batch, heads, tokens, -1)
