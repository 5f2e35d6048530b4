"""Tensors of recurrent mixers under the names and shapes of their transformers class, and back, exactly (but for the rounding of one
addition: Qwen3-Next keeps the gains of the stream's norms less one).

Shapes: E inner channels, N state size, S taps, C hidden size, G key heads.
"""

import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.spec.architecture import Recurrence

_MAMBA_TOP = {"embedding": "backbone.embeddings.weight", "final_norm.gain": "backbone.norm_f.weight"}
_MAMBA = {
    "attention_norm.gain": "norm.weight",
    "mixer.taps": "mixer.conv1d.weight",
    "mixer.taps_bias": "mixer.conv1d.bias",
    "mixer.decay_log": "mixer.A_log",
    "mixer.skip": "mixer.D",
    "mixer.out": "mixer.out_proj.weight",
}
_OWN = {
    "mamba": {
        "mixer.mamba_in": "mixer.in_proj.weight",
        "mixer.mamba_select": "mixer.x_proj.weight",
        "mixer.mamba_dt": "mixer.dt_proj.weight",
        "mixer.step_bias": "mixer.dt_proj.bias",
    },
    "mamba2": {
        "mixer.mamba2_in": "mixer.in_proj.weight",
        "mixer.step_bias": "mixer.dt_bias",
        "mixer.norm.gain": "mixer.norm.weight",
    },
}
DELTA = {
    "mixer.delta_in": ("linear_attn.in_proj_qkvz.weight", "linear_attn.in_proj_ba.weight"),
    "mixer.taps": ("linear_attn.conv1d.weight",),
    "mixer.decay_log": ("linear_attn.A_log",),
    "mixer.step_bias": ("linear_attn.dt_bias",),
    "mixer.norm.gain": ("linear_attn.norm.weight",),
    "mixer.out": ("linear_attn.out_proj.weight",),
}
"""Qwen3-Next's names within a layer; the rest of the layer is as Llama's."""


def mamba_name(model_type: str, ours: str) -> str:
    """The tensor of `MambaForCausalLM` or `Mamba2ForCausalLM` that holds our parameter."""
    if not ours.startswith("blocks."):
        return _MAMBA_TOP[ours]
    _, layer, rest = ours.split(".", 2)
    return f"backbone.layers.{layer}.{(_MAMBA | _OWN[model_type])[rest]}"


def _sizes(config: DecoderConfig) -> Recurrence:
    sizes = config.recurrence_at(0)
    assert sizes is not None
    return sizes


def stored(model_type: str, config: DecoderConfig, ours: str, tensor: Tensor, back: bool) -> Tensor:
    """Our tensor as the class keeps it, or `back`."""
    if ours.endswith("mixer.taps"):
        return tensor.flatten() if back else tensor.view(-1, 1, _sizes(config).conv_size)
    if model_type == "mamba" and ours.endswith("mixer.decay_log"):
        return tensor.flatten() if back else tensor.view(-1, _sizes(config).state_size)
    if model_type == "qwen3_next" and ours.endswith("gain") and not ours.endswith("mixer.norm.gain"):
        return tensor + 1 if back else tensor - 1
    return tensor


def grouped(config: DecoderConfig, matrix: Tensor) -> list[Tensor]:
    """`delta_in` [.., C] as Qwen3-Next's two matrices: q, k, v, gate of each key head together, then b, a."""
    groups = _sizes(config).key_heads
    parts = [part.unflatten(0, (groups, -1)) for part in matrix.split(_rows(config))]
    return [torch.cat(some, dim=1).flatten(0, 1) for some in (parts[:4], parts[4:])]


def ungrouped(config: DecoderConfig, two: list[Tensor]) -> Tensor:
    """The other way."""
    groups, rows = _sizes(config).key_heads, _rows(config)
    shares = [count // groups for count in rows]
    parts = two[0].unflatten(0, (groups, -1)).split(shares[:4], dim=1)
    parts += two[1].unflatten(0, (groups, -1)).split(shares[4:], dim=1)
    return torch.cat([part.flatten(0, 1) for part in parts])


def _rows(config: DecoderConfig) -> list[int]:
    sizes = _sizes(config)
    keys = sizes.key_heads * (sizes.key_size or 0)
    return [keys, keys, sizes.inner_size, sizes.inner_size, sizes.heads, sizes.heads]
