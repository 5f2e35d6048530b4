"""Which transformers class computes what a `DecoderConfig` says, and its config.json in both directions. No torch.

A family fixes some parts and leaves others open; a config that fits none has no class there and is kept in Aether's own format
(`aether.models.weights`). The default decoder is Qwen3's and has its own, older path in `weights`. Of transformers 5.17; that a class computes
the same is what `tests/models/test_families.py` shows, by equal logits. Tensor names stand in `aether.models.families_weights`.
"""

import json
from dataclasses import dataclass
from typing import Any

from aether.models import families_deepseek, families_gpt_oss, families_recurrent
from aether.models.config import DecoderConfig
from aether.models.config_parts import DecoderParts, Mixture, RopeScaling
from aether.models.config_rope import rope_parameters, rope_scaling
from aether.spec.base import Noun
from aether.spec.errors import InputError

_DEFAULTS = {name: field.default for name, field in DecoderParts.model_fields.items()}
_ROPE = frozenset({"rope_scaling"})
_WINDOWS = frozenset({"window", "full_attention_every"})


@dataclass(frozen=True)
class Family:
    """One class of transformers: its parts by `DecoderConfig`'s fields."""

    model_type: str
    architecture: str
    fixed: dict[str, Any]
    """Parts that differ from the default decoder's."""
    varying: frozenset[str]
    """Parts that its config.json can say."""
    activation_key: str = "hidden_act"
    activation: str = "silu"
    square: bool = False
    """hidden_size is heads x head_size: its config has no head size."""

    def misfit(self, config: DecoderConfig) -> tuple[str, Any, Any] | None:
        """(field, its value, the value that this class has) of the first part that it cannot say; None: it fits."""
        for name, default in _DEFAULTS.items():
            wanted, given = self.fixed.get(name, default), getattr(config, name)
            if name not in self.varying and given != wanted:
                return name, given.model_dump() if isinstance(given, Noun) else given, wanted
        if self.model_type in families_recurrent.NAMES:
            return families_recurrent.misfit(self.model_type, config)
        if self.model_type == "deepseek_v3":
            return families_deepseek.misfit(config)
        if self.square and config.heads * config.head_size != config.hidden_size:
            return "head_size", config.head_size, config.hidden_size / config.heads
        if self.model_type in ("mistral", "gpt_oss") and config.window is None:
            return "window", None, "a number"
        if self.model_type in (*_MOE, "gpt_oss"):
            given = None if config.experts is None else config.experts.model_dump()
            wanted = _their_mixture(self.model_type, config.experts)
            return None if config.experts is not None and config.experts == wanted else ("experts", given, wanted)
        if self.model_type == "gpt2" and config.kv_heads != config.heads:
            return "kv_heads", config.kv_heads, config.heads
        return None


def _their_mixture(model_type: str, given: Mixture | None) -> Mixture | str:
    """The nearest mixture that the class computes: softmax, no shared experts, no bias that moves; Mixtral and gpt-oss always normalise."""
    if given is None:
        return "a mixture"
    kept = {"count": given.count, "active": given.active, "balance_loss": given.balance_loss, "z_loss": given.z_loss}
    return Mixture(**kept, normalise=model_type != "qwen3_moe" or given.normalise)


_GEMMA = {"norm_place": "sandwich", "activation": "geglu", "scale_embedding": True}
FAMILIES = (
    Family("qwen3", "Qwen3ForCausalLM", {}, _ROPE | _WINDOWS),
    Family("llama", "LlamaForCausalLM", {"qk_norm": "none"}, _ROPE | {"bias"}),
    Family("mistral", "MistralForCausalLM", {"qk_norm": "none"}, _ROPE | {"window"}),
    Family("olmo2", "Olmo2ForCausalLM", {"norm_place": "post", "qk_norm": "full"}, _ROPE, square=True),
    Family(
        "gemma2",
        "Gemma2ForCausalLM",
        _GEMMA | {"qk_norm": "none"},
        _ROPE | _WINDOWS | {"query_scale", "attention_softcap", "logit_softcap"},
        "hidden_activation",
        "gelu_pytorch_tanh",
    ),
    Family(
        "gemma3_text",
        "Gemma3ForCausalLM",
        _GEMMA,
        _ROPE | _WINDOWS | {"query_scale", "logit_softcap", "local_rope_theta"},
        "hidden_activation",
        "gelu_pytorch_tanh",
    ),
    Family("deepseek_v3", "DeepseekV3ForCausalLM", {"qk_norm": "none"}, _ROPE | {"latent", "experts"}),
    Family("mixtral", "MixtralForCausalLM", {"qk_norm": "none"}, _ROPE | {"experts"}),
    Family("qwen3_moe", "Qwen3MoeForCausalLM", {}, _ROPE | {"experts"}),
    Family(
        "gpt_oss",
        "GptOssForCausalLM",
        {"qk_norm": "none", "activation": "swiglu_clamped", "bias": True, "sink_logits": True},
        _ROPE | _WINDOWS | {"experts"},
    ),
    Family(
        "gpt2",
        "GPT2LMHeadModel",
        {"positions": "learned", "norm": "layer", "qk_norm": "none", "activation": "gelu", "bias": True},
        frozenset(),
        "activation_function",
        "gelu_new",
        square=True,
    ),
    Family(
        "starcoder2",
        "Starcoder2ForCausalLM",
        {"norm": "layer", "qk_norm": "none", "activation": "gelu"},
        _ROPE | {"bias", "window"},
        activation="gelu_pytorch_tanh",
    ),
    Family(
        "nemotron",
        "NemotronForCausalLM",
        {"norm": "layer", "qk_norm": "none", "activation": "relu2"},
        _ROPE | {"bias", "rope_fraction"},
        activation="relu2",
    ),
    Family("mamba", "MambaForCausalLM", {"mixer": "mamba"}, frozenset({"recurrence"})),
    Family("qwen3_next", "Qwen3NextForCausalLM", {"mixer": "gated_delta"}, frozenset({"recurrence"})),
    Family("mamba2", "Mamba2ForCausalLM", {"mixer": "mamba2"}, frozenset({"recurrence"})),
)
_MOE = ("mixtral", "qwen3_moe")
BY_TYPE = {family.model_type: family for family in FAMILIES}


def family_of(config: DecoderConfig) -> Family | None:
    """The class that computes this config, or None."""
    return next((family for family in FAMILIES if family.misfit(config) is None), None)


def demand_family(config: DecoderConfig) -> Family:
    """As `family_of`. Raises InputError when transformers has no such class: the nearest one, and the part that it lacks."""
    found = family_of(config)
    if found is not None:
        return found

    def misfits(family: Family) -> int:
        alike = (family.fixed.get(n, d) == getattr(config, n) or n in family.varying for n, d in _DEFAULTS.items())
        return sum(not same for same in alike)

    nearest = min(FAMILIES, key=misfits)
    misfit = nearest.misfit(config)
    assert misfit is not None
    name, given, wanted = misfit
    mend = f"no transformers class that Aether exports to computes it; the nearest, {nearest.architecture}, has {name} = {wanted!r}"
    raise InputError.of(f"model.{name}", given, mend)


_NAMES = {
    "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers",
    "heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "head_size": "head_dim",
    "mlp_size": "intermediate_size", "context_tokens": "max_position_embeddings", "norm_eps": "rms_norm_eps",
}  # fmt: skip
_GPT2_NAMES = {
    "vocab_size": "vocab_size", "hidden_size": "n_embd", "layers": "n_layer", "heads": "n_head",
    "mlp_size": "n_inner", "context_tokens": "n_positions", "norm_eps": "layer_norm_epsilon",
}  # fmt: skip


_EPSILONS = {"starcoder2": "norm_epsilon", "nemotron": "norm_eps"}


def _names(model_type: str) -> dict[str, str]:
    """What a class with attention calls the fields of `DecoderConfig`."""
    if model_type == "gpt2":
        return _GPT2_NAMES
    return _NAMES | {"norm_eps": _EPSILONS.get(model_type, _NAMES["norm_eps"])}


def transformers_config(config: DecoderConfig, dtype: str, end_of_text: int) -> dict[str, Any]:
    """The content of config.json. Raises InputError when no class computes it."""
    family = demand_family(config)
    recurrent = family.model_type in families_recurrent.NAMES
    named = {} if recurrent else _names(family.model_type)
    said: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in named.items()}
    common = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        family.activation_key: family.activation,
        "initializer_range": 0.02,
        "use_cache": True,
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
        "dtype": dtype,
    }
    if recurrent:
        return common | families_recurrent.said(family.model_type, config)
    if family.model_type == "gpt2":
        return common | said | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if config.rope_scaling is not None and config.rope_scaling.kind == "dynamic":
        # The class takes this as the context of pretraining: its formula has no other.
        said["max_position_embeddings"] = config.rope_scaling.original_context_tokens
    said |= dict.fromkeys(_BIASES.get(family.model_type, ("attention_bias",)), config.bias)
    said |= {"attention_dropout": 0.0}
    rotated = round(config.head_size * config.rope_fraction)
    if config.latent is not None:
        said |= families_deepseek.said(config)
        rotated = config.latent.rope_size
    elif family.model_type == "gpt_oss":
        said |= families_gpt_oss.said(config)
    elif config.experts is not None:
        said |= _said_experts(config, config.experts, family.model_type)
    if "window" in family.varying:
        said |= {"sliding_window": config.window}
        said |= {"use_sliding_window": config.window is not None} if family.model_type == "qwen3" else {}
    if "full_attention_every" in family.varying:
        near = (config.layer_window(layer) is not None for layer in range(config.layers))
        said["layer_types"] = ["sliding_attention" if one else "full_attention" for one in near]
    if "query_scale" in family.varying:
        said["query_pre_attn_scalar"] = config.query_scale or config.head_size
        said["final_logit_softcapping"] = config.logit_softcap
        said["attn_logit_softcapping"] = config.attention_softcap
    rope = rope_parameters(config.rope_theta, config.rope_scaling, rotated)
    rope |= {"partial_rotary_factor": config.rope_fraction} if "rope_fraction" in family.varying else {}
    if family.model_type == "gemma3_text":
        near_rope = rope if config.local_rope_theta is None else rope_parameters(config.local_rope_theta, None, 0)
        return common | said | {"rope_parameters": {"full_attention": rope, "sliding_attention": near_rope}}
    return common | said | {"rope_theta": rope["rope_theta"], "rope_parameters": rope}


def _said_experts(config: DecoderConfig, one: Mixture, model_type: str) -> dict[str, Any]:
    said = {
        "num_experts_per_tok": one.active,
        "router_aux_loss_coef": one.balance_loss,
        "output_router_logits": False,
        "sliding_window": None,
    }
    if model_type == "mixtral":
        return said | {"num_local_experts": one.count, "router_jitter_noise": 0.0}
    own = {"moe_intermediate_size": config.mlp_size, "decoder_sparse_step": 1, "mlp_only_layers": []}
    return said | own | {"num_experts": one.count, "norm_topk_prob": one.normalise, "use_sliding_window": False}


def _experts(raw: dict[str, Any], model_type: str) -> dict[str, Any]:
    """The mixture of a config, and the inner size of one expert."""
    given = {"active": raw.get("num_experts_per_tok"), "balance_loss": raw.get("router_aux_loss_coef", 0.001)}
    if model_type != "qwen3_moe":
        return {"experts": given | {"count": raw.get("num_local_experts")}}
    # transformers 5.17 writes the count under either name.
    given |= {
        "count": raw.get("num_experts", raw.get("num_local_experts")),
        "normalise": raw.get("norm_topk_prob", False),
    }
    return {"experts": given, "mlp_size": raw.get("moe_intermediate_size")}


def config_key(model_type: str, field: str) -> str:
    """What config.json of a family calls a field of `DecoderConfig`."""
    return families_recurrent.NAMES.get(model_type, _names(model_type)).get(field, field)


def config_of(raw: dict[str, Any]) -> DecoderConfig:
    """The shape that a config.json of one of these families says.

    Raises InputError for another family or a value that Aether's decoder does not compute, pydantic's ValidationError for a number
    out of range.
    """
    family = BY_TYPE.get(str(raw.get("model_type")))
    if family is None:
        raise InputError.of(
            "config.json model_type", raw.get("model_type"), f"Aether's decoder needs one of {', '.join(BY_TYPE)}"
        )
    if family.model_type in families_recurrent.NAMES:
        return DecoderConfig.model_validate(families_recurrent.read(family.model_type, raw))
    _demand(raw, family)
    gpt2 = family.model_type == "gpt2"
    given: dict[str, Any] = {ours: raw.get(theirs) for ours, theirs in _names(family.model_type).items()}
    if given.get("kv_heads") is None:
        given["kv_heads"] = given["heads"]
    heads, width = given["heads"], given["hidden_size"]
    if given.get("head_size") is None and isinstance(heads, int) and isinstance(width, int) and heads > 0:
        given["head_size"] = width // heads
    if gpt2:
        given["mlp_size"] = given["mlp_size"] or 4 * width
        return DecoderConfig.model_validate(given | family.fixed)
    given |= family.fixed | _windows(raw, family, given["layers"])
    rope, near = _rope(raw, family)
    given["rope_theta"], given["rope_scaling"] = rope
    if near != rope and given.get("window") is not None:
        if near[1] is not None:
            raise InputError.of(
                "config.json rope_parameters", near[1].model_dump(), "layers with a window turn without scaling"
            )
        given["local_rope_theta"] = near[0]
    scaling = given["rope_scaling"]
    if scaling is not None and scaling.kind == "dynamic" and isinstance(given["context_tokens"], int):
        given["context_tokens"] = round(given["context_tokens"] * scaling.factor)
    if "query_scale" in family.varying:
        scalar = raw.get("query_pre_attn_scalar", 256)
        given["query_scale"] = None if scalar == given["head_size"] else scalar
        given["logit_softcap"] = raw.get("final_logit_softcapping")
        given["attention_softcap"] = raw.get("attn_logit_softcapping")
    if family.model_type == "deepseek_v3":
        given |= families_deepseek.read(raw)
    if family.model_type in (*_MOE, "gpt_oss"):
        given |= _experts(raw, family.model_type)
    if "bias" in family.varying:
        given["bias"] = bool(raw.get(_BIASES[family.model_type][0], family.model_type == "starcoder2"))
    if "rope_fraction" in family.varying:
        given["rope_fraction"] = _rotated_share(raw)
    return DecoderConfig.model_validate(given)


_BIASES = {
    "llama": ("attention_bias", "mlp_bias"),
    "nemotron": ("attention_bias", "mlp_bias"),
    "starcoder2": ("use_bias",),
}
"""What classes with or without biases call them; every other one has "attention_bias", which is fixed."""


def _rotated_share(raw: dict[str, Any]) -> Any:
    """The share of a head that Nemotron turns; a half where nothing is said."""
    said = raw.get("rope_parameters") or {}
    return said.get("partial_rotary_factor", raw.get("partial_rotary_factor", 0.5))


def _demand(raw: dict[str, Any], family: Family) -> None:
    """Raise InputError for a value that the family's class would follow and Aether's decoder has not."""
    expected: dict[str, Any] = {"tie_word_embeddings": True, "quantization_config": None}
    defaults: dict[str, Any] = {"tie_word_embeddings": family.model_type.startswith(("gemma", "gpt2", "starcoder2"))}
    expected[family.activation_key] = defaults[family.activation_key] = family.activation
    if family.model_type in _BIASES:
        first, *others = _BIASES[family.model_type]
        expected |= {key: bool(raw.get(first)) for key in others}
        defaults |= dict.fromkeys(others, False)
    elif family.model_type == "gpt2":
        same = {"scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True, "add_cross_attention": False}
        expected |= same
        defaults |= same
    else:
        expected["attention_bias"] = defaults["attention_bias"] = family.model_type == "gpt_oss"
        expected["use_bidirectional_attention"] = raw.get("use_bidirectional_attention") or None
        if expected["use_bidirectional_attention"]:
            expected["use_bidirectional_attention"] = None
    if family.model_type in _MOE:
        moe = {"sliding_window": None, "router_jitter_noise": 0.0, "decoder_sparse_step": 1, "mlp_only_layers": []}
        expected |= moe
        defaults |= moe
        if family.model_type == "qwen3_moe":
            del expected["sliding_window"]
            expected["use_sliding_window"] = defaults["use_sliding_window"] = False
    for key, value in expected.items():
        found = raw.get(key, defaults.get(key))
        if found != value and not (value is None and not found):
            raise InputError.of(f"config.json {key}", raw.get(key), f"Aether's decoder needs {json.dumps(value)}")


def _windows(raw: dict[str, Any], family: Family, layers: Any) -> dict[str, Any]:
    """`window` and `full_attention_every` of a config. Raises InputError for another pattern of layers."""
    window = raw.get("sliding_window") if "window" in family.varying else None
    if family.model_type == "qwen3" and not raw.get("use_sliding_window", False):
        window = None
    if window is None or not isinstance(layers, int):
        return {"window": None}
    types = raw.get("layer_types")
    if types is None or "full_attention_every" not in family.varying:
        if "full_attention_every" in family.varying:
            raise InputError.of("config.json layer_types", None, "with a sliding_window it must name every layer")
        return {"window": window}
    full = [place for place, kind in enumerate(types) if kind == "full_attention"]
    every = full[0] + 1 if full else None
    wanted = [every is not None and (place + 1) % every == 0 for place in range(layers)]
    if len(types) != layers or [kind == "full_attention" for kind in types] != wanted:
        raise InputError.of(
            "config.json layer_types", types, "full attention must come every n-th layer, n = 2 or more"
        )
    if every == 1:
        return {"window": None}
    return {"window": window, "full_attention_every": every}


Turning = tuple[Any, RopeScaling | None]


def _rope(raw: dict[str, Any], family: Family) -> tuple[Turning, Turning]:
    """(base, scaling) of layers that see everything, and of those with a window."""
    said = raw.get("rope_parameters") or {"rope_theta": raw.get("rope_theta", 10000.0)}
    if family.model_type == "gpt_oss":
        said = {"rope_theta": families_gpt_oss.ROPE["rope_theta"]} | (
            raw.get("rope_parameters") or families_gpt_oss.ROPE
        )
    context = raw.get("max_position_embeddings")
    if "rope_fraction" in family.varying:
        said = {key: value for key, value in said.items() if key != "partial_rotary_factor"}
    if family.model_type != "gemma3_text":
        one = rope_scaling(said, context)
        return one, one
    full, near = said.get("full_attention", {}), said.get("sliding_attention", {})
    return rope_scaling({"rope_theta": 1e6} | full, context), rope_scaling({"rope_theta": 1e4} | near, context)
