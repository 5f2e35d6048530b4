"""The shape of a decoder and its exact arithmetic: parameters, FLOPs, cache bytes. No torch.

By default the Qwen3 dense architecture (Qwen3 technical report, arXiv 2505.09388, section 2): RMSNorm before each block,
rotary positions, grouped-query attention with an RMSNorm on each head's query and key, SwiGLU, no biases. The fields of
`DecoderParts` exchange parts of it; parameters and FLOPs are then those of `aether.models.accounting`.
Does not cover untied heads.
"""

from pydantic import Field, model_validator

from aether.models import accounting
from aether.models.accounting_parts import past_values, state_values
from aether.models.config_fields import grouped
from aether.models.config_memory import check_memory
from aether.models.config_mixers import recurrence_of, state_shapes
from aether.models.config_parts import (
    DecoderParts,
    check_attention,
    check_experts,
    check_latent,
    check_mixers,
    check_positions,
)
from aether.spec.architecture import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    LatentAttention,
    LayerGroup,
    Mixer,
    Recurrence,
)
from aether.spec.errors import InputError


class DecoderConfig(DecoderParts):
    """Every number that defines the decoder. Tied input and output embeddings."""

    vocab_size: int = Field(gt=1)
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    mlp_size: int = Field(ge=0)
    """0: no feed-forward part, as in Mamba; some layer is then recurrent."""
    context_tokens: int = Field(gt=0)
    rope_theta: float = Field(default=10000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> "DecoderConfig":
        if self.heads % self.kv_heads:
            raise InputError.of("kv_heads", self.kv_heads, f"it must divide heads = {self.heads}")
        if self.head_size % 2:
            raise InputError.of("head_size", self.head_size, "rotary positions need an even number")
        check_mixers(self, self.layers, self.mlp_size)
        for layer in range(self.layers):
            self.recurrence_at(layer)
        check_positions(self, self.head_size, self.context_tokens)
        check_attention(self)
        check_latent(self, self.heads, self.kv_heads, self.head_size)
        check_memory(self, self.context_tokens)
        check_experts(self, {"hidden_size": self.hidden_size, "mlp_size": self.mlp_size})
        return self

    def recurrence_at(self, layer: int) -> Recurrence | None:
        """The recurrent mixer of layer `layer`; None: it attends."""
        form = self.layer_mixer(layer)
        if form == "attention":
            return None
        first = all(self.layer_mixer(earlier) != form for earlier in range(layer))
        return recurrence_of(form, self.recurrence, self.hidden_size, self.head_size, first)

    def _mixer(self, layer: int) -> Mixer:
        recurrence = self.recurrence_at(layer)
        if recurrence is not None:
            return recurrence
        if self.latent is not None:
            return LatentAttention(
                heads=self.heads,
                query_rank=self.latent.query_rank,
                kv_rank=self.latent.kv_rank,
                rope_size=self.latent.rope_size,
                nope_size=self.head_size - self.latent.rope_size,
                value_size=self.latent.value_size,
            )
        return Attention(
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_size=self.head_size,
            window=self.layer_window(layer),
            qkv_bias=self.bias,
            out_bias=self.bias,
            qk_norm=self.qk_norm,
            sinks=self.sink_logits,
            segment_tokens=None if self.memory is None else self.memory.segment_tokens,
            delta=self.memory is not None and self.memory.update == "delta",
        )

    def _mlp(self) -> FeedForward | Experts | None:
        one = self.experts
        if self.mlp_size == 0:
            return None
        if one is None:
            return FeedForward(size=self.mlp_size, gated=self.gated, bias=self.bias)
        return Experts(
            count=one.count,
            active=one.active,
            size=self.mlp_size,
            gated=self.gated,
            bias=self.bias,
            shared_size=one.shared_size,
            router_bias=self.bias or one.bias_rate > 0 or one.router == "expert_choice",
        )

    def architecture(self) -> Architecture:
        """The same model as the accounting knows it."""
        mlp = self._mlp()
        norms = (1 if mlp is None else 2) * (2 if self.norm_place == "sandwich" else 1)
        groups = [LayerGroup(count=1, mixer=self._mixer(layer), mlp=mlp, norms=norms) for layer in range(self.layers)]
        total_norms = sum(group.norms for group in groups) + 1
        return Architecture(
            name="decoder",
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            groups=grouped(groups),
            tied=True,
            norm="rms" if self.norm == "rms" else "layer",
            positions=self.context_tokens if self.positions == "learned" else 0,
            context_tokens=self.context_tokens,
            extra_parameters={"scales of dynamic tanh": total_norms} if self.norm == "dyt" else {},
        )

    def matrix_parameters(self) -> int:
        """Parameters in the blocks' matrices (no embedding, no norm): those that Muon updates."""
        if not self.plain:
            return accounting.matrix_values(self.architecture())
        attention = self.hidden_size * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden_size * self.mlp_size)

    def parameters(self) -> int:
        """All parameters; the tied embedding counts once."""
        if not self.plain:
            return accounting.parameters(self.architecture()).total
        norms = self.layers * (2 * self.hidden_size + 2 * self.head_size) + self.hidden_size
        return self.vocab_size * self.hidden_size + self.matrix_parameters() + norms

    def flops_per_token(self, context_tokens: float) -> float:
        """FLOPs of one forward pass per token, matrix products only, at a mean of `context_tokens` attended positions.

        Two FLOPs per multiply-add; a training step costs three times as much (forward, and backward to inputs and weights).
        """
        if not self.plain:
            return accounting.flops_per_token(self.architecture(), context_tokens, causal=False).total
        products = self.matrix_parameters() + self.vocab_size * self.hidden_size
        attention = 2 * self.layers * self.heads * self.head_size * context_tokens
        return 2.0 * (products + attention)

    def kv_bytes_per_token(self, value_bytes: int) -> int:
        """Bytes of key and value cache that one token holds, in the layers that attend; of latent attention what it compresses to."""
        attending = 0 if self.memory is not None else self._attending
        heads, key, value = self.cached_sizes
        return attending * heads * (key + value) * value_bytes

    @property
    def cached_sizes(self) -> tuple[int, int, int]:
        """(heads, size of a key, size of a value) that a cache holds of each token; latent attention's vector stands for both."""
        if self.latent is not None:
            return 1, self.latent.kv_rank + self.latent.rope_size, 0
        return self.kv_heads, self.head_size, self.head_size

    def state_bytes(self, value_bytes: int) -> int:
        """Bytes of states, and of compressive memories with a segment, of one sequence, whatever its length: in float32 at least, past inputs in `value_bytes`."""
        found = (self.recurrence_at(layer) for layer in range(self.layers))
        recurrent = [mixer for mixer in found if mixer is not None]
        states = sum(state_values(mixer) for mixer in recurrent)
        held = states * max(4, value_bytes) + sum(map(past_values, recurrent)) * value_bytes
        if self.memory is None:
            return held
        memory = self.head_size * (self.head_size + 1) * max(4, value_bytes)
        segment = 2 * self.memory.segment_tokens * self.head_size * value_bytes
        return held + self._attending * self.kv_heads * (memory + segment)

    @property
    def _attending(self) -> int:
        return sum(self.layer_mixer(layer) == "attention" for layer in range(self.layers))

    def state_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """What layer `layer` keeps of one sequence, whatever its length: `state` and `memory` in float32 at least; empty for one
        that keeps every key."""
        recurrence = self.recurrence_at(layer)
        if recurrence is not None:
            return state_shapes(recurrence, self.hidden_size)
        if self.memory is None:
            return {}
        heads, size = self.kv_heads, self.head_size
        segment = (heads, self.memory.segment_tokens, size)
        return {"memory": (heads, size, size + 1), "keys": segment, "values": segment}
