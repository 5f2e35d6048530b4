"""Ring attention: each process keeps its queries, and keys and values go round (Liu et al., arXiv 2310.01889).

Tokens lie in zig-zag order: of 2n equal chunks process r holds r and 2n - 1 - r, so that under a causal mask every process has the
same work in every round (as Brandon et al.'s striped order does, arXiv 2311.09431). Blocks are added up by the logarithms of their
sums. In the backward pass the gradients of keys and values go round with them and end at home. Keys are sent with their own heads;
copies for grouped queries are made where they are used.

Shapes: B windows, H query heads, K key-value heads, G = H / K, t tokens of this process, T of all, D head size.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from aether.stages.train.parallel import fused


def zigzag(tokens: int, place: int, size: int) -> Tensor:
    """The positions that process `place` of `size` holds, in order."""
    first, last = (torch.arange(tokens).chunk(2 * size)[i] for i in (place, 2 * size - 1 - place))
    return torch.cat((first, last))


def _pass_round(tensors: list[Tensor], group: dist.ProcessGroup) -> list[Tensor]:
    """Give the next process these tensors; get those of the one before."""
    place, size = dist.get_rank(group), dist.get_world_size(group)
    after, before = (dist.get_global_rank(group, (place + step) % size) for step in (1, -1))
    received = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors]
    sends = [dist.P2POp(dist.isend, tensor.contiguous(), after, group) for tensor in tensors]
    receives = [dist.P2POp(dist.irecv, tensor, before, group) for tensor in received]
    for work in dist.batch_isend_irecv(sends + receives):
        work.wait()
    return received


class _Round:
    """What a process's queries see of the chunks that process `source` holds."""

    def __init__(self, place: int, source: int, tokens: int, documents: Tensor | None, size: int) -> None:
        half = tokens // 2
        self.causal = source == place
        self.queries = slice(half, None) if source > place else slice(None)
        self.keys = slice(None, half) if source < place else slice(None)
        self.seen: Tensor | None = None
        if documents is not None:
            mine, theirs = (documents[:, zigzag(tokens * size, p, size)] for p in (place, source))
            seen = mine[:, self.queries, None] == theirs[:, None, self.keys]
            self.seen = (seen.tril() if self.causal else seen)[:, None]
            self.causal = False

    @property
    def nothing(self) -> bool:
        """Whether no query sees any of it: then no kernel runs."""
        return self.seen is not None and not bool(self.seen.any())


def _rounds(tokens: int, documents: Tensor | None, group: dist.ProcessGroup) -> list[_Round]:
    place, size = dist.get_rank(group), dist.get_world_size(group)
    return [_Round(place, (place - i) % size, tokens, documents, size) for i in range(size)]


def _add(total: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor], rows: slice) -> None:
    """Add a block's attention to `rows` of the total, both weighted by their sums; in place, in float32."""
    (out, sums), (new_out, new_sums) = total, part
    old = sums[:, :, rows]
    both = torch.logaddexp(old, new_sums)
    # Where neither saw anything the difference has no value; both outputs are zero there.
    shares = [(x - both).exp().nan_to_num_(0.0)[..., None] for x in (old, new_sums)]
    out[:, :, rows] = out[:, :, rows] * shares[0] + new_out * shares[1]
    sums[:, :, rows] = both


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None, group: Any) -> Tensor:
        groups, tokens = q.shape[1] // k.shape[1], q.shape[2]
        rounds = _rounds(tokens, documents, group)
        out = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
        sums = torch.full(q.shape[:3], float("-inf"), device=q.device)
        moving = [k, v]
        for i, one in enumerate(rounds):
            if not one.nothing:
                keys, values = (x[:, :, one.keys].repeat_interleave(groups, 1) for x in moving)
                part = fused.attend(q[:, :, one.queries], keys, values, one.causal, one.seen)
                _add((out, sums), part, one.queries)
            if i + 1 < len(rounds):
                moving = _pass_round(moving, group)
        out = out.to(q.dtype)
        ctx.save_for_backward(q, k, v, out, sums)
        ctx.rounds, ctx.group = rounds, group
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, out, sums = ctx.saved_tensors
        grad = grads[0].contiguous()
        batch, kv_heads, _, size = k.shape
        grad_q = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
        moving = [k, v]
        grown = [torch.zeros(k.shape, dtype=torch.float32, device=q.device) for _ in range(2)]
        for i, one in enumerate(ctx.rounds):
            if not one.nothing:
                rows = one.queries
                operands = [x[:, :, one.keys].repeat_interleave(q.shape[1] // kv_heads, 1) for x in moving]
                given = (grad[:, :, rows], (q[:, :, rows], operands[0], operands[1]), out[:, :, rows])
                found = fused.gradients(*given, sums[:, :, rows].contiguous(), one.causal, one.seen)
                grad_q[:, :, rows] += found[0]
                for total, copies in zip(grown, found[1:], strict=True):
                    total[:, :, one.keys] += copies.view(batch, kv_heads, -1, copies.shape[2], size).sum(2)
            # One more round than in the forward pass brings the gradients home.
            moving, grown = (
                moving if i + 1 == len(ctx.rounds) else _pass_round(moving, ctx.group),
                _pass_round(grown, ctx.group),
            )
        return grad_q.to(q.dtype), grown[0].to(k.dtype), grown[1].to(v.dtype), None, None


def ring_attention(
    q_BHtD: Tensor, k_BKtD: Tensor, v_BKtD: Tensor, documents_BT: Tensor | None, group: dist.ProcessGroup
) -> Tensor:
    """Causal attention within documents over the whole windows, of this process's queries: [B, t, H * D]. A collective."""
    out: Tensor = _Ring.apply(q_BHtD, k_BKtD, v_BKtD, documents_BT, group)  # pyright: ignore[reportAssignmentType]
    return out.transpose(1, 2).flatten(2)
