"""config.json of the transformers classes whose mixer is a recurrence, in both directions: Mamba-2. No torch.

Such a class has a recurrence in every layer. What Aether's decoder does not compute is refused by name. `heads`, `kv_heads` and `head_size` of a
decoder without attention say nothing; they are read as those of the recurrence.
"""

from typing import Any

from aether.models.config import DecoderConfig
from aether.spec.architecture import Recurrence
from aether.spec.errors import InputError

TRAINED_TOKENS = 2048
"""The context of a config that says none: what Mamba was pretrained with (arXiv 2312.00752, section 4.2)."""
NAMES = {
    "mamba2": {
        "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers", "norm_eps": "layer_norm_epsilon",
    },
}  # fmt: skip
"""What a class calls the fields of `DecoderConfig`."""
_DEMANDED: dict[str, dict[str, tuple[Any, Any]]] = {
    "mamba2": {
        "tie_word_embeddings": (True, False),
        "use_bias": (False, False),
        "use_conv_bias": (True, True),
        "hidden_act": ("silu", "silu"),
    },
}
"""For each key what the decoder computes, and what the class takes where the key is missing."""


def misfit(model_type: str, config: DecoderConfig) -> tuple[str, Any, Any] | None:
    """As `Family.misfit`, of sizes that the class cannot say."""
    sizes = config.recurrence_at(0)
    assert sizes is not None
    if config.mlp_size:
        return "mlp_size", config.mlp_size, 0
    if sizes.inner_size % config.hidden_size:
        return "recurrence.inner_size", sizes.inner_size, f"a multiple of {config.hidden_size}"
    return None


def said(model_type: str, config: DecoderConfig) -> dict[str, Any]:
    """What config.json says of the decoder."""
    sizes = config.recurrence_at(0)
    assert sizes is not None
    found = {theirs: getattr(config, ours) for ours, theirs in NAMES[model_type].items()}
    found |= {key: value for key, (value, _) in _DEMANDED[model_type].items()}
    found |= {"max_position_embeddings": config.context_tokens, "residual_in_fp32": False}
    return found | _said_sizes(sizes, config.hidden_size)


def _said_sizes(sizes: Recurrence, hidden: int) -> dict[str, Any]:
    return {
        "expand": sizes.inner_size // hidden,
        "state_size": sizes.state_size,
        "conv_kernel": sizes.conv_size,
        "num_heads": sizes.heads,
        "head_dim": sizes.inner_size // sizes.heads,
        "n_groups": sizes.key_heads,
    }


def read(model_type: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Fields of `DecoderConfig`. Raises InputError for a value that it does not compute."""
    for key, (wanted, default) in _DEMANDED[model_type].items():
        if raw.get(key, default) != wanted:
            raise InputError.of(f"config.json {key}", raw.get(key), f"Aether's decoder needs {wanted!r}")
    limits = raw.get("time_step_limit", [0.0, float("inf")])
    if list(limits) not in ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}]):  # as transformers 5.17 writes it
        raise InputError.of("config.json time_step_limit", limits, "Aether's decoder has no limits of the time step")
    given = {ours: raw.get(theirs) for ours, theirs in NAMES[model_type].items()}
    given |= {"mixer": model_type, "mlp_size": 0, "context_tokens": raw.get("max_position_embeddings", TRAINED_TOKENS)}
    given |= {"heads": raw.get("num_heads", 128), "kv_heads": raw.get("num_heads", 128)}
    width = raw.get("hidden_size", 4096)
    sizes = {"state_size": raw.get("state_size", 128), "key_heads": raw.get("n_groups", 8)}
    sizes |= {"conv_size": raw.get("conv_kernel", 4), "inner_size": raw.get("expand", 2) * width}
    return given | {"head_size": raw.get("head_dim", 64), "recurrence": sizes}
