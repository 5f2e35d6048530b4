"""A run at one moment, as one process of several holds it: its pieces, and what all of them know.

`pieces` names every live tensor by the global tensor that it is a piece of, so that a checkpoint fits any layout. Snapshots to
rewind to are pieces too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aether.stages.train.parallel.layout import Stage
from aether.stages.train.parallel.pieces import Block, Piece, pieces_of
from aether.stages.train.parallel.sharding import Shards
from aether.stages.train.state import Snapshot, TrainState


@dataclass
class SharedState(TrainState):
    """As `TrainState`; `stage` is what is called in training, `shards` are the local pieces of `model`."""

    stage: Stage = None  # pyright: ignore[reportAssignmentType]
    shards: Shards = None  # pyright: ignore[reportAssignmentType]

    def tensors(self) -> dict[str, Tensor]:
        """Every live tensor of weights and optimiser that this process holds."""
        named = {f"model.{h.name}": h.tensor.detach() for h in self.shards.held}
        return named | {f"optimiser.{name}": t for name, t in self.optimisers.tensors().items()}

    def pieces(self) -> list[Piece]:
        """All tensors, the snapshot's too, as pieces of global ones."""
        owners = self._owners()
        found = list(_named(self.tensors(), owners, ""))
        return found if self.snapshot is None else found + list(_named(self.snapshot.tensors, owners, "snapshot."))

    def _owners(self) -> dict[str, tuple[str, nn.Parameter, list[Block]]]:
        """By a tensor's name: what it is of a parameter, the parameter, and its blocks."""
        optimisers, blocks = self.optimisers, self.shards.blocks
        found = {f"model.{h.name}": ("model.", h.tensor, h.blocks) for h in self.shards.held}
        for i, parameter in enumerate(optimisers.matrices):
            found[f"optimiser.muon.{i}"] = ("optimiser.muon.", parameter, blocks[parameter])
        for i, parameter in enumerate(optimisers.plain):
            for key in ("step", "exp_avg", "exp_avg_sq"):
                found[f"optimiser.adam.{i}.{key}"] = (f"optimiser.adam.{key}.", parameter, blocks[parameter])
        return found

    def expect(self, plain: dict[str, Any]) -> None:
        """Make room for the snapshot that a checkpoint's `plain` speaks of, so that `pieces` names it."""
        held = plain.get("snapshot")
        if held is not None:
            empty = {name: torch.empty_like(tensor) for name, tensor in self.tensors().items()}
            self.snapshot = Snapshot(held["step"], empty, held["guard"])


def _named(
    tensors: dict[str, Tensor], owners: dict[str, tuple[str, nn.Parameter, list[Block]]], prefix: str
) -> Iterator[Piece]:
    for name, tensor in tensors.items():
        kind, _, blocks = owners[name]
        if tensor.ndim == 0:
            # A count of steps: the same on every process that holds some of the parameter.
            for block in blocks[:1]:
                whole = replace(block, name=f"{prefix}{kind}{block.name}", whole=(1,), offsets=(0,), sizes=(1,))
                yield Piece(whole, tensor.view(1))
            continue
        yield from pieces_of(tensor, blocks, prefix + kind)
