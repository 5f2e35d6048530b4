"""Tensor parallelism with sequence parallelism: heads and MLP columns shared out, and between the matrices the tokens.

Megatron-LM's cut (Shoeybi et al., arXiv 1909.08053): query, key, value, gate and up by rows, out and down by columns. Around each pair
the stream is gathered and its sum scattered again by tokens (Korthikanti et al., arXiv 2205.05198, section 4.2), so norms, embedding
and loss work on a share of the tokens. The embedding is whole on every process of the axis.

Shapes: B windows, t tokens of this process, C hidden size.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aether.models.decoder import Decoder
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.pieces import cut
from aether.stages.train.parallel.sharding import Cuts

_CUT_ALONG = {"qkv": 0, "gate_up": 0, "up": 0, "out": 1, "down": 1}
"""Dimension of each matrix that is shared out, by the last part of its name."""


def _gather(x_BtC: Tensor, group: dist.ProcessGroup) -> Tensor:
    parts = [torch.empty_like(x_BtC, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, x_BtC.contiguous(), group=group)
    return torch.cat(parts, dim=1)


def _scatter(x_BTC: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The sum over the processes, of this one's tokens."""
    parts = torch.stack(x_BTC.chunk(dist.get_world_size(group), dim=1)).contiguous()
    own = torch.empty_like(parts[0])
    dist.reduce_scatter_tensor(own, parts.flatten(0, 1), group=group)
    return own


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return _gather(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _scatter(grads[0], ctx.group), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return _scatter(x, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _gather(grads[0], ctx.group), None


def enter(x_BtC: Tensor, group: dist.ProcessGroup) -> Tensor:
    """`Seams.enter`: the tokens of all processes, [B, t * n, C]. A collective."""
    return _Gather.apply(x_BtC, group)  # pyright: ignore[reportReturnType]


def leave(x_BTC: Tensor, group: dist.ProcessGroup) -> Tensor:
    """`Seams.leave`: the sum of what all processes made of this one's tokens, [B, T / n, C]. A collective."""
    return _Scatter.apply(x_BTC, group)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def cut_matrices(model: Decoder, cuts: Cuts, team: Team) -> set[str]:
    """Leave of each matrix this process's share, in the model and in `cuts`; the names of those that were cut."""
    place, size, found = team.place("tensor"), team.size("tensor"), set()
    if size == 1:
        return found
    for name, parameter in list(model.named_parameters()):
        owner, _, last = name.rpartition(".")
        if not name.startswith("blocks.") or last not in _CUT_ALONG:
            continue
        dim = _CUT_ALONG[last]
        rows = parameter.split([block.sizes[0] for block in cuts[name]])
        own = torch.cat([part.chunk(size, dim)[place] for part in rows])
        setattr(model.get_submodule(owner), last, nn.Parameter(own))
        cuts[name] = cut(cuts[name], dim, place, size)
        found.add(name)
    local = {"heads": model.config.heads // size, "kv_heads": model.config.kv_heads // size}
    for block in model.blocks:
        block.config = model.config.model_copy(update=local)  # pyright: ignore[reportArgumentType]
    return found
