"""Muon whose work is shared out: each matrix has one owner, which alone orthogonalises it.

Momentum lies in pieces, as the weights do. One all-to-all brings every piece of a matrix's update to its owner, one brings the
orthogonalised pieces back to all that hold them. Owners are chosen among a matrix's holders so that each has as little to do as can
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
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.parallel.pieces import Block, Piece, pieces_of
from aether.stages.train.recipe_optimiser import Optimiser


def owners(holders: Mapping[str, list[int]], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """By matrix name: the rank that orthogonalises it."""
    burden: dict[int, float] = defaultdict(float)
    chosen = {}
    for name in sorted(holders, key=lambda n: (-_cost(shapes[n]), n)):
        chosen[name] = min(holders[name], key=lambda rank: (burden[rank], rank))
        burden[chosen[name]] += _cost(shapes[name])
    return chosen


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
        holders: dict[str, list[int]] = defaultdict(list)
        for rank, found in enumerate(self._of):
            for name in found:
                holders[name].append(rank)
        shapes = {name: block.whole for found in self._of for name, block in found.items()}
        self._owner = owners(holders, shapes)
        self._sends = [self._sent(rank, holders) for rank in range(len(everyone))]
        self.owned = sorted(name for name, rank in self._owner.items() if rank == dist.get_rank())
        """Matrices that this process orthogonalises, of all."""

    def _sent(self, rank: int, holders: Mapping[str, list[int]]) -> list[str]:
        """The matrices whose piece `rank` sends: of equal pieces, the first holder's."""
        found = []
        for name, block in self._of[rank].items():
            if next(r for r in holders[name] if self._of[r][name] == block) == rank:
                found.append(name)
        return sorted(found)

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the gradients of the local pieces."""
        pieces: dict[str, Piece] = {}
        for weight, momentum, blocks in zip(self._weights, self.momenta, self._held, strict=True):
            grad = weight.parameter.grad
            assert grad is not None
            momentum.lerp_(grad, 1 - rates.momentum)
            update = grad.lerp(momentum, rates.momentum)
            pieces |= {piece.block.name: piece for piece in pieces_of(update, blocks)}
        updates = self._return(self._orthogonalised(self._bring(pieces)))
        for weight, blocks in zip(self._weights, self._held, strict=True):
            lr = weight.lr * rates.factor
            if weight.weight_decay:
                weight.parameter.mul_(1 - lr * weight.weight_decay)
            for piece in pieces_of(weight.parameter, blocks):
                rows, columns = piece.block.whole
                piece.tensor.add_(updates[piece.block.name], alpha=-lr * math.sqrt(max(1.0, rows / columns)))

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name: a piece of momentum for each weight."""
        return {str(i): momentum for i, momentum in enumerate(self.momenta)}

    def _bring(self, pieces: Mapping[str, Piece]) -> dict[str, Tensor]:
        """Whole matrices at their owners."""
        me, ranks = dist.get_rank(), range(len(self._of))
        outgoing = [[n for n in self._sends[me] if self._owner[n] == rank] for rank in ranks]
        incoming = [[n for n in self._sends[rank] if self._owner[n] == me] for rank in ranks]
        sizes = [[self._of[rank][n].sizes for n in names] for rank, names in enumerate(incoming)]
        received = exchange([[pieces[n].tensor for n in names] for names in outgoing], sizes, self.momenta[0])
        found: dict[str, Tensor] = {}
        for rank, names in enumerate(incoming):
            for name, tensor in zip(names, received[rank], strict=True):
                block = self._of[rank][name]
                matrix = found.setdefault(name, tensor.new_empty(block.whole))
                place = tuple(slice(o, o + s) for o, s in zip(block.offsets, block.sizes, strict=True))
                matrix[place] = tensor
        return found

    def _orthogonalised(self, matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stacks: dict[torch.Size, list[str]] = defaultdict(list)
        for name in self.owned:
            stacks[matrices[name].shape].append(name)
        found: dict[str, Tensor] = {}
        for names in stacks.values():
            stack = torch.stack([matrices[name] for name in names])
            found |= dict(zip(names, orthogonalise(stack, self._coefficients, self._dtype).float(), strict=True))
        return found

    def _return(self, matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's pieces of what the owners made."""
        me, outgoing, incoming = dist.get_rank(), [], []
        for found in self._of:
            names = sorted(n for n in found if self._owner[n] == me)
            blocks = [found[n] for n in names]
            places = [tuple(slice(o, o + s) for o, s in zip(b.offsets, b.sizes, strict=True)) for b in blocks]
            outgoing.append([matrices[n][place] for n, place in zip(names, places, strict=True)])
        for rank in range(len(self._of)):
            incoming.append(sorted(n for n in self._of[me] if self._owner[n] == rank))
        sizes = [[self._of[me][n].sizes for n in names] for names in incoming]
        received = exchange(outgoing, sizes, self.momenta[0])
        pairs = ((n, t) for names, ts in zip(incoming, received, strict=True) for n, t in zip(names, ts, strict=True))
        return dict(pairs)


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
