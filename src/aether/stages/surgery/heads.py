"""Whole groups of attention heads taken out of every layer, the least important first. Does not keep the function.

Importance of a head is the mean over texts of |dL / d xi| for a factor xi = 1 on what it gives (Michel et al., arXiv 1905.10650,
equation 2), which is the inner product of its columns of the output matrix with their gradient; of a group, the sum over its
heads. As there, a layer's importances are divided by their norm; every layer loses as many groups, as the architecture has one number.

Shapes: H heads, K groups, D head size, C hidden size.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aether.models.parts.block import PartsBlock
from aether.spec.errors import InputError
from aether.stages.surgery.opened import Opened, demand


def drop_heads(opened: Opened, kv_heads: int, texts: Sequence[NDArray[np.int64]]) -> tuple[Opened, dict[str, object]]:
    """`kv_heads` groups stay in each layer. Raises InputError for a number that is not smaller, and for parts that read all heads."""
    demand(opened, "drop-heads", mixer="attention", mixer_pattern=None, latent=None)
    config = opened.config
    if config.qk_norm == "full" or config.positions == "alibi":
        name, value = ("qk_norm", "full") if config.qk_norm == "full" else ("positions", "alibi")
        raise InputError.of(f"model.{name}", value, "it depends on all heads of a layer: none can go by itself")
    if not 0 < kv_heads < config.kv_heads:
        raise InputError.of("kv_heads", kv_heads, f"fewer than the model's {config.kv_heads} groups, and one at least")
    importances = importance(opened, texts)
    kept = [sorted(np.argsort(-row, kind="stable")[:kv_heads].tolist()) for row in importances]
    tensors = dict(opened.tensors)
    for layer, groups in enumerate(kept):
        _cut(tensors, f"blocks.{layer}.", opened, groups)
    heads = kv_heads * (config.heads // config.kv_heads)
    told: dict[str, object] = {"kept": kept, "importance": [row.tolist() for row in importances]}
    return opened.resized(tensors, heads=heads, kv_heads=kv_heads), told


def importance(opened: Opened, texts: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
    """Each layer's importance of its groups [K]."""
    config, model = opened.config, opened.model()
    outs = [block.out for block in model.blocks if isinstance(block, PartsBlock)]
    totals = torch.zeros(len(outs), config.heads, dtype=torch.float64)
    for ids in texts:
        tokens = torch.from_numpy(ids)[None]
        gradients = torch.autograd.grad(model.loss(tokens[:, :-1], tokens[:, 1:]), outs)
        for layer, (out_CE, gradient) in enumerate(zip(outs, gradients, strict=True)):
            totals[layer] += (
                (out_CE.detach() * gradient).double().view(-1, config.heads, config.head_size).sum((0, 2)).abs()
            )
    groups = totals.view(len(outs), config.kv_heads, -1).sum(-1)
    return list((groups / groups.norm(dim=1, keepdim=True).clamp_min(1e-30)).numpy())


def _cut(tensors: dict[str, Tensor], prefix: str, opened: Opened, groups: list[int]) -> None:
    """Keep those groups of one layer's tensors."""
    config, size = opened.config, opened.config.head_size
    each = config.heads // config.kv_heads
    heads = torch.tensor([group * each + one for group in groups for one in range(each)])
    keys = torch.tensor(groups)

    def rows(units: Tensor) -> Tensor:
        return (units[:, None] * size + torch.arange(size)).flatten()

    first_key = config.heads * size
    first_value = first_key + config.kv_heads * size
    fused = torch.cat((rows(heads), first_key + rows(keys), first_value + rows(keys)))
    for name, index, dim in (("qkv", fused, 0), ("qkv_bias", fused, 0), ("out", rows(heads), 1), ("sink", heads, 0)):
        if prefix + name in tensors:
            tensors[prefix + name] = tensors[prefix + name].index_select(dim, index)
