"""A model in pieces: FSDP2 (`fully_shard`) over its layers, and its parameters as the plain tensors that this process holds.

Every process draws all weights from the seed and keeps its piece, so each layout starts from the same bits (and needs, once, memory
for all of them). Gradients are summed, never averaged: each loss is already divided by the tokens of the whole batch.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from aether.models.decoder import Decoder
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.pieces import Block, rows_between, whole_blocks

Cuts = dict[str, list[Block]]
"""By a parameter's name in this process's model: the blocks that its tensor holds before `fully_shard`."""


@dataclass(frozen=True)
class Held:
    """One parameter as this process holds it."""

    name: str
    tensor: nn.Parameter
    """The local piece, sharing memory with the model's own parameter; possibly without rows."""
    blocks: list[Block]
    copies: int
    """Processes that hold these same values."""
    tensor_replica: bool
    """Whether every process along `tensor` holds it: its gradient is a sum over them."""


def whole(model: Decoder) -> Cuts:
    """The blocks of a model that nothing has cut."""
    fused = model.fused_rows()
    return {n: whole_blocks(n, p.shape, fused.get(n.rsplit(".", 1)[-1])) for n, p in model.named_parameters()}


def shard(
    stage: nn.Module, blocks: Iterable[nn.Module], team: Team, sharded_apart: Callable[[nn.Module], nn.Module | None]
) -> None:
    """Shard a stage over the team, layer by layer. `sharded_apart` gives a layer's part that lies on `team.experts`, or None.

    What learns without a gradient (a router's bias) stays whole on every process.
    """
    ignored = {p for p in stage.parameters() if not p.requires_grad and p.ndim == 1}
    for block in blocks:
        apart = sharded_apart(block)
        if apart is not None:
            fully_shard(apart, mesh=_axes(team.experts), ignored_params=ignored)
        fully_shard(block, mesh=_axes(team.dense), ignored_params=ignored)
    fully_shard(stage, mesh=_axes(team.dense), ignored_params=ignored)
    for module in stage.modules():
        if isinstance(module, FSDPModule):
            # Gloo has no mean, and the losses need none.
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)


def _axes(mesh: DeviceMesh) -> DeviceMesh:
    return mesh["pieces"] if mesh.size(0) == 1 else mesh


class Shards:
    """The local pieces of a sharded model: what an optimiser updates and a checkpoint saves."""

    def __init__(self, model: Decoder, team: Team, cuts: Cuts, tensor_cut: set[str]) -> None:
        self._model, self._team = model, team
        self.config = model.config
        self.held = list(self._pieces(cuts, tensor_cut))
        self.blocks = {held.tensor: held.blocks for held in self.held}

    def _pieces(self, cuts: Cuts, tensor_cut: set[str]) -> Iterator[Held]:
        parallel = self._team.parallel
        for name, parameter in self._model.named_parameters():
            replica = name not in tensor_cut
            copies = parallel.replicate * (parallel.tensor if replica else 1)
            if parallel.pipeline > 1 and not name.startswith("blocks."):
                copies *= 2
            if parameter.__class__ is nn.Parameter or not isinstance(parameter, DTensor):
                copies *= parallel.expert * parallel.shard * parallel.context
                yield Held(name, parameter, cuts[name], copies, replica)
                continue
            with torch.no_grad():
                local = parameter.to_local()
            rows = -(-parameter.shape[0] // parameter.device_mesh.size(-1))
            begin = min(parameter.device_mesh.get_local_rank(-1) * rows, parameter.shape[0])
            blocks = rows_between(cuts[name], begin, begin + local.shape[0])
            yield Held(name, nn.Parameter(local, parameter.requires_grad), blocks, copies, replica)

    @property
    def dtype(self) -> torch.dtype:
        """As `Decoder.dtype`."""
        return self._model.dtype

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, local piece) of every parameter."""
        return ((held.name, held.tensor) for held in self.held)

    def fused_rows(self) -> dict[str, list[int]]:
        """As `Decoder.fused_rows`: of no use for pieces, whose blocks say it."""
        return {}

    def freeze_block_gains(self) -> None:
        """Nothing to do: they were frozen before they were cut."""

    def take_gradients(self) -> None:
        """Give the local pieces the gradients of the last backward pass, complete over the team."""
        gradients = {name: p.grad for name, p in self._model.named_parameters()}
        for held in self.held:
            gradient = gradients[held.name]
            held.tensor.grad = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        if self._team.size("tensor") > 1:
            _sum([h.tensor.grad for h in self.held if h.tensor_replica], self._team.group("tensor"))
        if self._team.ends is not None:
            shared = [held.tensor for held in self.held if not held.name.startswith("blocks.")]
            for tensor in shared:
                tensor.grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            _sum([tensor.grad for tensor in shared], self._team.ends)

    def drop_gradients(self) -> None:
        """Free them."""
        for held in self.held:
            held.tensor.grad = None
        for parameter in self._model.parameters():
            parameter.grad = None

    def squared_norm(self, device: torch.device) -> Tensor:
        """This process's share of the squared gradient norm: the shares of all add up to it."""
        total = torch.zeros((), device=device)
        for held in self.held:
            if held.tensor.grad is not None:
                total += held.tensor.grad.float().square().sum() / held.copies
        return total


def _sum(gradients: list[Tensor | None], group: dist.ProcessGroup) -> None:
    """One message for all of them."""
    found = [gradient for gradient in gradients if gradient is not None]
    flat = torch.cat([gradient.flatten() for gradient in found])
    dist.all_reduce(flat, group=group)
    for gradient, total in zip(found, flat.split([g.numel() for g in found]), strict=True):
        gradient.copy_(total.view_as(gradient))
