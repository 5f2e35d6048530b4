"""One block of attention with the logarithm of its sums, and its backward pass: PyTorch's own fused kernels, called as operators.

`F.scaled_dot_product_attention` keeps the logarithms to itself; ring attention needs them to add blocks up. On a CPU the flash kernel;
on a GPU FlashAttention-2, and the memory-efficient kernel where there is a mask (checked for shapes alone: no GPU ran it).

Shapes: B windows, H heads, Q queries, P keys, D head size.
"""

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def attend(q_BHQD: Tensor, k_BHPD: Tensor, v_BHPD: Tensor, causal: bool, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """(attention [B, H, Q, D], logarithm of its sums [B, H, Q] in float32). `seen` [B, 1, Q, P] is boolean; not with `causal`.

    A query that sees nothing gets zeros and minus infinity.
    """
    q, k, v = q_BHQD, k_BHPD, v_BHPD
    if q.device.type == "cpu":
        out, sums = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=_bias(seen, q))
    elif seen is None:
        out, sums, *_ = _aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False)
    else:
        out, sums, *_ = _aten._scaled_dot_product_efficient_attention(q, k, v, _bias(seen, q, k), True, 0.0, causal)
        sums = sums[..., : q.shape[2]]
    if seen is not None:
        blind = ~seen.any(dim=-1)
        out, sums = out.masked_fill(blind[..., None], 0.0), sums.masked_fill(blind, float("-inf"))
    return out, sums


def gradients(
    grad: Tensor, operands: tuple[Tensor, Tensor, Tensor], out: Tensor, sums: Tensor, causal: bool, seen: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v through this block, given output, its gradient and the sums over all blocks."""
    q, k, v = operands
    if q.device.type == "cpu":
        back: Any = _aten._scaled_dot_product_flash_attention_for_cpu_backward
        return back(grad, q, k, v, out, sums, 0.0, causal, attn_mask=_bias(seen, q))
    zero = torch.zeros((), dtype=torch.int64, device=q.device)
    if seen is None:
        state = torch.zeros(2, dtype=torch.uint64, device=q.device)
        back = _aten._scaled_dot_product_flash_attention_backward
        queries, keys = q.shape[2], k.shape[2]
        return back(grad, q, k, v, out, sums, None, None, queries, keys, 0.0, causal, state, zero)
    # The kernel wants its sums padded to whole rows of 32.
    padded = torch.nn.functional.pad(sums, (0, -sums.shape[-1] % 32)).contiguous()
    back = _aten._scaled_dot_product_efficient_attention_backward
    wanted = [True, True, True, False]
    return back(grad, q, k, v, _bias(seen, q, k), out, padded, zero, zero, 0.0, wanted, causal)[:3]


def _bias(seen: Tensor | None, q: Tensor, k: Tensor | None = None) -> Tensor | None:
    """Zero where a query may look and minus infinity elsewhere; with `k` of every head, as the memory-efficient kernel wants it."""
    if seen is None:
        return None
    bias = torch.zeros(seen.shape, dtype=q.dtype, device=q.device).masked_fill_(~seen, float("-inf"))
    return bias if k is None else bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
