"""config.json and tensors of transformers' DeepseekV3ForCausalLM, in both directions: latent attention, dense or with experts.

With experts, every layer has them: sigmoid scores, a bias that chooses, groups of experts, shared ones. The rate at which the bias moves
is a choice of training that no config.json keeps; what is read has DeepSeek-V3's. The class keeps the rotated values of a head in
pairs and the keys of a head before its values; here halves of a head turn together, and all keys stand before all values: rows are
permuted on the way, exactly. YaRN's `mscale` scales more than the rotated values and is refused (`config_rope`).

Shapes: H heads, N values of a head without positions, R rotated ones, V of a head's value.
"""

from typing import Any

import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.spec.errors import InputError

BIAS_RATE = 0.001
"""Of DeepSeek-V3 (arXiv 2412.19437, section 4.2)."""
LAYER = {
    "mixer.query": "self_attn.q_proj.weight",
    "mixer.query_down": "self_attn.q_a_proj.weight",
    "mixer.query_norm.gain": "self_attn.q_a_layernorm.weight",
    "mixer.query_up": "self_attn.q_b_proj.weight",
    "mixer.latent_down": "self_attn.kv_a_proj_with_mqa.weight",
    "mixer.latent_norm.gain": "self_attn.kv_a_layernorm.weight",
    "mixer.latent_up": "self_attn.kv_b_proj.weight",
    "mixer.out": "self_attn.o_proj.weight",
    "mlp.router_bias": "mlp.gate.e_score_correction_bias",
}
"""Tensors of a layer that no other class has."""
SHARED = {
    "mlp.shared.gate_up": ("mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.up_proj.weight"),
    "mlp.shared.down": ("mlp.shared_experts.down_proj.weight",),
}


def misfit(config: DecoderConfig) -> tuple[str, Any, Any] | None:
    """As `Family.misfit`, of what the class cannot say."""
    if config.latent is None:
        return "latent", None, "latent attention"
    one = config.experts
    if one is None:
        return None
    if one.router != "sigmoid":
        return "experts.router", one.router, "sigmoid"
    if one.bias_rate == 0:
        return "experts.bias_rate", 0, "a bias"
    if one.shared_size == 0 or one.shared_size % config.mlp_size:
        return "experts.shared_size", one.shared_size, f"a multiple of mlp_size = {config.mlp_size}"
    return None


def said(config: DecoderConfig) -> dict[str, Any]:
    """What config.json says beside the names that all classes share."""
    latent, one = config.latent, config.experts
    assert latent is not None
    found: dict[str, Any] = {
        "q_lora_rank": latent.query_rank,
        "kv_lora_rank": latent.kv_rank,
        "qk_rope_head_dim": latent.rope_size,
        "qk_nope_head_dim": config.head_size - latent.rope_size,
        "v_head_dim": latent.value_size,
        "head_dim": latent.rope_size,
        "rope_interleave": True,
        "num_nextn_predict_layers": 0,
        "first_k_dense_replace": config.layers,
    }
    if one is None:
        return found
    return found | {
        "first_k_dense_replace": 0,
        "moe_intermediate_size": config.mlp_size,
        "n_routed_experts": one.count,
        "num_experts_per_tok": one.active,
        "n_shared_experts": one.shared_size // config.mlp_size,
        "routed_scaling_factor": one.scale,
        "norm_topk_prob": one.normalise,
        "n_group": one.groups,
        "topk_group": one.active_groups,
    }


def read(raw: dict[str, Any]) -> dict[str, Any]:
    """Fields of `DecoderConfig` beside those that all classes share. Raises InputError for a value that it does not compute."""
    if not raw.get("rope_interleave", True):
        raise InputError.of("config.json rope_interleave", False, "Aether reads rotated values in pairs")
    latent = {
        "query_rank": raw.get("q_lora_rank", 1536),
        "kv_rank": raw.get("kv_lora_rank", 512),
        "rope_size": raw.get("qk_rope_head_dim", 64),
        "value_size": raw.get("v_head_dim", 128),
    }
    found: dict[str, Any] = {"latent": latent, "head_size": raw.get("qk_nope_head_dim", 128) + latent["rope_size"]}
    dense, layers = raw.get("first_k_dense_replace", 3), raw.get("num_hidden_layers", 61)
    if dense >= layers:
        return found
    if dense:
        mend = f"Aether's decoder has experts in every layer or in none (0 or {layers})"
        raise InputError.of("config.json first_k_dense_replace", dense, mend)
    size = raw.get("moe_intermediate_size", 2048)
    experts = {
        "count": raw.get("n_routed_experts", 256),
        "active": raw.get("num_experts_per_tok", 8),
        "router": "sigmoid",
        "normalise": raw.get("norm_topk_prob", True),
        "scale": raw.get("routed_scaling_factor", 2.5),
        "shared_size": raw.get("n_shared_experts", 1) * size,
        "bias_rate": BIAS_RATE,
        "groups": raw.get("n_group", 8),
        "active_groups": raw.get("topk_group", 4),
    }
    return found | {"mlp_size": size, "experts": experts}


def stored(config: DecoderConfig, ours: str, tensor: Tensor, back: bool) -> Tensor:
    """Our tensor with its rows in the class's order, or `back`."""
    latent, name = config.latent, ours.rsplit(".", 1)[-1]
    assert latent is not None
    nope, rope = config.head_size - latent.rope_size, latent.rope_size
    if name in ("query", "query_up"):
        order = _pairs(torch.arange(tensor.shape[0]).view(config.heads, -1), nope, rope)
    elif name == "latent_down":
        order = _pairs(torch.arange(tensor.shape[0])[None], latent.kv_rank, rope)
    elif name == "latent_up":
        keys, values = torch.arange(tensor.shape[0]).split((config.heads * nope, config.heads * latent.value_size))
        order = torch.cat((keys.view(config.heads, -1), values.view(config.heads, -1)), dim=-1).flatten()
    else:
        return tensor
    return tensor[order.argsort()] if back else tensor[order]


def _pairs(rows: Tensor, plain: int, turned: int) -> Tensor:
    """Rows [H, plain + turned] with the two halves of the turned ones interleaved."""
    halves = rows[:, plain:].view(-1, 2, turned // 2)
    return torch.cat((rows[:, :plain], halves.mT.reshape(-1, turned)), dim=-1).flatten()
