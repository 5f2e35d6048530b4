"""Parts of a tensor gathered from all processes of a group, and its transpose, a sum scattered over them; with gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def _gather(part: Tensor, dim: int, group: dist.ProcessGroup) -> Tensor:
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, part.contiguous(), group=group)
    return torch.cat(parts, dim=dim)


def _scatter(whole: Tensor, dim: int, group: dist.ProcessGroup) -> Tensor:
    parts = torch.stack(whole.chunk(dist.get_world_size(group), dim=dim)).contiguous()
    own = torch.empty_like(parts[0])
    dist.reduce_scatter_tensor(own, parts.flatten(0, 1), group=group)
    return own


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gathers: bool, dim: int, group: Any) -> Tensor:
        ctx.back = (_scatter if gathers else _gather, dim, group)
        return (_gather if gathers else _scatter)(x, dim, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        transpose, dim, group = ctx.back
        return transpose(grads[0], dim, group), None, None, None


def gather(part: Tensor, dim: int, group: dist.ProcessGroup) -> Tensor:
    """The parts of all processes, one after another along `dim`. A collective, also in the backward pass."""
    return _Exchange.apply(part, True, dim, group)  # pyright: ignore[reportReturnType]


def scatter(whole: Tensor, dim: int, group: dist.ProcessGroup) -> Tensor:
    """This process's part along `dim` of the sum of what all have. A collective, also in the backward pass."""
    return _Exchange.apply(whole, False, dim, group)  # pyright: ignore[reportReturnType]
