"""config.json of the transformers classes whose mixer is a recurrence, in both directions: Mamba, Mamba-2, Qwen3-Next.

No torch.

Such a class has a recurrence in every layer. What Aether's decoder does not compute is refused by name. `heads`, `kv_heads` and `head_size` of a
decoder without attention say nothing; they are read as those of the recurrence.
"""

from typing import Any

from aether.models.config import DecoderConfig
from aether.spec.architecture import Recurrence
from aether.spec.errors import InputError

TRAINED_TOKENS = 2048
"""The context of a config that says none: what Mamba was pretrained with (arXiv 2312.00752, section 4.2)."""
_MAMBA_NAMES = {
    "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers", "norm_eps": "layer_norm_epsilon",
}  # fmt: skip
NAMES = {
    "mamba": _MAMBA_NAMES,
    "mamba2": _MAMBA_NAMES,
    "qwen3_next": {
        "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers", "norm_eps": "rms_norm_eps",
        "heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "head_size": "head_dim", "mlp_size": "intermediate_size",
    },
}  # fmt: skip
"""What a class calls the fields of `DecoderConfig`."""
_MAMBA_DEMANDED: dict[str, tuple[Any, Any]] = {
    "use_bias": (False, False),
    "use_conv_bias": (True, True),
    "hidden_act": ("silu", "silu"),
}
_DEMANDED: dict[str, dict[str, tuple[Any, Any]]] = {
    "mamba": _MAMBA_DEMANDED | {"tie_word_embeddings": (True, True)},
    "mamba2": _MAMBA_DEMANDED | {"tie_word_embeddings": (True, False)},
    "qwen3_next": {"tie_word_embeddings": (True, False), "hidden_act": ("silu", "silu"), "num_experts": (0, 512)},
}
"""For each key what the decoder computes, and what the class takes where the key is missing."""


def _sizes(config: DecoderConfig) -> Recurrence:
    sizes = config.recurrence_at(0)
    assert sizes is not None
    return sizes


def misfit(model_type: str, config: DecoderConfig) -> tuple[str, Any, Any] | None:
    """As `Family.misfit`, of sizes that the class cannot say."""
    if model_type == "qwen3_next":
        return None if config.mlp_size else ("mlp_size", 0, "a number")
    if config.mlp_size:
        return "mlp_size", config.mlp_size, 0
    inner = _sizes(config).inner_size
    if inner % config.hidden_size:
        return "recurrence.inner_size", inner, f"a multiple of {config.hidden_size}"
    return None


def said(model_type: str, config: DecoderConfig) -> dict[str, Any]:
    """What config.json says of the decoder."""
    sizes, hidden = _sizes(config), config.hidden_size
    found = {theirs: getattr(config, ours) for ours, theirs in NAMES[model_type].items()}
    found |= {key: value for key, (value, _) in _DEMANDED[model_type].items()}
    found |= {"max_position_embeddings": config.context_tokens}
    head = sizes.inner_size // sizes.heads
    if model_type == "qwen3_next":
        return found | {
            "use_cache": False,  # the class of transformers 5.17 has no cache without a layer that attends
            "layer_types": ["linear_attention"] * config.layers,
            "linear_num_value_heads": sizes.heads,
            "linear_value_head_dim": head,
            "linear_num_key_heads": sizes.key_heads,
            "linear_key_head_dim": sizes.key_size,
            "linear_conv_kernel_dim": sizes.conv_size,
        }
    found |= {"expand": sizes.inner_size // hidden, "state_size": sizes.state_size, "conv_kernel": sizes.conv_size}
    found |= {"residual_in_fp32": False}
    if model_type == "mamba":
        return found | {"time_step_rank": sizes.dt_rank}
    return found | {"num_heads": sizes.heads, "head_dim": head, "n_groups": sizes.key_heads}


def read(model_type: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Fields of `DecoderConfig`. Raises InputError for a value that it does not compute."""
    for key, (wanted, default) in _DEMANDED[model_type].items():
        if raw.get(key, default) != wanted:
            raise InputError.of(f"config.json {key}", raw.get(key), f"Aether's decoder needs {wanted!r}")
    given = {ours: raw.get(theirs) for ours, theirs in NAMES[model_type].items()}
    given |= {"context_tokens": raw.get("max_position_embeddings", TRAINED_TOKENS)}
    if model_type == "qwen3_next":
        return given | {"mixer": "gated_delta", "recurrence": _read_delta(raw)}
    width = raw.get("hidden_size", 768 if model_type == "mamba" else 4096)
    sizes = {"conv_size": raw.get("conv_kernel", 4), "inner_size": raw.get("expand", 2) * width}
    given |= {"mixer": model_type, "mlp_size": 0}
    if model_type == "mamba":
        rank = raw.get("time_step_rank", "auto")
        if rank not in ("auto", -(-width // 16)):
            raise InputError.of("config.json time_step_rank", rank, f"Aether's decoder needs {-(-width // 16)}")
        heads = {"heads": 1, "kv_heads": 1, "head_size": 2}
        return given | heads | {"recurrence": sizes | {"state_size": raw.get("state_size", 16)}}
    limits = raw.get("time_step_limit", [0.0, float("inf")])
    if list(limits) not in ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}]):  # as transformers 5.17 writes it
        raise InputError.of("config.json time_step_limit", limits, "Aether's decoder has no limits of the time step")
    heads = raw.get("num_heads", 128)
    sizes |= {"state_size": raw.get("state_size", 128), "key_heads": raw.get("n_groups", 8)}
    return given | {"heads": heads, "kv_heads": heads, "head_size": raw.get("head_dim", 64), "recurrence": sizes}


def _read_delta(raw: dict[str, Any]) -> dict[str, Any]:
    """The gated delta rule's sizes. Raises InputError where a layer attends: its gated attention is not Aether's."""
    types = raw.get("layer_types")
    if not types or set(types) != {"linear_attention"}:
        raise InputError.of("config.json layer_types", types, "Aether's decoder needs linear_attention in every layer")
    heads, size = raw.get("linear_num_value_heads", 32), raw.get("linear_value_head_dim", 128)
    return {
        "inner_size": heads * size,
        "head_size": size,
        "key_heads": raw.get("linear_num_key_heads", 16),
        "key_size": raw.get("linear_key_head_dim", 128),
        "conv_size": raw.get("linear_conv_kernel_dim", 4),
    }
