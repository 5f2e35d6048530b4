"""The training loop of several processes: the same updates as one would make, each process with its share of every batch.

A batch is a function of the step alone: processes only divide its windows. Loss and gradient norm are summed over all, so every
process judges alike. The first process's clock decides when a checkpoint is due, and it alone keeps the logs.
"""

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule

from aether.spec.run import StepContext
from aether.stages.train.alerts import Alerts
from aether.stages.train.batches import cut
from aether.stages.train.clipping import Named
from aether.stages.train.loop import Batches, Loop, new_clipper, new_model
from aether.stages.train.metrics import Logs
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.parallel import checkpoint
from aether.stages.train.parallel.handing import Handed
from aether.stages.train.parallel.layout import lay_out
from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.muon import SharedMuon
from aether.stages.train.parallel.observe import SharedLook
from aether.stages.train.parallel.pipeline import Pipeline
from aether.stages.train.parallel.recipe import passes, share
from aether.stages.train.parallel.state import SharedState
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.spikes import SpikeGuard

FOLDER = "checkpoint/sharded"
"""Of a step's output: where its checkpoints lie."""
ERROR = "tmp/error.json"
"""Of a step's output: where a process leaves a sentence for a person."""


def new_shared_state(recipe: TrainRecipe, seed: int, team: Team) -> SharedState:
    """A run before its first update, cut and sharded over the team."""
    model = new_model(recipe, seed)
    if not recipe.optimiser.learn_block_gains:
        model.freeze_block_gains()
    stage, shards = lay_out(model, team)
    optimisers = Optimisers(shards, recipe.optimiser, partial(SharedMuon, shards.blocks))
    return SharedState(
        model,
        optimisers,
        SpikeGuard(recipe.spikes),
        new_clipper(recipe),
        Alerts(recipe.watch),
        stage=stage,
        shards=shards,
    )


class _NoLogs(Logs):
    """What the other processes write to: nothing."""

    def __init__(self) -> None:
        self._files = {}

    def write(self, name: str, line: dict[str, Any]) -> None:
        """Nothing is kept."""

    def __exit__(self, *_: object) -> None:
        pass


class SharedLoop(Loop):
    """As `Loop`, carried out by a team."""

    state: SharedState

    def __init__(
        self, recipe: TrainRecipe, state: SharedState, data: Batches, context: StepContext, team: Team
    ) -> None:
        super().__init__(recipe, state, data, context)
        self.team = team
        self._saver = checkpoint.Saver(self.folder, team.saving)
        self._due = self._looks = False
        self._told_wait_s = 0.0
        self._told_memory_bytes = 0
        self._pipeline = Pipeline(recipe.model, state.model.dtype, state.stage, team)

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.context.out / FOLDER

    def run(self, identity: str) -> None:
        """As `Loop.run`; the last checkpoint is on the disk when it returns."""
        try:
            super().run(identity)
        finally:
            if isinstance(self.data.inner, Handed):
                self.data.inner.close()
            self._saver.finish()

    def _open_logs(self) -> Logs:
        return super()._open_logs() if self.team.first else _NoLogs()

    def _is_due(self) -> bool:
        self._saver.poll()
        return self._due

    def _resume(self, identity: str) -> None:
        found = None
        if self.team.first:
            found = checkpoint.newest(self.folder, lambda sentence: self.context.tell(message=sentence))
        place, plain = self.team.tell_all(found) or (None, {})  # pyright: ignore[reportGeneralTypeIssues]
        if place is None:
            return
        if plain["identity"] != identity:
            self.context.tell(message="the checkpoint in this folder belongs to another run; starting anew")
            return
        self.state.expect(plain)
        checkpoint.load(place, self.state.pieces())
        self.state.load_plain(plain)
        self.data.load(plain.get("data"))
        self.context.tell(self.state.step, self.recipe.steps, "steps", f"going on from step {self.state.step}")

    def _save(self, logs: Logs, identity: str) -> None:
        self.state.log_bytes = logs.flush(to_disk=True)
        plain = self.state.plain() | {"identity": identity, "data": self.data.state(self.state.cursor)}
        self._saver.save(self.state.step, self.state.pieces(), plain)
        self._saved_s = time.monotonic()

    def _gradients(self) -> tuple[float, float]:
        """Mean loss of the whole batch, and its gradient norm. Leaves gradients in the local pieces."""
        sequences = self.recipe.sequences_at(self.state.step)
        waited_s, speaks, shards = self.data.waited_s, self.team.first, self.state.shards
        self.data.take(self.state.cursor, sequences)
        # Sums of flags that the first process alone may raise.
        flags = [float(speaks and super()._is_due()), float(speaks and super()._look_due())]
        loss = self._backward(sequences)
        shards.take_gradients()
        # A place for each process, where the others have zero: megabytes, so that float32 holds them.
        of_each = torch.zeros(2, self.recipe.parallel.processes, device=self.team.device)
        of_each[0, self.team.rank] = self.data.waited_s - waited_s
        of_each[1, self.team.rank] = super()._memory_bytes() / 1e6
        told = torch.cat(
            (loss[None], shards.squared_norm(loss.device)[None], loss.new_tensor(flags), of_each.flatten())
        )
        total = self.team.total(told)
        self._due, self._looks = bool(total[2]), bool(total[3])
        waits, megabytes = total[4:].view(2, -1).amax(1).tolist()
        self._told_wait_s, self._told_memory_bytes = waits, round(megabytes * 1e6)
        return total[0].item(), total[1].sqrt().item()

    def _look_due(self) -> bool:
        return self._looks

    def _look(self, named: Named, first: int) -> SharedLook:
        """As `Loop._look`. A collective."""
        own = self._share(self.recipe.sequences_at(self.state.step))
        tokens, targets, documents = self._windows(first + own.start, 1)
        one_document = torch.zeros_like(documents)
        return SharedLook(self.state, self.team, lambda: self._passed((tokens, targets, one_document)))

    def _passed(self, windows: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """The loss of windows without gradients. A collective."""
        stage = self.state.stage
        assert isinstance(stage, FSDPModule)
        loss = stage(None, *windows)
        # Without a backward pass the gathered embedding would stay, and hide what an update or a rewind makes of its pieces.
        stage.reshard()
        return loss

    def _waited(self, before_s: float) -> float:
        """Of the process that waited longest."""
        return self._told_wait_s

    def _memory_bytes(self) -> int:
        """Of the process that holds most."""
        return self._told_memory_bytes

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """As `Loop._trained`, of the local pieces."""
        return [(held.name, held.tensor) for held in self.state.shards.held if held.tensor.grad is not None]

    def _share(self, sequences: int) -> range:
        """Which windows of a batch this process reads."""
        return share(sequences, self.recipe.parallel.readers, self.team.reader)

    def _backward(self, sequences: int) -> torch.Tensor:
        """Gradients of this process's windows; its part of the mean loss over all tokens of the batch, each window of which weighs the same."""
        own, team = self._share(sequences), self.team
        count = passes(sequences, self.recipe.parallel.readers, self.recipe.micro_batch_sequences)
        first, weight = self.state.cursor + own.start, 1 / sequences / (team.size("context") * team.size("tensor"))
        if team.size("pipeline") > 1:
            return self._pipeline.backward(self._windows(first, len(own)), count, weight * (len(own) // count))
        stage, total = self.state.stage, torch.zeros((), device=team.device)
        assert isinstance(stage, FSDPModule)
        for place in range(count):
            part = share(len(own), count, place)
            stage.set_requires_gradient_sync(place + 1 == count)
            loss = stage(None, *self._windows(first + part.start, len(part))) * (weight * len(part))
            loss.backward()
            total += loss.detach()
        return total

    def _windows(self, first: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(tokens, targets, document ids), [B, T] each."""
        tokens, ids = (torch.from_numpy(a).to(self.team.device) for a in self.data.batch(first, count))
        tokens, ids = cut(tokens, ids, self.recipe.context_at(self.state.step))
        return tokens[:, :-1], tokens[:, 1:], ids[:, :-1]

    @torch.no_grad()
    def _losses_of(self, samples: range) -> list[float]:
        """Of each window, under the weights as they are; under a pipeline unknown. A collective."""
        team = self.team
        if team.size("pipeline") > 1:
            return [math.nan] * len(samples)
        found = torch.zeros(len(samples), device=team.device)
        own = self._share(len(samples))
        for turn in range(passes(len(samples), self.recipe.parallel.readers, 1)):
            # A process whose share is smaller reads its last window again: a pass is of all.
            place = min(own.start + turn, own.stop - 1)
            loss = self._passed(self._windows(samples.start + place, 1))
            found[place] = loss / (team.size("context") * team.size("tensor"))
        return team.total(found).tolist()

    def _drop_gradients(self) -> None:
        self.state.shards.drop_gradients()
