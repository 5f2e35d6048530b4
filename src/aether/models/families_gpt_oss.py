"""config.json and tensors of transformers' GptOssForCausalLM (gpt-oss, arXiv 2508.10925), in both directions. Needs torch for tensors alone.

Attention has biases and sink logits, layers with a window alternate with full ones, every layer has experts with biases, a clamped SwiGLU and
a router with a learnt bias. The class keeps each expert's matrices input first, with gate and up row by row in turn.

Shapes: E experts, C hidden size, F expert size.
"""

from typing import Any

from torch import Tensor

from aether.models.config import DecoderConfig

LAYER = {
    "sink": "self_attn.sinks",
    "mlp.router": "mlp.router.weight",
    "mlp.router_shift": "mlp.router.bias",
    "mlp.expert_gate_up": "mlp.experts.gate_up_proj",
    "mlp.expert_up_bias": "mlp.experts.gate_up_proj_bias",
    "mlp.expert_down": "mlp.experts.down_proj",
    "mlp.expert_down_bias": "mlp.experts.down_proj_bias",
}
"""Tensors of a layer that no other class has."""
ROPE = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 32.0,
    "original_max_position_embeddings": 4096,
    "truncate": False,
}
"""What the class takes where config.json says nothing."""


def said(config: DecoderConfig) -> dict[str, Any]:
    """What config.json says of the experts."""
    assert config.experts is not None
    return {
        "num_local_experts": config.experts.count,
        "num_experts_per_tok": config.experts.active,
        "router_aux_loss_coef": config.experts.balance_loss,
        "output_router_logits": False,
    }


def stored(config: DecoderConfig, ours: str, tensor: Tensor, back: bool) -> Tensor:
    """Our tensor as the class keeps it, or `back`."""
    assert config.experts is not None
    count, size, width = config.experts.count, config.mlp_size, config.hidden_size
    name = ours.rsplit(".", 1)[-1]
    if name == "expert_gate_up":
        if back:
            return tensor.view(count, width, size, 2).permute(0, 3, 2, 1).reshape(-1, width)
        return tensor.view(count, 2, size, width).permute(0, 3, 2, 1).reshape(count, width, 2 * size)
    if name == "expert_up_bias":
        if back:
            return tensor.view(count, size, 2).transpose(1, 2).flatten()
        return tensor.view(count, 2, size).transpose(1, 2).reshape(count, 2 * size)
    if name == "expert_down":
        return tensor.mT.reshape(-1, size) if back else tensor.view(count, width, size).mT
    if name == "expert_down_bias":
        return tensor.flatten() if back else tensor.view(count, width)
    return tensor
