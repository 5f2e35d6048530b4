"""Compressive memory as plain choices, checked here. No torch."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.errors import InputError

if TYPE_CHECKING:
    from aether.models.config_parts import DecoderParts


class Memory(Noun):
    """Attention within segments, and a memory of fixed size of all segments before (Infini-attention, arXiv 2404.07143)."""

    segment_tokens: int = Field(gt=1)
    """Tokens of a segment (the paper's N: 2048 in its section 4.2)."""
    update: Literal["linear", "delta"] = "linear"
    """What a segment adds: its values, or what the memory does not give for its keys yet (the paper's Linear and Linear + Delta)."""


def check_memory(config: "DecoderParts", context_tokens: int) -> None:
    """Raise InputError for parts that a compressive memory does not go with."""
    memory = config.memory
    if memory is None:
        return
    if memory.segment_tokens > context_tokens:
        mend = f"at most context_tokens = {context_tokens}, or no token is ever remembered"
        raise InputError.of("memory.segment_tokens", memory.segment_tokens, mend)
    if "attention" not in config.mixers:
        raise InputError.of("memory", memory.model_dump(), "no layer attends; leave it out")
    wanted = {
        "latent": None,
        "rope_scaling": None,
        "rope_fraction": 1.0,
        "window": None,
        "sink_logits": False,
        "attention_softcap": None,
        "bias": False,
    }
    for name, value in wanted.items():
        if getattr(config, name) != value:
            shown = getattr(config, name)
            shown = shown.model_dump() if isinstance(shown, Noun) else shown
            raise InputError.of(name, shown, f"a compressive memory needs {name} = {value}")
    if config.positions == "alibi" or config.qk_norm == "full":
        name = "positions" if config.positions == "alibi" else "qk_norm"
        raise InputError.of(name, getattr(config, name), "it does not go with a compressive memory")
