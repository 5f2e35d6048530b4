"""Ulysses: for attention alone, processes change from some tokens of all heads to all tokens of some heads (arXiv 2309.14509).

Tokens lie in their order. Heads and key-value heads must be multiples of the processes. Attention itself is SDPA's, with a square
mask where a window holds several documents.

Shapes: B windows, H query heads, K key-value heads, t tokens of this process, T of all, D head size.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def _swap(x: Tensor, scatter: int, gather: int, group: dist.ProcessGroup) -> Tensor:
    """Split dimension `scatter` among the processes, and join what they send along `gather`."""
    sent = torch.stack(x.chunk(dist.get_world_size(group), dim=scatter)).contiguous()
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return torch.cat(received.unbind(), dim=gather)


class _Swap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scatter: int, gather: int, group: Any) -> Tensor:
        ctx.back = (gather, scatter, group)
        return _swap(x, scatter, gather, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _swap(grads[0], *ctx.back), None, None, None


def ulysses_attention(
    q_BHtD: Tensor, k_BKtD: Tensor, v_BKtD: Tensor, documents_BT: Tensor | None, group: dist.ProcessGroup
) -> Tensor:
    """Causal attention within documents over the whole windows, of this process's tokens: [B, t, H * D]. A collective."""
    q, k, v = (_Swap.apply(x, 1, 2, group) for x in (q_BHtD, k_BKtD, v_BKtD))
    assert isinstance(q, Tensor) and isinstance(k, Tensor) and isinstance(v, Tensor)
    seen = None
    if documents_BT is not None:
        seen = (documents_BT[:, None, :, None] == documents_BT[:, None, None, :]).tril()
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=seen, is_causal=seen is None, enable_gqa=q.shape[1] != k.shape[1]
    )
    back: Tensor = _Swap.apply(out, 2, 1, group)  # pyright: ignore[reportAssignmentType]
    return back.transpose(1, 2).flatten(2)
