"""Text that is tokenised while several processes train: by the workers of the first one, which hands every batch to all.

The windows are those of one process, so a checkpoint goes on under any layout. A batch of B windows of T tokens is 16 B (T + 1) bytes to each
process, beside which the gradients of an update are large.

Shapes: B windows of the batch, T tokens.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from aether.models.corpus import Document
from aether.spec.errors import InputError
from aether.stages.train.batches import MixedWindows, windows
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.streaming import StreamedWindows


class Handed:
    """Batches in order, which only the first process reads; `take` hands one to all. Methods are collectives but for `batch`."""

    def __init__(self, team: Team, own: StreamedWindows | MixedWindows | None, context_tokens: int) -> None:
        self._team, self._own, self._length = team, own, context_tokens + 1
        self._first, self._held = 0, np.empty((2, 0, self._length), np.int64)

    @classmethod
    def of(cls, team: Team, recipe: TrainRecipe, inputs: Mapping[str, Path], seed: int) -> "Handed":
        """Of a recipe with texts: the others open none of them."""
        own = windows(recipe, inputs, seed) if team.first else None
        assert own is None or isinstance(own, StreamedWindows | MixedWindows)
        return cls(team, own, recipe.model.context_tokens)

    def take(self, first: int, count: int) -> None:
        """Have samples first .. first + count - 1 at hand. Raises InputError in every process where the text is none."""
        fault, held = None, torch.zeros(2, count, self._length, dtype=torch.int64)
        if self._own is not None:
            try:
                held = torch.from_numpy(np.stack(self._own.batch(first, count)))
            except InputError as error:
                fault = str(error)
                held[:] = -1
        dist.broadcast(held, src=0)
        # Tokens are counted from zero, and of a batch that was read not all are -1.
        if count and bool((held[0] == -1).all()):
            raise InputError(str(self._team.tell_all(fault)))
        self._first, self._held = first, held.numpy()

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the batch at hand: (tokens int64 [count, T + 1], document ids int64 [count, T + 1])."""
        begin = first - self._first
        assert begin >= 0 and begin + count <= self._held.shape[1], "a window of a batch that was not handed on"
        return self._held[0, begin : begin + count], self._held[1, begin : begin + count]

    def documents(self, index: int) -> tuple[Document, ...]:
        """Known to the first process, which tells them."""
        return () if self._own is None else self._own.documents(index)

    def ready(self) -> None:
        """Wait for the first windows."""
        fault = None
        if self._own is not None:
            try:
                self._own.ready()
            except InputError as error:
                fault = str(error)
        if fault := self._team.tell_all(fault):
            raise InputError(str(fault))

    def state(self, cursor: int) -> dict[str, Any]:
        """The first process's, which writes it."""
        return {} if self._own is None else self._own.state(cursor)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        if self._own is not None:
            self._own.load(state)

    def close(self) -> None:
        """End the workers."""
        if self._own is not None:
            self._own.close()
