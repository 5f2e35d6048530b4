"""The operators of one forward pass on one device: the shapes of its matrix products, attention, experts and collectives.

Sharding follows Megatron-LM (arXiv 1909.08053, section 3) as the serving engines do it: attention by heads over `tp` ranks,
feed-forward parts by their inner size, experts whole over `ep` ranks and by inner size over the rest. A key-value head is
kept whole, so more ranks than key-value heads hold copies; the latent vector of MLA is copied to each rank. The low-rank
input projections of MLA and routers are copied too. Sizes only; how long they take stands in `step`.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from aether.models.accounting import cache_values
from aether.models.accounting_parts import mixer_weights
from aether.planning.serving.setup import STORED_BYTES, Format, ServingSetup
from aether.spec.architecture import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    LatentAttention,
    LayerGroup,
    Recurrence,
)


@dataclass(frozen=True)
class Matrix:
    """A weight of `outputs` x `inputs` on this device, multiplied once in each of `count` layers."""

    name: str
    outputs: float
    inputs: float
    count: int
    stored_as: Format

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weight in all its layers."""
        return self.count * self.outputs * self.inputs * STORED_BYTES[self.stored_as]


@dataclass(frozen=True)
class Mixing:
    """What grows with the context or the state, for one layer on one device."""

    count: int
    latent: bool
    cache_bytes_per_token: float
    """Read for each position that a decode step attends to."""
    window: int | None
    flops_decode: float
    """FLOPs for each query token and position seen, when decoding (latent attention: in its absorbed form)."""
    flops_prefill: float
    index_bytes_per_token: float = 0.0
    """An indexer reads this for every position, before attention over its choice."""
    index_flops: float = 0.0
    state_bytes: float = 0.0
    """Read and written once for each sequence and step (recurrences)."""
    state_flops: float = 0.0
    """FLOPs for each token of a recurrence, which no context changes."""


@dataclass(frozen=True)
class ExpertPart:
    """Routed experts of one layer on one device."""

    count: int
    """Layers."""
    experts: int
    """Of the whole model, in one layer."""
    active: int
    local: float
    """Experts of which this device holds (a slice of) the weights."""
    inner: float
    hidden: int
    matrices: int
    """Three when gated, two when not."""
    stored_as: Format

    @property
    def expert_bytes(self) -> float:
        """Bytes of this device's slice of one expert."""
        return self.matrices * self.hidden * self.inner * STORED_BYTES[self.stored_as]


@dataclass(frozen=True)
class Operators:
    """One forward pass on one device."""

    matrices: tuple[Matrix, ...]
    head: Matrix
    """Only for tokens that are sampled."""
    mixing: tuple[Mixing, ...]
    experts: tuple[ExpertPart, ...]
    reductions: int
    """All-reduces of the hidden size over `tp` ranks."""
    exchanges: int
    """Layers whose tokens are gathered and scattered over tp x attn_dp ranks, because attention groups share experts."""
    layers: int


def _attention(mixer: Attention, group: LayerGroup, setup: ServingSetup) -> tuple[list[Matrix], Mixing]:
    hidden, tp, stored = setup.architecture.hidden_size, setup.tp, setup.precision.attention_format
    heads, kv_heads = mixer.heads / tp, max(1.0, mixer.kv_heads / tp)
    value_size = mixer.value_size or mixer.head_size
    queries = heads * mixer.head_size * (2 if mixer.output_gate else 1)
    matrices = [
        Matrix("qkv", queries + kv_heads * (mixer.head_size + value_size), hidden, group.count, stored),
        Matrix("attention_out", hidden, heads * value_size, group.count, stored),
    ]
    flops = 2 * heads * (mixer.head_size + value_size)
    cache = kv_heads * (mixer.head_size + value_size) * STORED_BYTES[setup.precision.cache]
    return matrices, Mixing(group.count, False, cache, mixer.window, flops, flops)


def _latent(mixer: LatentAttention, group: LayerGroup, setup: ServingSetup) -> tuple[list[Matrix], Mixing]:
    hidden, tp, stored = setup.architecture.hidden_size, setup.tp, setup.precision.attention_format
    heads, latent = mixer.heads / tp, mixer.kv_rank + mixer.rope_size
    key = mixer.nope_size + mixer.rope_size
    down = latent + (mixer.query_rank or 0)
    up_from = mixer.query_rank or hidden
    shapes = [
        ("latent_down", down, hidden),
        ("query_up", heads * key, up_from),
        ("latent_up", heads * (mixer.nope_size + mixer.value_size), mixer.kv_rank),
        ("attention_out", hidden, heads * mixer.value_size),
    ]
    if mixer.index_heads:
        shapes.append(("indexer", mixer.index_heads * mixer.index_size, up_from))
        shapes.append(("index_key", mixer.index_size + mixer.index_heads, hidden))
    matrices = [Matrix(name, outputs, inputs, group.count, stored) for name, outputs, inputs in shapes]
    return matrices, Mixing(
        group.count,
        True,
        latent * STORED_BYTES[setup.precision.cache],
        mixer.index_topk,
        2 * heads * (latent + mixer.kv_rank),
        2 * heads * (key + mixer.value_size),
        index_bytes_per_token=mixer.index_size * 1.0 if mixer.index_heads else 0.0,
        index_flops=2.0 * mixer.index_heads * mixer.index_size,
    )


def _recurrence(mixer: Recurrence, group: LayerGroup, setup: ServingSetup) -> tuple[list[Matrix], Mixing]:
    hidden, tp, stored = setup.architecture.hidden_size, setup.tp, setup.precision.attention_format
    values = mixer_weights(mixer, hidden).matrices
    out = hidden * mixer.inner_size
    matrices = [
        Matrix("recurrence_in", max(0.0, values - out) / hidden / tp, hidden, group.count, stored),
        Matrix("recurrence_out", hidden, mixer.inner_size / tp, group.count, stored),
    ]
    state = cache_values(mixer, 1) / tp
    # The state is kept in 32 bits by the engines' kernels; it is read and written at every step.
    mixing = Mixing(group.count, False, 0.0, None, 0.0, 0.0, state_bytes=2 * 4.0 * state, state_flops=7.0 * state)
    return matrices, mixing


def _feed_forward(size: float, gated: bool, hidden: int, count: int, stored: Format) -> list[Matrix]:
    return [
        Matrix("up", size * (2 if gated else 1), hidden, count, stored),
        Matrix("down", hidden, size, count, stored),
    ]


def _experts(mlp: Experts, group: LayerGroup, setup: ServingSetup) -> tuple[list[Matrix], ExpertPart]:
    hidden, stored = setup.architecture.hidden_size, setup.precision.weights
    matrices = [Matrix("router", mlp.count, hidden, group.count, "bf16")]
    if mlp.shared_size:
        matrices += _feed_forward(mlp.shared_size / setup.tp, mlp.gated, hidden, group.count, stored)
    if mlp.latent_size:
        matrices.append(Matrix("latent_experts", 2 * mlp.latent_size, hidden, group.count, stored))
    slices = setup.tp * setup.attn_dp / setup.ep
    return matrices, ExpertPart(
        group.count,
        mlp.count,
        mlp.active,
        mlp.count / setup.ep,
        mlp.size / slices,
        mlp.latent_size or hidden,
        3 if mlp.gated else 2,
        setup.precision.expert_format,
    )


_KEPT = 1024
"""Shapes that are kept (chosen: more than one search has)."""
_kept: dict[Hashable, tuple[Architecture, Operators]] = {}
"""With the architecture itself, so that its number in the key is not given to another one."""


def operators(setup: ServingSetup) -> Operators:
    """All operators of one pass through all layers, as one device sees them. Setups that differ in stages and limits share them."""
    key = (id(setup.architecture), setup.precision, setup.tp, setup.attn_dp, setup.ep)
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= _KEPT:
            _kept.clear()
        found = _kept[key] = (setup.architecture, _operators(setup))
    return found[1]


def _operators(setup: ServingSetup) -> Operators:
    arch = setup.architecture
    matrices: list[Matrix] = []
    mixing: list[Mixing] = []
    experts: list[ExpertPart] = []
    reductions = exchanges = 0
    for group in arch.groups:
        if group.mixer is not None:
            build = {Attention: _attention, LatentAttention: _latent, Recurrence: _recurrence}[type(group.mixer)]
            found, mixed = build(group.mixer, group, setup)
            matrices += found
            mixing.append(mixed)
        if isinstance(group.mlp, FeedForward):
            size = group.mlp.size / setup.tp
            matrices += _feed_forward(size, group.mlp.gated, arch.hidden_size, group.count, setup.precision.weights)
        elif isinstance(group.mlp, Experts):
            found, part = _experts(group.mlp, group, setup)
            matrices += found
            experts.append(part)
        shared = isinstance(group.mlp, Experts) and setup.attn_dp > 1
        exchanges += group.count if shared else 0
        reductions += group.count * ((group.mixer is not None) + (group.mlp is not None and not shared))
    head = Matrix("head", arch.vocab_size / setup.tp, arch.hidden_size, 1, setup.precision.head)
    return Operators(tuple(matrices), head, tuple(mixing), tuple(experts), reductions, exchanges, arch.layers)
