"""What a person would look up of a row's model before asking a memory calculator: its sizes under Hugging Face's names.

Made from the shape that our own prediction uses, so that peers are not judged by another one.
"""

from typing import Any

from aether.models.accounting import parameters
from aether.spec.architecture import Architecture, Attention, FeedForward
from benchmarks.planner_accuracy.setups import Row, architecture, recompute_of
from benchmarks.planner_accuracy.sources import ENCODER_DECODERS, stated


def hub_config(arch: Architecture) -> dict[str, Any] | None:
    """A dense decoder as `config.json` says it; None for what these calculators have no words for."""
    group = arch.groups[0]
    if len(arch.groups) != 1 or not isinstance(group.mixer, Attention) or not isinstance(group.mlp, FeedForward):
        return None
    mixer = group.mixer
    kind = "llama" if group.mlp.gated else "falcon" if mixer.kv_heads == 1 else "gpt_neox"
    return {
        "model_type": kind,
        "hidden_size": arch.hidden_size,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": mixer.heads,
        "num_key_value_heads": mixer.kv_heads,
        "head_dim": mixer.head_size,
        "intermediate_size": group.mlp.size,
        "vocab_size": arch.vocab_size,
        "tie_word_embeddings": arch.tied,
        "parameters": parameters(arch).total,
    }


def told(row: Row) -> Row:
    """The row with what its source says elsewhere, the model's published sizes and whether activations are recomputed."""
    row = stated(row)
    arch = architecture(row)
    config = None if arch is None or arch in ENCODER_DECODERS.values() else hub_config(arch)
    found = {**row, "recompute": recompute_of(row) or "none"}
    return found if config is None else {**found, "config": config}
