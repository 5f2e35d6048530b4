"""The tensors of a decoder from parts under the names of its transformers class, and back.

A fused matrix is split on the way out and joined on the way in; Gemma and Nemotron keep gain - 1, GPT-2 keeps matrices input first. Both ways
are exact but for that subtraction (rounding of one addition).
"""

import torch
from torch import Tensor

from aether.models import families_deepseek, families_gpt_oss
from aether.models import families_recurrent_weights as recurrent
from aether.models.decoder import Decoder
from aether.models.families import Family

_LLAMA_TOP = {
    "embedding": "model.embed_tokens.weight",
    "final_norm.gain": "model.norm.weight",
    "final_norm.bias": "model.norm.bias",
}
_LLAMA = {
    "out": ("self_attn.o_proj.weight",),
    "out_bias": ("self_attn.o_proj.bias",),
    "qkv": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "qkv_bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "q_norm.gain": ("self_attn.q_norm.weight",),
    "k_norm.gain": ("self_attn.k_norm.weight",),
    "mlp.gate_up": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.up_bias": ("mlp.gate_proj.bias", "mlp.up_proj.bias"),
    "mlp.down": ("mlp.down_proj.weight",),
    "mlp.down_bias": ("mlp.down_proj.bias",),
}
_PRE = {"attention_norm.gain": ("input_layernorm.weight",), "mlp_norm.gain": ("post_attention_layernorm.weight",)}
_POST = {
    "attention_post_norm.gain": ("post_attention_layernorm.weight",),
    "mlp_post_norm.gain": ("post_feedforward_layernorm.weight",),
}
_AROUND = {"attention_norm.gain": ("input_layernorm.weight",), "mlp_norm.gain": ("pre_feedforward_layernorm.weight",)}
_LAYER_NORMS = {"attention_norm.bias": ("input_layernorm.bias",), "mlp_norm.bias": ("post_attention_layernorm.bias",)}
_UNGATED = {
    "nemotron": {"mlp.up": ("mlp.up_proj.weight",), "mlp.up_bias": ("mlp.up_proj.bias",)},
    "starcoder2": {
        "mlp.up": ("mlp.c_fc.weight",),
        "mlp.up_bias": ("mlp.c_fc.bias",),
        "mlp.down": ("mlp.c_proj.weight",),
        "mlp.down_bias": ("mlp.c_proj.bias",),
    },
}
"""Tensors of a layer with LayerNorm and an MLP without a gate, where they are not Llama's."""
_GPT2_TOP = {
    "embedding": "transformer.wte.weight",
    "position_embedding": "transformer.wpe.weight",
    "final_norm.gain": "transformer.ln_f.weight",
    "final_norm.bias": "transformer.ln_f.bias",
}
_GPT2 = {
    "qkv": ("attn.c_attn.weight",),
    "qkv_bias": ("attn.c_attn.bias",),
    "out": ("attn.c_proj.weight",),
    "out_bias": ("attn.c_proj.bias",),
    "attention_norm.gain": ("ln_1.weight",),
    "attention_norm.bias": ("ln_1.bias",),
    "mlp_norm.gain": ("ln_2.weight",),
    "mlp_norm.bias": ("ln_2.bias",),
    "mlp.up": ("mlp.c_fc.weight",),
    "mlp.up_bias": ("mlp.c_fc.bias",),
    "mlp.down": ("mlp.c_proj.weight",),
    "mlp.down_bias": ("mlp.c_proj.bias",),
}


_MIXTURES = {
    "mixtral": ("block_sparse_moe", ("w1", "w3"), "w2"),
    "qwen3_moe": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
    "deepseek_v3": ("mlp", ("gate_proj", "up_proj"), "down_proj"),
}
"""Where the experts of a class lie on disk, and what it calls gate, up and down."""


def _expert_names(family: Family, part: str, count: int) -> tuple[str, ...]:
    where, up, down = _MIXTURES[family.model_type]
    if part == "router":
        return (f"{where}.gate.weight",)
    names = {"expert_gate_up": up, "expert_down": (down,)}[part]
    return tuple(f"{where}.experts.{expert}.{name}.weight" for expert in range(count) for name in names)


def _their_names(family: Family, ours: str, experts: int) -> tuple[str, ...]:
    """The tensors of the class that hold our parameter."""
    gpt2 = family.model_type == "gpt2"
    if family.model_type in ("mamba", "mamba2"):
        return (recurrent.mamba_name(family.model_type, ours),)
    if not ours.startswith("blocks."):
        return ((_GPT2_TOP if gpt2 else _LLAMA_TOP)[ours],)
    _, layer, rest = ours.split(".", 2)
    if gpt2:
        return tuple(f"transformer.h.{layer}.{name}" for name in _GPT2[rest])
    if family.model_type == "qwen3_next" and rest in recurrent.DELTA:
        return tuple(f"model.layers.{layer}.{name}" for name in recurrent.DELTA[rest])
    if family.model_type == "deepseek_v3" and rest in families_deepseek.LAYER:
        return (f"model.layers.{layer}.{families_deepseek.LAYER[rest]}",)
    if family.model_type == "deepseek_v3" and rest in families_deepseek.SHARED:
        return tuple(f"model.layers.{layer}.{name}" for name in families_deepseek.SHARED[rest])
    if family.model_type == "gpt_oss" and rest in families_gpt_oss.LAYER:
        return (f"model.layers.{layer}.{families_gpt_oss.LAYER[rest]}",)
    if experts and family.model_type in _MIXTURES and rest.startswith("mlp."):
        part = rest.removeprefix("mlp.")
        return tuple(f"model.layers.{layer}.{name}" for name in _expert_names(family, part, experts))
    norms = {"post": _POST, "sandwich": _POST | _AROUND}.get(family.fixed.get("norm_place", "pre"), _PRE)
    own = _LLAMA | norms | _LAYER_NORMS | _UNGATED.get(family.model_type, {})
    return tuple(f"model.layers.{layer}.{name}" for name in own[rest])


def _stored(model: Decoder, family: Family, ours: str, tensor: Tensor, back: bool) -> Tensor:
    """Our tensor as the class keeps it, or `back`."""
    if family.model_type in ("mamba", "mamba2", "qwen3_next"):
        return recurrent.stored(family.model_type, model.config, ours, tensor, back)
    if family.model_type == "gpt_oss":
        return families_gpt_oss.stored(model.config, ours, tensor, back)
    if family.model_type == "deepseek_v3":
        return families_deepseek.stored(model.config, ours, tensor, back)
    if family.model_type.startswith(("gemma", "nemotron")) and ours.endswith("gain"):
        return tensor + 1 if back else tensor - 1
    if family.model_type == "gpt2" and tensor.ndim == 2 and not ours.endswith("embedding"):
        return tensor.t()
    return tensor


def to_transformers(model: Decoder, family: Family) -> dict[str, Tensor]:
    """The model's tensors under the class's names, contiguous, in the model's own type and on CPU."""
    named: dict[str, Tensor] = {}
    experts = _count(model)
    for ours, parameter in model.named_parameters():
        tensor, theirs = parameter.detach().cpu(), _their_names(family, ours, experts)
        if ours.endswith("mixer.delta_in"):
            parts = recurrent.grouped(model.config, tensor)
        else:
            parts = tensor.split([tensor.shape[0]] if len(theirs) == 1 else _rows(model, ours))
        named |= {
            name: _stored(model, family, ours, part, back=False) for name, part in zip(theirs, parts, strict=True)
        }
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _count(model: Decoder) -> int:
    return 0 if model.config.experts is None else model.config.experts.count


def _rows(model: Decoder, ours: str) -> list[int]:
    name = ours.rsplit(".", 1)[-1]
    return model.fused_rows()[{"qkv_bias": "qkv", "up_bias": "gate_up"}.get(name, name)]


@torch.no_grad()
def from_transformers(model: Decoder, family: Family, named: dict[str, Tensor]) -> None:
    """Fill a model from tensors under the class's names and shapes (`weights` has compared them)."""
    for ours, parameter in model.named_parameters():
        parts = [
            _stored(model, family, ours, named[name], back=True) for name in _their_names(family, ours, _count(model))
        ]
        if ours.endswith("mixer.delta_in"):
            parameter.copy_(recurrent.ungrouped(model.config, parts))
        else:
            parameter.copy_(torch.cat(parts) if len(parts) > 1 else parts[0])
