"""Muon whose work is shared out: each matrix has one owner, which alone orthogonalises it.

Momentum lies in pieces, as the weights do. One all-to-all brings every piece of a matrix's update to its owner, one brings the
orthogonalised pieces back to all that hold them; of large models in several rounds, so that the whole matrices of one round alone exist. Owners are chosen among a matrix's holders so that each has as little to do as can
be (costliest matrix first, to the least burdened). The same arithmetic as `aether.stages.train.optimisers.muon.Muon`; the idea is that of
distributed Shampoo (arXiv 2309.06497, section 3.3).
"""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aether.stages.train.optimisers.muon import orthogonalise, polynomials
from aether.stages.train.optimisers.portions import WORK_VALUES, portion
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.parallel.pieces import Block, pieces_of
from aether.stages.train.recipe_optimiser import Optimiser


def costliest_first(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The matrices' names, alike on every process."""
    return sorted(shapes, key=lambda name: (-_cost(shapes[name]), name))


def owners(holders: Mapping[str, list[int]], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """By matrix name: the rank that orthogonalises it."""
    burden: dict[int, float] = defaultdict(float)
    chosen = {}
    for name in costliest_first({name: shapes[name] for name in holders}):
        chosen[name] = min(holders[name], key=lambda rank: (burden[rank], rank))
        burden[chosen[name]] += _cost(shapes[name])
    return chosen


def rounds(shapes: Mapping[str, tuple[int, ...]], most: int) -> list[list[str]]:
    """The names in the order in which owners are chosen, cut where the values of a round would be more than `most`."""
    found: list[list[str]] = []
    room = 0
    for name in costliest_first(shapes):
        values = math.prod(shapes[name])
        if not found or values > room:
            found.append([])
            room = most
        found[-1].append(name)
        room -= values
    return found


def _cost(shape: tuple[int, ...]) -> float:
    small, large = min(shape), max(shape)
    return 4.0 * small**2 * large + 2.0 * small**3


class SharedMuon:
    """As `Muon`, over the pieces that this process holds. A collective: every process of the job steps together."""

    def __init__(
        self,
        blocks: Mapping[nn.Parameter, list[Block]],
        weights: list[Weight],
        settings: Optimiser,
        dtype: torch.dtype,
        work_values: int = WORK_VALUES,
    ) -> None:
        parameters = [weight.parameter for weight in weights]
        self._weights, self._dtype = weights, dtype
        self._coefficients = polynomials(settings.newton_schulz, settings.newton_schulz_steps)
        self.momenta = [torch.zeros_like(parameter) for parameter in parameters]
        self._held = [blocks[parameter] for parameter in parameters]
        mine = [block for held in self._held for block in held]
        everyone: list[list[Block]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(everyone, mine)
        self._of = [{block.name: block for block in blocks} for blocks in everyone]
        self._holders: dict[str, list[int]] = defaultdict(list)
        for rank, found in enumerate(self._of):
            for name in found:
                self._holders[name].append(rank)
        shapes = {name: block.whole for found in self._of for name, block in found.items()}
        self._owner = owners(self._holders, shapes)
        self.rounds = rounds(shapes, len(everyone) * work_values)
        """Names of matrices that are whole at the same time, each at its owner."""

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the gradients of the local pieces, in whose place the momentum is left, looked ahead."""
        ahead: dict[str, Tensor] = {}
        moved: dict[str, tuple[Tensor, float]] = {}
        for weight, momentum, blocks in zip(self._weights, self.momenta, self._held, strict=True):
            grad, lr = weight.parameter.grad, weight.lr * rates.factor
            assert grad is not None
            momentum.lerp_(grad, 1 - rates.momentum)
            ahead |= {p.block.name: p.tensor for p in pieces_of(grad.lerp_(momentum, rates.momentum), blocks)}
            if weight.weight_decay:
                weight.parameter.mul_(1 - lr * weight.weight_decay)
            for piece in pieces_of(weight.parameter, blocks):
                rows, columns = piece.block.whole
                moved[piece.block.name] = piece.tensor, lr * math.sqrt(max(1.0, rows / columns))
        for names in self.rounds:
            matrices = self._bring(names, ahead)
            self._orthogonalise(matrices)
            for name, update in self._return(names, matrices).items():
                tensor, rate = moved[name]
                tensor.add_(update, alpha=-rate)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name: a piece of momentum for each weight."""
        return {str(i): momentum for i, momentum in enumerate(self.momenta)}

    def _sent(self, rank: int, name: str) -> bool:
        """Whether `rank` sends its piece: of equal pieces, the first holder does."""
        block = self._of[rank].get(name)
        return block is not None and rank == next(r for r in self._holders[name] if self._of[r][name] == block)

    def _bring(self, names: list[str], ahead: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole matrices at their owners."""
        me, ranks = dist.get_rank(), range(len(self._of))
        sent = [name for name in names if self._sent(me, name)]
        outgoing = [[n for n in sent if self._owner[n] == rank] for rank in ranks]
        incoming = [[n for n in names if self._owner[n] == me and self._sent(rank, n)] for rank in ranks]
        sizes = [[self._of[rank][n].sizes for n in found] for rank, found in enumerate(incoming)]
        received = exchange([[ahead[n] for n in found] for found in outgoing], sizes, self.momenta[0])
        matrices: dict[str, Tensor] = {}
        for rank, found in enumerate(incoming):
            for name, tensor in zip(found, received[rank], strict=True):
                block = self._of[rank][name]
                matrix = matrices.setdefault(name, tensor.new_empty(block.whole))
                matrix[_place(block)] = tensor
        return matrices

    def _orthogonalise(self, matrices: Mapping[str, Tensor]) -> None:
        """In place, a portion of those of one shape at a time."""
        stacks: dict[torch.Size, list[str]] = defaultdict(list)
        for name, matrix in matrices.items():
            stacks[matrix.shape].append(name)
        for shape, names in stacks.items():
            count = portion(shape)
            for first in range(0, len(names), count):
                some = names[first : first + count]
                stack = torch.stack([matrices[name] for name in some])
                for name, one in zip(some, orthogonalise(stack, self._coefficients, self._dtype), strict=True):
                    matrices[name].copy_(one)

    def _return(self, names: list[str], matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's pieces of what the owners made."""
        me, ranks = dist.get_rank(), range(len(self._of))
        outgoing = [
            [matrices[n][_place(found[n])] for n in names if n in found and n in matrices] for found in self._of
        ]
        mine = [name for name in names if name in self._of[me]]
        incoming = [[n for n in mine if self._owner[n] == rank] for rank in ranks]
        sizes = [[self._of[me][n].sizes for n in found] for found in incoming]
        received = exchange(outgoing, sizes, self.momenta[0])
        return {n: t for found, ts in zip(incoming, received, strict=True) for n, t in zip(found, ts, strict=True)}


def _place(block: Block) -> tuple[slice, ...]:
    return tuple(slice(offset, offset + size) for offset, size in zip(block.offsets, block.sizes, strict=True))


def exchange(outgoing: list[list[Tensor]], sizes: list[list[tuple[int, ...]]], like: Tensor) -> list[list[Tensor]]:
    """Send each rank its tensors, and get from each rank tensors of the given sizes: one all-to-all, in the type of `like`."""
    parts = [t.reshape(-1) for tensors in outgoing for t in tensors]
    buffer = torch.cat(parts) if parts else like.new_empty(0)
    counts = [sum(math.prod(size) for size in of_rank) for of_rank in sizes]
    received = like.new_empty(sum(counts))
    dist.all_to_all_single(received, buffer, counts, [sum(t.numel() for t in tensors) for tensors in outgoing])
    found = []
    for flat, of_rank in zip(received.split(counts), sizes, strict=True):
        split = flat.split([math.prod(size) for size in of_rank])
        found.append([part.view(size) for part, size in zip(split, of_rank, strict=True)] if of_rank else [])
    return found
