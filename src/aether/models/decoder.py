"""The decoder: one class for pilots, training, evaluation and serving.

Follows transformers' Qwen3ForCausalLM (Qwen3 technical report, arXiv 2505.09388) and equals it on the same weights:
RMSNorm before each block, rotary positions, grouped-query attention with QK-norm, SwiGLU, tied embeddings. Query, key
and value are one matrix, and so are gate and up; `weights` splits and joins them. Training runs `kernels`; inference runs
PyTorch's SDPA over a `Cache`. Exchanged parts (`DecoderParts`) are `aether.models.parts.decoder`'s; no dropout.

Shapes: B batch, T tokens, C hidden size, E fused query-key-value width, H query heads, K key-value heads, G = H / K,
D head size, F MLP size, V vocabulary, P cached positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models import kernels, taps
from aether.models.cache import Cache
from aether.models.config import DecoderConfig
from aether.models.parts.attention import Scores, Sight, attend
from aether.models.parts.kernel_choice import PRODUCTS_TOKENS
from aether.models.seams import ALONE, Seams


class _Positions(NamedTuple):
    """Rotary tables [T, D] (or [B, 1, T, D] with a cache) of one forward pass."""

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True)
class _Window:
    """What a training pass's attention may see. `bias` is for matrix products; `sight` for every other kernel; one is None."""

    positions: _Positions
    bias: Tensor | None
    """For attention by products; None: `sight`."""
    sight: Sight | None
    documents_BT: Tensor | None = None
    """For `Seams.attend`, which makes its own masks."""


@dataclass(frozen=True)
class _CacheStep:
    """One pass over a cache: slots [first, first + B), where the new tokens go, and what they may see."""

    cache: Cache
    first: int
    where_BT: Tensor | None
    """The positions to write, or None when all end at `end`."""
    end: int
    mask: Tensor | None
    """Of one new token for each row; None: all see all."""
    sight: Sight | None
    """Of several."""
    positions: _Positions


def fused_rows(config: DecoderConfig) -> dict[str, list[int]]:
    """The rows of each matrix inside a fused parameter: query, key, value; gate, up."""
    size = config.head_size
    return {
        "qkv": [config.heads * size, config.kv_heads * size, config.kv_heads * size],
        "gate_up": [config.mlp_size] * 2,
    }


class Block(nn.Module):
    """One layer: attention and SwiGLU, each after a norm and added to the stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config, self.seams = config, ALONE
        size, width = config.head_size, config.hidden_size
        self.attention_gain = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(torch.empty((config.heads + 2 * config.kv_heads) * size, width))
        self.q_gain = nn.Parameter(torch.ones(size))
        self.k_gain = nn.Parameter(torch.ones(size))
        self.out = nn.Parameter(torch.empty(width, config.heads * size))
        self.mlp_gain = nn.Parameter(torch.ones(width))
        self.gate_up = nn.Parameter(torch.empty(2 * config.mlp_size, width))
        self.down = nn.Parameter(torch.empty(width, config.mlp_size))
        self.gains_learnt = True

    def forward(self, x_BTC: Tensor, window: _Window) -> Tensor:
        """The layer over whole windows, with gradients."""
        config, dtype, seams = self.config, x_BTC.dtype, self.seams
        learnt = self.gains_learnt
        normal = kernels.rms_norm(x_BTC, self.attention_gain if learnt else None, config.norm_eps)
        qkv = F.linear(seams.enter(normal), self.qkv.to(dtype))
        gains = (self.q_gain, self.k_gain) if learnt else (None, None)
        q, k, v = kernels.query_key_value(qkv, gains, window.positions, config.heads, config.kv_heads, config.norm_eps)
        if window.sight is not None:
            attended = attend(q, k, v, window.sight, Scores(config.head_size**-0.5))
        else:
            taps.attention(q, k, config.head_size**-0.5)
            if seams.attend is not None:
                attended = seams.attend(q, k, v, window.documents_BT)
            else:
                assert window.bias is not None
                attended = kernels.attention(q, k, v, window.bias)
        x = x_BTC + seams.leave(F.linear(attended, self.out.to(dtype)))
        normal = kernels.rms_norm(x, self.mlp_gain if learnt else None, config.norm_eps)
        inner = taps.inner(kernels.swiglu(F.linear(seams.enter(normal), self.gate_up.to(dtype))))
        return x + seams.leave(F.linear(inner, self.down.to(dtype)))

    def extend(self, x_BTC: Tensor, step: _CacheStep, layer: int) -> Tensor:
        """The layer over new tokens that see the cache. Without gradients; weights already in the stream's type."""
        config = self.config
        batch, tokens, width = x_BTC.shape
        heads, kv_heads, size, eps = config.heads, config.kv_heads, config.head_size, config.norm_eps
        normal = F.rms_norm(x_BTC, (width,), self.attention_gain, eps)
        q, k, v = F.linear(normal, self.qkv).view(batch, tokens, -1, size).split((heads, kv_heads, kv_heads), dim=2)
        q = kernels.rotate(F.rms_norm(q, (size,), self.q_gain, eps).transpose(1, 2), *step.positions)
        k = kernels.rotate(F.rms_norm(k, (size,), self.k_gain, eps).transpose(1, 2), *step.positions)
        keys, values = step.cache.store(layer, step.first, step.where_BT, step.end, (k, v.transpose(1, 2)))
        if tokens == 1:
            grouped = q.view(batch, kv_heads, heads // kv_heads, size)
            attended = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=step.mask)
            attended = attended.reshape(batch, 1, heads * size)
        else:
            assert step.sight is not None
            attended = attend(q, keys, values, step.sight, Scores(size**-0.5))
        x = x_BTC + F.linear(attended, self.out)
        gate, up = F.linear(F.rms_norm(x, (width,), self.mlp_gain, eps), self.gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.down)


def _run_block(block: nn.Module, x_BTC: Tensor, window: _Window) -> Tensor:
    return block(x_BTC, window)


class Decoder(nn.Module):
    """The language model. Parameters are float32 from `Decoder(config)`; `.to(torch.bfloat16)` gives an inference copy.

    `compute_dtype` is the type of activations and products in training passes (None: that of the parameters); float32
    parameters with bfloat16 products are mixed precision with master weights. `matmul_attention_tokens` = 0 always takes
    SDPA.
    """

    cos: Tensor
    sin: Tensor
    z_loss: float = 0.0
    """Coefficient of the squared log of each token's sum of exponentials in `loss`: it gives gradients and is not in the value."""

    def __init__(self, config: DecoderConfig, compute_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        assert config.plain, "exchanged parts are built by models.parts.decoder"
        self.config, self.seams = config, ALONE
        self.compute_dtype = compute_dtype
        self.matmul_attention_tokens = PRODUCTS_TOKENS
        self.keep_plain()
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_gain = nn.Parameter(torch.ones(config.hidden_size))
        cos, sin = _rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.initialise(seed=0)

    def initialise(
        self,
        seed: int,
        embedding_std: float = 0.02,
        matrix_scale: float = 1.0,
        zero_out: bool = False,
        final_gain: float = 1.0,
    ) -> None:
        """Draw every weight from a seed, always on CPU so that machines agree. Matrices: `matrix_scale` / sqrt(fan-in).

        `zero_out` starts the two matrices that write to the stream at zero; `final_gain` is the last norm's.
        """
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                kind = name.rsplit(".", 1)[-1]
                if parameter.ndim == 1:
                    parameter.fill_(self.start_of(name, final_gain))
                elif zero_out and kind in ("out", "down", "expert_down"):
                    parameter.zero_()
                else:
                    fan_in_std = matrix_scale * parameter.shape[1] ** -0.5
                    std = embedding_std if kind.endswith("embedding") else fan_in_std
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

    def start_of(self, name: str, final_gain: float) -> float:
        """Where every entry of a vector starts: gains at one, the last norm's at `final_gain`."""
        return final_gain if name == "final_gain" else 1.0

    def freeze_block_gains(self) -> None:
        """Keep the blocks' gains at one: no gradient, and training passes leave out the products with them."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1 and name != "final_gain":
                assert bool((parameter == 1).all()), "only gains of one can be left out"
                parameter.requires_grad_(False)
        for block in self.blocks:
            assert isinstance(block, Block)
            block.gains_learnt = False

    def fused_rows(self) -> dict[str, list[int]]:
        """The rows of each matrix inside a fused parameter, by the parameter's last name."""
        return fused_rows(self.config)

    def join(self, seams: Seams) -> None:
        """Let training passes meet other processes at these places."""
        self.seams = seams
        for block in self.blocks:
            block.seams = seams  # pyright: ignore[reportArgumentType]

    def settle(self, applied: bool) -> dict[str, float]:
        """After each update, `applied` or skipped: what learns without a gradient, and numbers about it. Nothing here does."""
        return {}

    def compile_blocks(self) -> None:
        """Let `loss` run its blocks through torch.compile: one graph for all of a shape, made at the first pass over it.

        Scoring and generation, whose shapes vary, stay as they are. Results differ from plain ones by rounding.
        """
        self._trained_block = torch.compile(_run_block, dynamic=False, fullgraph=True)
        self.compiled = True

    def keep_plain(self) -> None:
        """Let `loss` run its blocks as they are written: what a new decoder does."""
        self._trained_block = _run_block
        self.compiled = False

    @property
    def dtype(self) -> torch.dtype:
        """The type of the stream."""
        return self.compute_dtype or self.embedding.dtype

    def hidden(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
        """The stream after the last norm, [B, T, C]. Tokens see only earlier tokens of their own document.

        Rotary attention depends on distances alone, so positions need not start again at a document.
        """
        return self._hidden(tokens_BT, self.embedding.to(self.dtype), document_ids_BT)

    def _hidden(
        self,
        tokens_BT: Tensor,
        embedding_VC: Tensor,
        document_ids_BT: Tensor | None,
        run_block: Callable[[nn.Module, Tensor, _Window], Tensor] = _run_block,
        stream_BTC: Tensor | None = None,
    ) -> Tensor:
        assert tokens_BT.shape[1] <= self.config.context_tokens, "a window is longer than the context"
        window = self._window(tokens_BT, document_ids_BT)
        x = F.embedding(self.seams.own(tokens_BT), embedding_VC) if stream_BTC is None else stream_BTC
        for block in self.blocks:
            x = run_block(block, x, window)
        if not self.seams.closes:
            return x
        return kernels.rms_norm(x, self.final_gain, self.config.norm_eps)

    def forward(self, tokens_BT: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] in float32."""
        embedding = self.embedding.to(self.dtype)
        return self.logits(self._hidden(tokens_BT, embedding, document_ids_BT), embedding)

    def logits(self, hidden: Tensor, embedding_VC: Tensor) -> Tensor:
        """Logits [..., V] in float32 of a stream [..., C] after the last norm; `embedding_VC` in the stream's type."""
        return F.linear(hidden, embedding_VC).float()

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, document_ids_BT: Tensor | None = None) -> Tensor:
        """Mean cross-entropy of the targets in nats, for training: gradients are computed on the way. Of the own tokens."""
        return self.stage(None, tokens_BT, targets_BT, document_ids_BT)

    def stage(
        self,
        stream_BTC: Tensor | None,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        document_ids_BT: Tensor | None = None,
    ) -> Tensor:
        """What `loss` does of the layers that are here: from `stream_BTC` unless they open, to the stream unless they close."""
        seams = self.seams
        embedding = self.embedding.to(self.dtype) if seams.opens or seams.closes else tokens_BT
        x = self._hidden(
            tokens_BT, embedding, document_ids_BT, self._trained_block, None if seams.opens else stream_BTC
        )
        if not seams.closes:
            return x
        return kernels.tied_cross_entropy(x.flatten(0, 1), embedding, self.seams.own(targets_BT).flatten(), self.z_loss)

    def _window(self, tokens_BT: Tensor, document_ids_BT: Tensor | None) -> _Window:
        tokens, device = tokens_BT.shape[1], tokens_BT.device
        tables = (self.seams.turning(table[:tokens]).to(self.dtype) for table in (self.cos, self.sin))
        positions = _Positions(*tables)
        # A compiled graph is of one shape of the mask: leaving it out where it masks nothing would be a second graph.
        if document_ids_BT is not None and not self.compiled:
            alone = bool((document_ids_BT[:, 0] == document_ids_BT[:, -1]).all())
            document_ids_BT = None if alone else document_ids_BT
        if self.seams.attend is not None:
            return _Window(positions, None, None, document_ids_BT)
        by_products = device.type == "cpu" and tokens <= self.matmul_attention_tokens
        if not by_products:
            queries_1T = torch.arange(tokens, device=device)[None]
            return _Window(positions, None, Sight(queries_1T, 0, tokens, document_ids_BT))
        visible = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
        if document_ids_BT is not None:
            visible = visible & (document_ids_BT[:, None, :, None] == document_ids_BT[:, None, None, :])
        bias = torch.zeros(visible.shape, dtype=self.dtype).masked_fill_(~visible, float("-inf"))
        return _Window(positions, bias, None)

    @torch.inference_mode()
    def extend(
        self, tokens_BT: Tensor, cache: Cache, first: int = 0, counts: list[int] | None = None, every: bool = False
    ) -> Tensor:
        """Append tokens to slots [first, first + B) of a cache. Logits [B, V] of each row's last token, in float32.

        `counts` says how many of a row's tokens count (the rest is padding on the right); None: all.
        `every`: logits [B, T, V] of all tokens. Parameters must have the cache's type. Raises nothing: overflowing a
        slot is the caller's mistake (assert).
        """
        batch, tokens = tokens_BT.shape
        step = self._cache_step(batch, tokens, cache, first)
        x = F.embedding(tokens_BT, self.embedding)
        for layer, block in enumerate(self.blocks):
            x = block.extend(x, step, layer)  # pyright: ignore[reportCallIssue]
        for row in range(batch):
            cache.grow(first + row, tokens if counts is None else counts[row])
        if not every:
            x = x[:, -1] if counts is None else x[torch.arange(batch), torch.tensor(counts) - 1]
        normal = F.rms_norm(x, (self.config.hidden_size,), self.final_gain, self.config.norm_eps)
        return F.linear(normal, self.embedding).float()

    def _cache_step(self, batch: int, tokens: int, cache: Cache, first: int) -> _CacheStep:
        start, end, aligned, gone = cache.positions(first, batch, tokens)
        dtype, device = self.embedding.dtype, self.embedding.device
        if aligned:
            places = slice(start + gone[0], end + gone[0])
            positions = _Positions(self.cos[places].to(dtype), self.sin[places].to(dtype))
            queries_1T = torch.arange(start, end, device=device)[None]
            sight = Sight(queries_1T, start, end) if tokens > 1 else None
            return _CacheStep(cache, first, None, end, None, sight, positions)
        lengths = torch.tensor(cache.lengths[first : first + batch], device=device)
        where = lengths[:, None] + torch.arange(tokens, device=device)
        places_BT = where + torch.tensor(gone, device=device)[:, None]
        sight = Sight(where, start, end) if tokens > 1 else None
        mask = torch.arange(end, device=device) <= where[:, None, :, None] if sight is None else None
        positions = _Positions(self.cos[places_BT, None].to(dtype), self.sin[places_BT, None].to(dtype))
        if tokens > 1:
            positions = _Positions(*(t.transpose(1, 2) for t in positions))
        return _CacheStep(cache, first, where, end, mask, sight, positions)


def _rotary_tables(config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Cosine, and sine with the half-split layout's sign, [context, D] each, computed in float32 as transformers does."""
    exponent = torch.arange(0, config.head_size, 2, dtype=torch.int64).float() / config.head_size
    angles = torch.outer(torch.arange(config.context_tokens).float(), 1.0 / config.rope_theta**exponent)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
