"""The exchangeable parts of a decoder as plain choices, all checked here. No torch.

Each field's default is the part that `aether.models.decoder` has always had; a field at its default is left out of a dump, so
that the fingerprint of a recipe that exchanges nothing stays what it was. What a part computes stands in `aether.models.parts`.
`refuse_parts` is the one sentence of whatever works for the default decoder alone.
"""

import math
from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from aether.models.config_memory import Memory
from aether.models.config_mixers import RECURRENT, RecurrentSizes, check_sizes
from aether.spec.base import Noun
from aether.spec.errors import InputError


class RopeScaling(Noun):
    """Rotary frequencies for contexts longer than those of pretraining."""

    kind: Literal["linear", "ntk", "dynamic", "yarn"]
    """Position interpolation (arXiv 2306.15595), NTK-aware and dynamic NTK (bloc97 and emozilla, 2023; YaRN, appendix B), or YaRN
    (arXiv 2309.00071, section 3)."""
    factor: float = Field(ge=1)
    """Context over `original_context_tokens`."""
    original_context_tokens: int = Field(gt=0)
    """The context of pretraining."""
    beta_fast: float = Field(default=32.0, gt=0)
    """yarn: dimensions that turn more often than this over the original context stay as they are (section 3.2: 32)."""
    beta_slow: float = Field(default=1.0, gt=0)
    """yarn: dimensions that turn less often than this are interpolated (section 3.2: 1)."""
    attention_factor: float | None = Field(default=None, gt=0)
    """yarn: what queries and keys are each multiplied by; None: 0.1 ln(factor) + 1 (arXiv 2309.00071, section 3)."""
    truncate: bool = True
    """yarn: whole dimensions bound the ranges (the authors' code); false: as they are (gpt-oss)."""

    @model_serializer(mode="wrap")
    def _without_defaults_of_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped = handler(self)
        return {name: value for name, value in dumped.items() if name != "truncate" or not value}

    @model_validator(mode="after")
    def _fits(self) -> "RopeScaling":
        if self.beta_fast <= self.beta_slow:
            raise InputError.of("rope_scaling.beta_fast", self.beta_fast, f"above beta_slow = {self.beta_slow:g}")
        if self.kind != "yarn" and self.attention_factor is not None:
            raise InputError.of(
                "rope_scaling.attention_factor", self.attention_factor, "only yarn has one; leave it out"
            )
        if self.kind != "yarn" and not self.truncate:
            raise InputError.of("rope_scaling.truncate", False, "only yarn has ranges; leave it out")
        return self

    def yarn_attention_factor(self) -> float:
        """The factor on queries and on keys; 1 for every other kind."""
        if self.kind != "yarn":
            return 1.0
        return self.attention_factor if self.attention_factor is not None else 0.1 * math.log(self.factor) + 1.0


class Latent(Noun):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1); `head_size` is that of queries and keys, positions
    included."""

    kv_rank: int = Field(gt=0)
    """Size of the vector that keys and values are compressed to: what a cache holds, with the rotated key."""
    query_rank: int | None = Field(default=None, gt=0)
    """Size of the vector that queries are compressed to; None: they are not (DeepSeek-V2-Lite)."""
    rope_size: int = Field(gt=0, multiple_of=2)
    """Rotated values of a head; their key is one for all heads."""
    value_size: int = Field(gt=0)
    """Values of a head."""


class Mixture(Noun):
    """A mixture of experts in every layer; the inner size of one expert is `mlp_size`."""

    count: int = Field(gt=1)
    """Routed experts."""
    active: int = Field(gt=0)
    """Experts that a token takes."""
    router: Literal["softmax", "sigmoid", "expert_choice"] = "softmax"
    """Scores over all experts together (Mixtral, arXiv 2401.04088) or of each alone (DeepSeek-V3, arXiv 2412.19437). `expert_choice`: experts
    take tokens by their softmax scores (arXiv 2202.09368), in training passes those of the whole pass, later ones too; every other
    pass takes by each expert's cutoff, and its loss is higher than that of training by as much as looking ahead helped."""
    capacity_factor: float | None = Field(default=None, gt=0)
    """In training passes an expert takes this many times its mean share of tokens and drops the later ones (Switch, arXiv 2101.03961,
    section 2.2: 1 to 1.25); None: nothing is dropped. Every other pass drops nothing."""
    normalise: bool = True
    """The weights of the active experts add up to one."""
    scale: float = Field(default=1.0, gt=0)
    """The weights times this (DeepSeek-V3: routed_scaling_factor)."""
    shared_size: int = Field(default=0, ge=0)
    """Inner size of the shared experts together (DeepSeekMoE, arXiv 2401.06066); 0: none."""
    balance_loss: float = Field(default=0.0, ge=0)
    """Coefficient of the load-balance loss (Switch, arXiv 2101.03961: 0.01)."""
    z_loss: float = Field(default=0.0, ge=0)
    """Coefficient of the router's z-loss (ST-MoE, arXiv 2202.08906: 0.001)."""
    bias_rate: float = Field(default=0.0, ge=0)
    """Step of the bias that balances without a loss (arXiv 2408.15664: 0.001); 0: no bias."""
    groups: int = Field(default=1, ge=1)
    """Equal groups of experts (DeepSeek-V3, arXiv 2412.19437, section 2.1.2); a group's score is the sum of its two highest."""
    active_groups: int = Field(default=1, ge=1)
    """Groups with the highest scores: only their experts can be chosen."""

    @model_validator(mode="after")
    def _fits(self) -> "Mixture":
        if self.active > self.count:
            raise InputError.of("experts.active", self.active, f"at most experts.count = {self.count}")
        if self.router == "expert_choice":
            for name in ("normalise", "capacity_factor", "balance_loss", "bias_rate"):
                if given := getattr(self, name):
                    mend = "experts that choose are balanced and weigh by their scores; set it to "
                    raise InputError.of(
                        f"experts.{name}",
                        given,
                        mend + {"normalise": "false", "capacity_factor": "none"}.get(name, "0"),
                    )
            if self.groups > 1:
                raise InputError.of("experts.groups", self.groups, "experts that choose have no groups; set it to 1")
        if self.active_groups > self.groups:
            raise InputError.of("experts.active_groups", self.active_groups, f"at most experts.groups = {self.groups}")
        size = self.count / self.groups
        if self.groups > 1 and (size != int(size) or size < 2):
            mend = f"it must divide experts.count = {self.count} into groups of two or more"
            raise InputError.of("experts.groups", self.groups, mend)
        if self.active > self.active_groups * size:
            mend = f"{self.active_groups} groups of {size:g} have too few experts for experts.active = {self.active}"
            raise InputError.of("experts.active_groups", self.active_groups, mend)
        return self


MixerName = Literal["attention", "mamba", "mamba2", "rwkv6", "rwkv7", "retnet", "gated_delta"]


class DecoderParts(Noun):
    """Which part stands where."""

    mixer: MixerName = "attention"
    """What mixes tokens in every layer: softmax attention, or a recurrence: Mamba (arXiv 2312.00752), Mamba-2 (2405.21060), RWKV-6
    (2404.05892), RWKV-7 (2503.14456), RetNet (2307.08621), the gated delta rule (2412.06464)."""
    mixer_pattern: tuple[MixerName, ...] | None = Field(default=None, min_length=2)
    """A hybrid: these mixers in turn over the layers; None: `mixer` in all of them."""
    recurrence: RecurrentSizes | None = None
    """Sizes of the recurrent mixers; None: those of their papers."""

    positions: Literal["rope", "learned", "sinusoidal", "alibi", "none"] = "rope"
    """Rotary (RoFormer, arXiv 2104.09864), a table of learnt vectors (GPT-2), sine waves (arXiv 1706.03762, section 3.5), a linear
    bias on scores (ALiBi, arXiv 2108.12409), or nothing but the causal mask (NoPE, arXiv 2305.19466)."""
    rope_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of each head that is rotated (GPT-NeoX: 0.25)."""
    rope_scaling: RopeScaling | None = None
    norm: Literal["rms", "layer", "dyt"] = "rms"
    """RMSNorm (arXiv 1910.07467), LayerNorm with gain and bias (arXiv 1607.06450), or dynamic tanh (DyT, arXiv 2503.10622)."""
    norm_place: Literal["pre", "post", "sandwich"] = "pre"
    """Before each part of a layer, after it (on what it adds to the stream: OLMo 2, arXiv 2501.00656), or both (Gemma 2)."""
    qk_norm: Literal["none", "head", "full"] = "head"
    """RMSNorm of queries and keys: over each head, or over the whole projection (OLMo 2)."""
    activation: Literal["swiglu", "geglu", "swiglu_clamped", "silu", "gelu", "relu2"] = "swiglu"
    """Gated by SiLU or GELU (arXiv 2002.05202), by SiLU within limits (gpt-oss, arXiv 2508.10925), or plain SiLU, GELU (its tanh form, as GPT-2) or squared ReLU (arXiv 2109.08668)."""
    bias: bool = False
    """A bias on every matrix of a layer (GPT-2), those of experts and routers too (gpt-oss)."""
    scale_embedding: bool = False
    """The embedding times sqrt(hidden_size) on its way in (arXiv 1706.03762, section 3.4; Gemma)."""
    window: int | None = Field(default=None, gt=0)
    """Positions that a token may look back on, itself included (Mistral, arXiv 2310.06825); None: all."""
    full_attention_every: int | None = Field(default=None, gt=1)
    """With a window: every so many layers one looks at all positions (Gemma 2: 2, Gemma 3: 6)."""
    sink_tokens: int = Field(default=0, ge=0)
    """With a window: so many first tokens of a document stay visible (StreamingLLM, arXiv 2309.17453)."""
    sink_logits: bool = False
    """A learnt logit for each head that takes its share of the softmax and gives nothing (gpt-oss, arXiv 2508.10925)."""
    query_scale: int | None = Field(default=None, gt=0)
    """Scores are q k / sqrt(this); None: head_size (Gemma: query_pre_attn_scalar)."""
    attention_softcap: float | None = Field(default=None, gt=0)
    """Scores become cap * tanh(scores / cap) (Gemma 2, arXiv 2408.00118: 50)."""
    logit_softcap: float | None = Field(default=None, gt=0)
    """The same for the logits of the vocabulary (Gemma 2: 30)."""
    local_rope_theta: float | None = Field(default=None, gt=0)
    """The rotary base of layers with a window, without scaling (Gemma 3, arXiv 2503.19786: 10000); None: that of all layers."""

    latent: Latent | None = None
    """Attention over compressed keys and values; None: `kv_heads` heads of keys and values."""
    memory: Memory | None = None
    """With it layers that attend see their own segment and a memory of those before; None: every earlier token."""
    experts: Mixture | None = None

    @model_serializer(mode="wrap")
    def _exchanged_alone(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped = handler(self)
        same = [name for name, field in _PARTS.items() if getattr(self, name) == field.default]
        return {name: value for name, value in dumped.items() if name not in same}

    def exchanged(self) -> tuple[tuple[str, Any], ...]:
        """(field, value) of every part that is not the default decoder's."""
        return tuple((name, getattr(self, name)) for name, f in _PARTS.items() if getattr(self, name) != f.default)

    @property
    def gated(self) -> bool:
        """Whether the feed-forward part has a gate: three matrices, not two."""
        return self.activation in ("swiglu", "geglu", "swiglu_clamped")

    def layer_window(self, layer: int) -> int | None:
        """How far layer `layer` looks back; None: to the beginning."""
        every = self.full_attention_every
        return None if every is not None and (layer + 1) % every == 0 else self.window

    def layer_mixer(self, layer: int) -> MixerName:
        """What mixes tokens in layer `layer`."""
        return self.mixer if self.mixer_pattern is None else self.mixer_pattern[layer % len(self.mixer_pattern)]

    @property
    def mixers(self) -> set[str]:
        """Every mixer that some layer has."""
        return {self.mixer} if self.mixer_pattern is None else set(self.mixer_pattern)

    @property
    def plain(self) -> bool:
        """Whether this is the default decoder: Qwen3's architecture."""
        return not self.exchanged()


_PARTS = DecoderParts.model_fields


def refuse_parts(config: DecoderParts, what: str, mend: str, but: Collection[str] = ()) -> None:
    """Raise InputError when `config` exchanges a part: `what` can only be done with the default decoder, or with those `but`."""
    for name, value in config.exchanged():
        if name in but:
            continue
        shown = value.model_dump() if isinstance(value, Noun) else value
        default = _PARTS[name].default
        raise InputError.of(f"model.{name}", shown, f"{what} needs {name} = {default}; {mend}")


_UNCOMPILED = {
    "rwkv7": "has a graph of so many chunks that compiling 256 tokens did not end in three minutes",
    "rwkv6": "takes chunks of a length that the strength of its decay decides",
}
"""Mixers that are no one graph, and why."""


def refuse_uncompiled(config: DecoderParts, compile: str) -> None:
    """Raise InputError for parts whose blocks torch.compile does not take as one graph."""
    if config.memory is not None:
        raise InputError.of("compile", compile, 'the number of segments differs from pass to pass; set compile = "off"')
    for mixer, why in _UNCOMPILED.items():
        if mixer in config.mixers:
            raise InputError.of("compile", compile, f'{mixer} {why}; set compile = "off"')


def check_positions(config: DecoderParts, head_size: int, context_tokens: int) -> None:
    """Raise InputError where positions, the head and the context do not fit together."""
    rotary = config.positions == "rope"
    if not rotary:
        for name in ("rope_fraction", "rope_scaling"):
            if getattr(config, name) != _PARTS[name].default:
                raise InputError.of(
                    name, getattr(config, name), f'only positions = "rope" has it, not "{config.positions}"'
                )
        return
    turned = head_size * config.rope_fraction
    if turned % 2:
        raise InputError.of(
            "rope_fraction", config.rope_fraction, f"it turns {turned:g} of {head_size} values; an even number"
        )
    scaling = config.rope_scaling
    if scaling is None:
        return
    reach = scaling.factor * scaling.original_context_tokens
    if context_tokens > reach:
        raise InputError.of("context_tokens", context_tokens, f"rope_scaling reaches {reach:g}; raise its factor")
    if scaling.kind in ("ntk", "dynamic") and turned <= 2:
        raise InputError.of("rope_scaling.kind", scaling.kind, "NTK scaling needs more than 2 rotated values in a head")
    if scaling.kind == "dynamic" and context_tokens != reach:
        mend = f"dynamic scaling needs factor x original_context_tokens = context_tokens = {context_tokens}"
        raise InputError.of("rope_scaling.factor", scaling.factor, mend)


def check_attention(config: DecoderParts) -> None:
    """Raise InputError for choices of attention that exclude each other, or that would do nothing."""
    if config.window is None:
        for name in ("full_attention_every", "sink_tokens", "local_rope_theta"):
            if getattr(config, name) != _PARTS[name].default:
                raise InputError.of(
                    name, getattr(config, name), "it says something of layers with a window; set window too"
                )
    if config.local_rope_theta is not None and config.positions != "rope":
        raise InputError.of(
            "local_rope_theta", config.local_rope_theta, f'positions = "{config.positions}" turns nothing'
        )
    if config.attention_softcap is not None:
        for name, bad in (("positions", config.positions == "alibi"), ("sink_logits", config.sink_logits)):
            if bad:
                mend = "it does not go with attention_softcap: bias and sink are added where the cap has no formula for them"
                raise InputError.of(name, getattr(config, name), mend)


def check_latent(config: DecoderParts, heads: int, kv_heads: int, head_size: int) -> None:
    """Raise InputError for sizes of latent attention that do not fit the heads, and for choices that it has not."""
    latent = config.latent
    if latent is None:
        return
    if kv_heads != heads:
        raise InputError.of("kv_heads", kv_heads, f"with latent every head has its own key; set it to heads = {heads}")
    if not latent.rope_size < head_size:
        raise InputError.of("latent.rope_size", latent.rope_size, f"it must be below head_size = {head_size}")
    if latent.value_size > head_size:
        raise InputError.of("latent.value_size", latent.value_size, f"at most head_size = {head_size}")
    wanted = {
        "positions": "rope",
        "rope_fraction": 1.0,
        "qk_norm": "none",
        "bias": False,
        "sink_logits": False,
        "window": None,
    }
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise InputError.of(name, getattr(config, name), f"latent attention needs {name} = {value}")


def check_experts(config: DecoderParts, sizes: dict[str, int]) -> None:
    """Raise InputError for what experts do not have, and for `sizes` that their grouped products cannot take."""
    if config.experts is None:
        return
    if config.bias and (config.experts.bias_rate or config.experts.router == "expert_choice"):
        raise InputError.of(
            "bias", True, "it gives the router a learnt bias, beside which no other moves; set it to false"
        )
    for name, size in sizes.items():
        if size % 8:
            # grouped_mm needs rows of whole 16 bytes: 8 values of bfloat16.
            raise InputError.of(name, size, "with experts it must be a multiple of 8")


_OF_ATTENTION = (
    "rope_fraction", "rope_scaling", "qk_norm", "window", "full_attention_every", "sink_tokens", "sink_logits", "query_scale",
    "attention_softcap", "local_rope_theta",
)  # fmt: skip


def check_mixers(config: DecoderParts, layers: int, mlp_size: int) -> None:
    """Raise InputError for mixers that exclude each other or another part, and for choices that no layer would read."""
    pattern, mixers = config.mixer_pattern, config.mixers
    if pattern is not None:
        if config.mixer != "attention":
            raise InputError.of("mixer", config.mixer, "mixer_pattern names every layer's; leave mixer out")
        if len(pattern) > layers:
            raise InputError.of(
                "mixer_pattern", pattern, f"it is longer than the {layers} layers; name at most as many"
            )
        if len(mixers) == 1:
            raise InputError.of("mixer_pattern", pattern, f'one mixer in all layers is mixer = "{pattern[0]}"')
    check_sizes(config.recurrence, mixers)
    if not mixers & set(RECURRENT):
        if mlp_size == 0:
            raise InputError.of("mlp_size", 0, "layers without a feed-forward part need a recurrent mixer")
        return
    if config.bias:
        raise InputError.of("bias", True, "recurrent mixers have no biases of matrices here; set it to false")
    if mlp_size == 0:
        for name in ("activation", "experts"):
            if getattr(config, name) != _PARTS[name].default:
                raise InputError.of(
                    name, getattr(config, name), "mlp_size = 0 leaves no feed-forward part; set mlp_size"
                )
    if "attention" in mixers:
        return
    for name in _OF_ATTENTION:
        if getattr(config, name) != _PARTS[name].default:
            raise InputError.of(name, getattr(config, name), "no layer attends; leave it out")
    if config.positions == "alibi":
        raise InputError.of("positions", "alibi", "no layer attends; leave it out")
