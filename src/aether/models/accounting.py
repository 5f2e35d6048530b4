"""Exact accounting of an architecture: parameters to the last digit, FLOPs per token, cache and weight bytes. No torch.

A matrix value costs one multiply-add (two FLOPs) per token; what grows with the context (attention) or with the state
(recurrences) is added to that. The values of each part stand in `aether.models.accounting_parts`. Conventions: causal
attention counts the positions that a token can see, the look-up of the embedding counts nothing, and training is three
forward passes (Kaplan et al. 2020, arXiv 2001.08361, section 2.1, with head and attention in full, as Megatron-LM counts).
Not counted: norms, activations, softmax, rotary embeddings, sampling, recomputation (a choice of a recipe), and the
padding of vocabularies or of experts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from aether.models.accounting_parts import (
    STATE_FLOPS,
    Weights,
    conv_channels,
    dense_weights,
    expert_weights,
    linear,
    mixer_weights,
    past_values,
    router_weights,
    state_values,
)
from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention, LayerGroup, Mixer, Recurrence
from aether.spec.errors import InputError

TRAINING_PASSES = 3
"""Forward, and the gradients of inputs and of weights: each costs one forward (published: Kaplan et al. 2020, section 2.1)."""


@dataclass(frozen=True)
class Parameters:
    """Exact counts. The parts add up to `total`; `multi_token` stands beside it."""

    embedding: int
    """Token embedding and learnt positions. A tied output embedding is this one."""
    head: int
    """The output projection where it is a matrix of its own, and its bias."""
    attention: int
    recurrence: int
    mlp: int
    """Dense feed-forward parts and shared experts: what every token passes."""
    experts: int
    """Routed experts, all of them."""
    router: int
    norms: int
    extra: int
    active: int
    """What one token uses: the total less the routed experts that it does not take."""
    multi_token: int
    """Multi-token prediction layers without their shared embedding and head: trained, not needed to serve, not in `total`."""

    @property
    def total(self) -> int:
        """All parameters of the model."""
        return sum(getattr(self, name) for name in PARTS)


PARTS = ("embedding", "head", "attention", "recurrence", "mlp", "experts", "router", "norms", "extra")
"""The fields of `Parameters` that add up to its total."""


@dataclass(frozen=True)
class Flops:
    """Forward FLOPs per token, two per multiply-add."""

    projections: float = 0.0
    """Matrices around attention and recurrences."""
    attention: float = 0.0
    """Scores and their product with the values: what grows with the context."""
    recurrence: float = 0.0
    """State updates and short convolutions: what a fixed state costs."""
    mlp: float = 0.0
    """Dense, shared and active routed experts, and their routers."""
    head: float = 0.0

    @property
    def total(self) -> float:
        """The whole forward pass of one token."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __mul__(self, times: float) -> "Flops":
        return Flops(*(getattr(self, field.name) * times for field in fields(self)))


def norm_size(arch: Architecture) -> int:
    """Values of one norm of the hidden size."""
    return arch.hidden_size * {"rms": 1, "layer": 2, "none": 0}[arch.norm]


def multi_token_layer(arch: Architecture) -> LayerGroup:
    """The shape of an extra prediction layer: the most frequent attention with the most frequent feed-forward part, experts
    before dense ones (DeepSeek-V3, arXiv 2412.19437, section 2.2; Nemotron-3's pattern `*E`)."""
    attending = [group for group in arch.groups if group.mixer is not None and not isinstance(group.mixer, Recurrence)]
    feeding = [group for group in arch.groups if isinstance(group.mlp, Experts)]
    feeding = feeding or [group for group in arch.groups if group.mlp is not None]
    mixer = max(attending, key=lambda group: group.count).mixer if attending else None
    mlp = max(feeding, key=lambda group: group.count).mlp if feeding else None
    return LayerGroup(count=1, mixer=mixer, mlp=mlp)


def _layer_weights(group: LayerGroup, arch: Architecture) -> Weights:
    hidden, weights = arch.hidden_size, Weights(0, group.norms * norm_size(arch))
    if group.mixer is not None:
        weights += mixer_weights(group.mixer, hidden)
    if group.mlp is not None:
        weights += dense_weights(group.mlp, hidden)
    if isinstance(group.mlp, Experts):
        weights += router_weights(group.mlp, hidden) + expert_weights(group.mlp, hidden) * group.mlp.count
    return weights


def _multi_token(arch: Architecture) -> int:
    hidden = arch.hidden_size
    joining = linear(2 * hidden, hidden) + Weights(0, 3 * norm_size(arch))
    return arch.multi_token_layers * (_layer_weights(multi_token_layer(arch), arch) + joining).total


_counted: list[tuple[Architecture, Parameters]] = []
"""The latest architectures with their counts: a search asks for those of one architecture thousands of times."""


def parameters(arch: Architecture) -> Parameters:
    """Every parameter, by part."""
    for known, counts in _counted:
        if known is arch:
            return counts
    _counted[:] = [(arch, _parameters(arch)), *_counted[:3]]
    return _counted[0][1]


def _parameters(arch: Architecture) -> Parameters:
    hidden, idle = arch.hidden_size, 0
    counts = dict.fromkeys(PARTS, 0)
    counts["embedding"] = (arch.vocab_size + arch.positions) * hidden
    counts["head"] = (0 if arch.tied else arch.vocab_size * hidden) + (arch.vocab_size if arch.head_bias else 0)
    counts["norms"] = norm_size(arch) if arch.final_norm else 0
    counts["extra"] = sum(arch.extra_parameters.values())
    for group in arch.groups:
        counts["norms"] += group.count * group.norms * norm_size(arch)
        if group.mixer is not None:
            part = "recurrence" if isinstance(group.mixer, Recurrence) else "attention"
            counts[part] += group.count * mixer_weights(group.mixer, hidden).total
        if group.mlp is not None:
            counts["mlp"] += group.count * dense_weights(group.mlp, hidden).total
        if isinstance(group.mlp, Experts):
            expert = group.count * expert_weights(group.mlp, hidden).total
            counts["experts"] += expert * group.mlp.count
            counts["router"] += group.count * router_weights(group.mlp, hidden).total
            idle += expert * (group.mlp.count - group.mlp.active)
    return Parameters(**counts, active=sum(counts.values()) - idle, multi_token=_multi_token(arch))


def matrix_values(arch: Architecture) -> int:
    """Values in the layers' matrices, without embeddings, norms, biases and other vectors."""
    layers = (_layer_weights(group, arch) * group.count for group in arch.groups)
    return sum(weights.matrices for weights in layers)


def visible_positions(context_tokens: float, limit: int | None, causal: bool) -> float:
    """Positions that a token attends to: the mean over a causal sequence, or all of the context; at most `limit`."""
    if limit is None or limit >= context_tokens:
        return (context_tokens + 1) / 2 if causal else context_tokens
    if not causal:
        return float(limit)
    return limit * (context_tokens - (limit - 1) / 2) / context_tokens


def attention_flops(mixer: Attention | LatentAttention, context_tokens: float, causal: bool, absorbed: bool) -> float:
    """Scores and values of one layer; an indexer scores all positions, sums over its heads, and attention sees its choice."""
    if isinstance(mixer, Attention):
        if mixer.segment_tokens is not None:
            return _segment_flops(mixer, mixer.segment_tokens, context_tokens, causal)
        seen = visible_positions(context_tokens, mixer.window, causal)
        return 2 * mixer.heads * (mixer.head_size + (mixer.value_size or mixer.head_size)) * seen
    key, value = mixer.nope_size + mixer.rope_size, mixer.value_size
    if absorbed:
        key, value = mixer.kv_rank + mixer.rope_size, mixer.kv_rank
    flops = 2 * mixer.heads * (key + value) * visible_positions(context_tokens, mixer.index_topk, causal)
    return flops + 2 * mixer.index_heads * (mixer.index_size + 1) * visible_positions(context_tokens, None, causal)


def _segment_flops(mixer: Attention, segment_tokens: int, context_tokens: float, causal: bool) -> float:
    """Attention within a segment; each query reads the memory, and each key writes to it, by the delta rule after a read."""
    seen = visible_positions(min(segment_tokens, context_tokens), None, causal)
    memory = mixer.head_size * (mixer.head_size + 1)
    heads = mixer.heads + mixer.kv_heads * (2 if mixer.delta else 1)
    return 4 * mixer.heads * mixer.head_size * seen + 2 * heads * memory


def layer_flops(group: LayerGroup, hidden: int, context_tokens: float, causal: bool, absorbed: bool = False) -> Flops:
    """One layer of the group, one token."""
    flops = Flops()
    if group.mixer is not None:
        flops += Flops(projections=2.0 * mixer_weights(group.mixer, hidden).matrices)
    if isinstance(group.mixer, Recurrence):
        scan = STATE_FLOPS[group.mixer.form] * state_values(group.mixer)
        flops += Flops(recurrence=scan + 2.0 * conv_channels(group.mixer) * group.mixer.conv_size)
    elif group.mixer is not None:
        flops += Flops(attention=attention_flops(group.mixer, context_tokens, causal, absorbed))
    if group.mlp is not None:
        flops += Flops(mlp=2.0 * dense_weights(group.mlp, hidden).matrices)
    if isinstance(group.mlp, Experts):
        taken = expert_weights(group.mlp, hidden) * group.mlp.active + router_weights(group.mlp, hidden)
        flops += Flops(mlp=2.0 * taken.matrices)
    return flops


def flops_per_token(arch: Architecture, context_tokens: float, causal: bool = True, absorbed: bool = False) -> Flops:
    """Forward FLOPs of one token.

    `causal`: the mean over a sequence of `context_tokens` (training, prefill). Otherwise each token attends to all of
    `context_tokens`: a decode step at that context, or a kernel that computes the full square. `absorbed`: latent
    attention in its decode form, where heads work on the compressed vector itself (the projections cost the same).
    """
    flops = Flops(head=2.0 * arch.vocab_size * arch.hidden_size)
    for group in arch.groups:
        flops += layer_flops(group, arch.hidden_size, context_tokens, causal, absorbed) * group.count
    return flops


def training_flops_per_token(arch: Architecture, seq_tokens: float, adapter_parameters: float | None = None) -> float:
    """Forward and backward of one token, without recomputation; multi-token prediction layers with their heads included.

    `adapter_parameters`: the values of low-rank updates that learn while the model is frozen (Hu et al. 2021, arXiv
    2106.09685). Frozen matrices have gradients of their inputs and none of their own; attention and recurrences have no
    weights to freeze, so they cost what they always cost. The gradient of the very first input, which nothing needs then,
    and a frozen short convolution are counted all the same (a few thousandths of a deep model).
    """
    forward = flops_per_token(arch, seq_tokens)
    if arch.multi_token_layers:
        extra = layer_flops(multi_token_layer(arch), arch.hidden_size, seq_tokens, causal=True)
        joining = Flops(head=2.0 * (2 * arch.hidden_size**2 + arch.vocab_size * arch.hidden_size))
        forward += (extra + joining) * arch.multi_token_layers
    if adapter_parameters is None:
        return TRAINING_PASSES * forward.total
    frozen = forward.projections + forward.mlp + forward.head
    return TRAINING_PASSES * (forward.total + 2.0 * adapter_parameters) - frozen


def cache_values(mixer: Mixer, tokens: int) -> int:
    """Values that one layer keeps of one sequence: keys and values, the latent vector, or the state."""
    if isinstance(mixer, Attention) and mixer.segment_tokens is not None:
        kept = min(tokens, mixer.segment_tokens)
        return mixer.kv_heads * mixer.head_size * (2 * kept + mixer.head_size + 1)
    if isinstance(mixer, Attention):
        kept = tokens if mixer.window is None else min(tokens, mixer.window)
        return mixer.kv_heads * (mixer.head_size + (mixer.value_size or mixer.head_size)) * kept
    if isinstance(mixer, LatentAttention):
        return (mixer.kv_rank + mixer.rope_size + mixer.index_size) * tokens
    return state_values(mixer) + past_values(mixer)


def cache_bytes(arch: Architecture, tokens: int, value_bytes: float) -> float:
    """Key-value cache and state of one sequence of `tokens`."""
    return value_bytes * sum(g.count * cache_values(g.mixer, tokens) for g in arch.groups if g.mixer is not None)


def weight_bytes(arch: Architecture, bytes_per_value: Mapping[str, float] | float) -> float:
    """Bytes of all weights. A mapping goes by part (the fields of `Parameters`); `default` stands for parts not named."""
    counts = parameters(arch)
    if not isinstance(bytes_per_value, Mapping):
        return counts.total * bytes_per_value
    unknown = set(bytes_per_value) - {*PARTS, "default"}
    if unknown:
        raise InputError.of(
            "bytes_per_value", sorted(unknown), f"parts are {', '.join(PARTS)}, and default for the rest"
        )
    missing = [name for name in PARTS if name not in bytes_per_value and "default" not in bytes_per_value]
    if missing:
        raise InputError.of(
            "bytes_per_value", dict(bytes_per_value), f"name {', '.join(missing)}, or a default for them"
        )
    return sum(getattr(counts, name) * bytes_per_value.get(name, bytes_per_value.get("default", 0.0)) for name in PARTS)
