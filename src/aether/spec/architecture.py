"""The shape of any sequence model, exact enough to count its parameters, FLOPs and bytes. No arithmetic here, no torch.

One `Architecture` is a list of layer groups; a layer is a mixer (attention of some kind, or a recurrence) and a
feed-forward part (dense or experts). What is counted from it stands in `aether.models.accounting`; how a Hugging Face
`config.json` becomes one stands in `aether.models.config_json`. Encoder-decoder models and vision towers are not covered.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError


class Attention(Noun):
    """Softmax attention with `heads` query heads that share `kv_heads` key-value heads (MHA, GQA, MQA)."""

    kind: Literal["attention"] = "attention"
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    value_size: int | None = Field(default=None, gt=0)
    """Size of a value head where it differs from `head_size`."""
    window: int | None = Field(default=None, gt=0)
    """Positions that a token may look back on; None: all of them."""
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    """RMSNorm of q and k: over each head (one gain of `head_size`), or over the whole projection."""
    sinks: bool = False
    """One learnt logit for each head (gpt-oss)."""
    output_gate: bool = False
    """A gate of the size of the query projection (Qwen3-Next)."""
    segment_tokens: int | None = Field(default=None, gt=1)
    """Attention within segments of so many tokens, beside a compressive memory with one gate for each head (Infini-attention)."""
    delta: bool = False
    """The memory is read before it is written to (the delta rule)."""

    @model_validator(mode="after")
    def _divides(self) -> "Attention":
        if self.heads % self.kv_heads:
            raise InputError.of("kv_heads", self.kv_heads, f"it must divide heads = {self.heads}")
        return self


class LatentAttention(Noun):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values from one low-rank vector."""

    kind: Literal["latent"] = "latent"
    heads: int = Field(gt=0)
    query_rank: int | None = Field(default=None, gt=0)
    kv_rank: int = Field(gt=0)
    rope_size: int = Field(ge=0)
    nope_size: int = Field(gt=0)
    value_size: int = Field(gt=0)
    index_heads: int = Field(default=0, ge=0)
    """Heads of a sparse-attention indexer (DeepSeek-V3.2, GLM-5); 0: none."""
    index_size: int = Field(default=0, ge=0)
    index_topk: int | None = None
    """Positions that each query attends to after the indexer's choice."""


class Recurrence(Noun):
    """A mixer whose state does not grow: Mamba, Mamba-2 (SSD), RWKV, RetNet, gated delta rule."""

    kind: Literal["recurrence"] = "recurrence"
    form: Literal["mamba", "mamba2", "rwkv4", "rwkv5", "rwkv6", "rwkv7", "retnet", "gated_delta", "rglru"]
    inner_size: int = Field(gt=0)
    state_size: int = Field(gt=0)
    """Values of state for each inner channel (N of Mamba; the head size for matrix-valued states)."""
    heads: int = Field(default=1, gt=0)
    key_heads: int = Field(default=1, gt=0)
    """Groups of B and C (Mamba-2), or key heads (gated delta rule)."""
    key_size: int | None = None
    conv_size: int = Field(default=0, ge=0)
    dt_rank: int | None = None
    lora_sizes: dict[str, int] = {}
    """Ranks of the low-rank maps by name (RWKV-6 and 7)."""
    bias: bool = False
    conv_bias: bool = True


Mixer = Annotated[Attention | LatentAttention | Recurrence, Field(discriminator="kind")]


class FeedForward(Noun):
    """A dense feed-forward part: two matrices, or three when gated (SwiGLU, GeGLU)."""

    kind: Literal["dense"] = "dense"
    size: int = Field(gt=0)
    gated: bool = True
    bias: bool = False
    receptance: bool = False
    """A square matrix that gates the output (channel mix of RWKV-4 to RWKV-6)."""
    mixes: int = Field(default=0, ge=0)
    """Vectors that mix a token with the one before (channel mix of RWKV)."""


class Experts(Noun):
    """A mixture of experts: each token takes `active` of `count`, and all of the shared ones."""

    kind: Literal["experts"] = "experts"
    count: int = Field(gt=0)
    active: int = Field(gt=0)
    size: int = Field(gt=0)
    """Inner size of one expert."""
    gated: bool = True
    bias: bool = False
    shared_size: int = Field(default=0, ge=0)
    """Inner size of all shared experts together."""
    shared_gate: bool = False
    router_bias: bool = False
    latent_size: int | None = None
    """The experts work on a projection of this size (Nemotron-3 latent experts); None: the hidden size."""

    @model_validator(mode="after")
    def _fits(self) -> "Experts":
        if self.active > self.count:
            raise InputError.of("active", self.active, f"at most count = {self.count} experts can be active")
        return self


Mlp = Annotated[FeedForward | Experts, Field(discriminator="kind")]


class LayerGroup(Noun):
    """`count` equal layers. A layer without a mixer or without a feed-forward part has None there."""

    count: int = Field(gt=0)
    mixer: Mixer | None = None
    mlp: Mlp | None = None
    norms: int = Field(default=2, ge=0)
    """Norms of the hidden size in one layer: 2 before the parts, 4 in a sandwich."""


class Architecture(Noun):
    """A decoder-only model by its numbers."""

    name: str
    vocab_size: int = Field(gt=1)
    hidden_size: int = Field(gt=0)
    groups: tuple[LayerGroup, ...] = Field(min_length=1)
    """In no particular order: only counts matter here."""
    tied: bool = False
    """Input and output embeddings are one matrix."""
    norm: Literal["rms", "layer", "none"] = "rms"
    """`layer` has a gain and a bias, `none` has neither (OLMo)."""
    final_norm: bool = True
    positions: int = Field(default=0, ge=0)
    """Learnt position vectors."""
    context_tokens: int | None = Field(default=None, gt=0)
    """The longest sequence that it was trained for, where the configuration says."""
    head_bias: bool = False
    multi_token_layers: int = Field(default=0, ge=0)
    """Extra prediction layers (multi-token prediction of DeepSeek-V3) kept beside the model."""
    extra_parameters: dict[str, int] = {}
    """Parameters that no part above describes, by name, so that the total is exact."""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(group.count for group in self.groups)
