"""The shape of a model that a file names, where `knowledge` has it: heads, layers, positions, parameters. None for what is not known."""

import functools
from dataclasses import dataclass

from aether.knowledge.models_library import published_model
from aether.models.accounting import cache_bytes, parameters
from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention
from aether.spec.errors import InputError


@dataclass(frozen=True)
class Shape:
    """What the rules ask of a model."""

    name: str
    hidden: int
    layers: int
    heads: int
    """Query heads; 0 for a model without attention."""
    kv_heads: int
    """0 where keys and values are not by heads."""
    vocabulary: int
    max_positions: int | None
    parameters: int
    experts: int
    """0 for a dense model."""
    cache_bytes_per_token: float
    """Of keys and values in 16 bits, over all layers."""


@functools.lru_cache(maxsize=64)
def known_model(name: str) -> Shape | None:
    """The shape of a published model; None where the name is none that is known."""
    try:
        model = published_model(name)
    except InputError:
        return None
    arch: Architecture = model.architecture
    mixers = [g.mixer for g in arch.groups if isinstance(g.mixer, Attention | LatentAttention)]
    heads = max((m.heads for m in mixers), default=0)
    kv = min((m.kv_heads for m in mixers if isinstance(m, Attention)), default=0)
    experts = max((g.mlp.count for g in arch.groups if isinstance(g.mlp, Experts)), default=0)
    return Shape(
        model.name, arch.hidden_size, arch.layers, heads, kv, arch.vocab_size, arch.context_tokens, parameters(arch).total, experts,
        cache_bytes(arch, 1, 2.0),
    )  # fmt: skip
