"""A look into the layers of a training that several processes share: as `aether.stages.train.observe.Look`, one for all.

Squared norms of pieces are added up over the processes, each piece counted once. Activations are of one window of each share of the
batch, by the stage's own pass, and are put together: the root mean square and the largest value over all of them, the mean of the
shares of dead units and of the entropies. Where a window's tokens are shared out nobody sees whole scores, and in a pipeline no
process sees a whole pass: what would be wrong is left out.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from aether.stages.train.clipping import layer_of
from aether.stages.train.metrics import finite
from aether.stages.train.observe import watched
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.sharding import Held
from aether.stages.train.parallel.state import SharedState

_LARGEST = ("max", "attention_max")
_OF_WHOLE_SCORES = ("attention_max", "attention_entropy")


class SharedLook:
    """One look: before the update, and after it. A collective, both times."""

    @torch.no_grad()
    def __init__(self, state: SharedState, team: Team, forward: Callable[[], object]) -> None:
        began_s = time.perf_counter()
        self._team = team
        self._held = [held for held in state.shards.held if held.tensor.grad is not None and held.blocks]
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, [_layer(held) for held in self._held])
        self._names = list(dict.fromkeys(name for names in every for name in names))
        gradients = [held.tensor.grad for held in self._held if held.tensor.grad is not None]
        self._norms = {"grad": self._summed(gradients), "weight": self._summed([h.tensor.detach() for h in self._held])}
        whole = team.size("pipeline") == 1
        self._activations = self._put_together(watched(state.model, forward)) if whole else []
        self._before = [held.tensor.detach().clone() for held in self._held]
        self.cost_s = time.perf_counter() - began_s

    def _summed(self, tensors: list[Tensor]) -> list[float]:
        """The norm of every layer, given what this process holds."""
        total = torch.zeros(len(self._names), device=self._team.device)
        for held, tensor in zip(self._held, tensors, strict=True):
            total[self._names.index(_layer(held))] += tensor.float().square().sum() / held.copies
        return self._team.total(total).sqrt().tolist()

    def _put_together(self, layers: list[dict[str, Tensor]]) -> list[dict[str, float | None]]:
        if self._team.size("context") > 1:
            layers = [{n: value for n, value in one.items() if n not in _OF_WHOLE_SCORES} for one in layers]
        flat = [(place, name, value.float()) for place, one in enumerate(layers) for name, value in one.items()]
        largest = torch.stack([value for _, _, value in flat])
        means = torch.stack([value.square() if name == "rms" else value for _, name, value in flat])
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        means = self._team.total(means) / dist.get_world_size()
        found: list[dict[str, float | None]] = [{} for _ in layers]
        for (place, name, _), most, mean in zip(flat, largest.tolist(), means.tolist(), strict=True):
            found[place][name] = finite(most if name in _LARGEST else mean**0.5 if name == "rms" else mean)
        return found

    @torch.no_grad()
    def finish(self) -> dict[str, Any]:
        """As `Look.finish`."""
        began_s = time.perf_counter()
        moved = [held.tensor.detach() - old for held, old in zip(self._held, self._before, strict=True)]
        norms = self._norms | {"update": self._summed(moved)}
        found = {
            "layers": {n: {kind: finite(norms[kind][i]) for kind in norms} for i, n in enumerate(self._names)},
            "activations": {f"blocks.{place}": one for place, one in enumerate(self._activations)},
        }
        self._before = []
        self.cost_s += time.perf_counter() - began_s
        return found


def _layer(held: Held) -> str:
    """By the global name: a stage of a pipeline counts its blocks from zero."""
    return layer_of(held.blocks[0].name)
