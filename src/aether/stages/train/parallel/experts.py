"""Expert parallelism: each process of a group holds some experts whole, and tokens travel to their experts and back.

Rows sorted by expert go out in one uneven all-to-all, are sorted by local expert, pass grouped products, and come back the same way
(GShard, arXiv 2006.16668, without its capacity: nothing is dropped). Other weights are shared as without experts. Counts of routed
tokens are summed over all processes before the balance loss and the balancing bias see them.

Shapes: M rows of this process, R rows received, C hidden size, E experts, e experts of this process, n processes.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from aether.models.decoder import Decoder
from aether.models.parts.experts import MixtureOfExperts, through
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.pieces import rows_between
from aether.stages.train.parallel.sharding import Cuts


def _send(x_MC: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    out = x_MC.new_empty(sum(received), x_MC.shape[1])
    dist.all_to_all_single(out, x_MC.contiguous(), received, sent, group=group)
    return out


class _Send(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sent: list[int], received: list[int], group: Any) -> Tensor:
        ctx.back = (received, sent, group)
        return _send(x, sent, received, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _send(grads[0], *ctx.back), None, None, None


class DispatchedExperts(nn.Module):
    """This process's experts, and the way to those of the others."""

    def __init__(self, kind: str, matrices: tuple[Tensor, Tensor], group: dist.ProcessGroup) -> None:
        super().__init__()
        self.kind, self.group = kind, group
        self.expert_up, self.expert_down = (nn.Parameter(matrix) for matrix in matrices)

    def forward(self, rows_MC: Tensor, counts_E: Tensor) -> Tensor:
        """Rows sorted by expert, `counts_E` of each, through their experts: [M, C]. A collective."""
        size = dist.get_world_size(self.group)
        out_ne = counts_E.view(size, -1)
        in_ne = torch.empty_like(out_ne)
        dist.all_to_all_single(in_ne, out_ne.contiguous(), group=self.group)
        sent, received = out_ne.sum(1).tolist(), in_ne.sum(1).tolist()
        rows_RC = _Send.apply(rows_MC, sent, received, self.group)
        assert isinstance(rows_RC, Tensor)
        local = torch.arange(in_ne.shape[1], device=rows_MC.device).repeat(size)
        order_R = local.repeat_interleave(in_ne.flatten()).argsort(stable=True)
        made_RC = through(self.kind, rows_RC[order_R], (self.expert_up, self.expert_down), in_ne.sum(0))
        return _Send.apply(made_RC[order_R.argsort()], received, sent, self.group)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def cut_experts(model: Decoder, cuts: Cuts, team: Team) -> None:
    """Leave this process's experts, in the model and in `cuts`; let routers count over the team."""
    place, size = team.place("expert"), team.size("expert")
    for layer, block in enumerate(model.blocks):
        mixture = getattr(block, "mlp", None)
        if not isinstance(mixture, MixtureOfExperts):
            continue
        mixture.total = _total
        if size == 1:
            continue
        own, prefix = [], f"blocks.{layer}.mlp."
        names = ("expert_gate_up" if mixture.gated else "expert_up", "expert_down")
        for name, held, matrix in zip(names, ("expert_up", "expert_down"), mixture.matrices(), strict=True):
            rows = matrix.shape[0] // size
            own.append(matrix[place * rows : (place + 1) * rows].clone())
            blocks = cuts.pop(prefix + name)
            cuts[f"{prefix}elsewhere.{held}"] = rows_between(blocks, place * rows, (place + 1) * rows)
            mixture.register_parameter(name, None)
        mixture.elsewhere = DispatchedExperts(mixture.kind, (own[0], own[1]), team.group("expert"))


def _total(x: Tensor) -> Tensor:
    """Over all processes: with experts there are no others than those that share a batch's tokens."""
    total = x.clone()
    dist.all_reduce(total)
    return total


def sharded_apart(block: nn.Module) -> nn.Module | None:
    """A layer's experts, whose pieces lie among fewer processes."""
    mixture = getattr(block, "mlp", None)
    return mixture.elsewhere if isinstance(mixture, MixtureOfExperts) else None
