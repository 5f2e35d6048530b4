"""The training loop: one update after another, judged, logged, checkpointed by the clock, never twice the same.

One process, one device. Bit-equal for the same recipe, data, seed and threads, wherever it was killed and resumed:
the clock decides when a checkpoint is written and when progress is told, never what is computed.

Shapes: B windows, T tokens.
"""

import math
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import psutil
import torch
from torch.profiler import record_function

from aether.models.decoder import Decoder
from aether.models.parts.decoder import decoder
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train import checkpoint, start
from aether.stages.train.alerts import Alerts
from aether.stages.train.batches import cut
from aether.stages.train.blame import MOST_BLAMED, blame, sequence_losses
from aether.stages.train.clipping import Clipper, Named
from aether.stages.train.journal import Journal, Outcome
from aether.stages.train.loss_scale import LossScaler
from aether.stages.train.metrics import BLAMED, Logs, finite
from aether.stages.train.observe import Look, Observer
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import width_factor
from aether.stages.train.profiling import Profiler
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.schedule import learning_rate_factor, muon_momentum, warmup_factor
from aether.stages.train.spikes import Judgement, SpikeGuard
from aether.stages.train.state import TrainState

_PRODUCTS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}


class Batches(Protocol):
    """Where windows come from: `batches.ShuffledWindows`, or a shipped fake."""

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1 of an endless stream: (tokens [B, T + 1], document ids [B, T + 1])."""
        ...


class AnyLook(Protocol):
    """`observe.Look`, or one of several processes."""

    cost_s: float

    def finish(self) -> dict[str, Any]:
        """As `Look.finish`."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """Batches that are read in order, and go on from a state: `streaming.StreamedWindows`, or a mixture with one."""

    def ready(self) -> None:
        """Have the first windows at hand, so that no update waits for a start."""
        ...

    def state(self, cursor: int) -> dict[str, Any]:
        """As JSON: where sample `cursor` is found."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        ...


@runtime_checkable
class HandedOver(Protocol):
    """Batches that one process reads for several: `parallel.handing.Handed`."""

    def take(self, first: int, count: int) -> None:
        """Have samples first .. first + count - 1 at hand. A collective."""
        ...


def new_model(recipe: TrainRecipe, seed: int) -> Decoder:
    """The model with its first weights: those of the recipe's start, or drawn from the seed."""
    model = decoder(recipe.model, _PRODUCTS[recipe.precision])
    model.z_loss = recipe.z_loss
    initial = recipe.initial
    if recipe.start is not None:
        start.fill(model, recipe)
        return model.to(recipe.device)
    final_gain = initial.final_gain * width_factor(recipe.optimiser, recipe.model.hidden_size)
    model.initialise(seed, initial.embedding_std, initial.matrix_scale, initial.zero_out, final_gain)
    return model.to(recipe.device)


def new_state(recipe: TrainRecipe, seed: int) -> TrainState:
    """A run before its first update."""
    model = new_model(recipe, seed)
    optimisers = Optimisers(model, recipe.optimiser)
    if recipe.start is not None and recipe.start_optimiser == "carried":
        start.carry(optimisers, recipe)
    state = TrainState(model, optimisers, SpikeGuard(recipe.spikes), new_clipper(recipe), Alerts(recipe.watch))
    if recipe.loss_scale is not None:
        state.scaler = LossScaler(recipe.loss_scale)
    return state


def new_clipper(recipe: TrainRecipe) -> Clipper:
    """The clipping of a recipe, before its first update."""
    return Clipper(recipe.clipping, recipe.optimiser.clip_norm)


def rate_factor(recipe: TrainRecipe, step: int) -> float:
    """The share of every peak rate at update `step`: the schedule's, and the square root of the batch's in a ramp."""
    share = recipe.sequences_at(step) / recipe.batch_sequences
    scheduled = warmup_factor if recipe.optimiser.kind == "schedule_free" else learning_rate_factor
    return scheduled(recipe.schedule, step, recipe.steps) * math.sqrt(share)


class TimedBatches:
    """Batches, and the seconds that were spent in waiting for them."""

    def __init__(self, inner: Batches) -> None:
        self.inner, self.waited_s = inner, 0.0

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """As the inner ones."""
        began_s = time.perf_counter()
        found = self.inner.batch(first, count)
        self.waited_s += time.perf_counter() - began_s
        return found

    def take(self, first: int, count: int) -> None:
        """Have a batch handed over, where another process reads it."""
        if isinstance(self.inner, HandedOver):
            began_s = time.perf_counter()
            self.inner.take(first, count)
            self.waited_s += time.perf_counter() - began_s

    def state(self, cursor: int) -> dict[str, Any] | None:
        """What batches that come in order go on from at sample `cursor`; None for those that know every sample at once."""
        return self.inner.state(cursor) if isinstance(self.inner, Ordered) else None

    def ready(self) -> None:
        """Have the first windows at hand."""
        if isinstance(self.inner, Ordered):
            self.inner.ready()

    def load(self, state: dict[str, Any] | None) -> None:
        """Go on from a state."""
        if state is not None:
            assert isinstance(self.inner, Ordered)
            self.inner.load(state)


class Loop:
    """Carries a TrainState to the last step of its recipe."""

    def __init__(self, recipe: TrainRecipe, state: TrainState, data: Batches, context: StepContext) -> None:
        self.recipe, self.state, self.context = recipe, state, context
        self.data = TimedBatches(data)
        self._process = psutil.Process()
        self._saved_s = time.monotonic()
        self._observer = Observer(recipe.watch)
        self._journal = Journal(recipe, state, context.tell)
        self._profiler = Profiler(recipe.profile_steps, context.out)

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.context.out / "checkpoint"

    def run(self, identity: str) -> None:
        """Update until the last step. `identity` names recipe, data and seed: only its own checkpoints are gone on from.

        Raises InputError when the run diverges for good, EnvironmentFault when the disk is full.
        """
        self._resume(identity)
        self.data.ready()
        state, recipe = self.state, self.recipe
        with self._open_logs() as logs:
            while state.step < recipe.steps:
                if state.step % recipe.spikes.snapshot_every_steps == 0 and state.guard.calm:
                    state.take_snapshot()
                self._profiler.before(state.step + 1)
                outcome = self.update()
                self._profiler.after(state.step)
                self._journal.write(logs, outcome)
                if outcome.judgement not in ("apply", "overflow"):
                    self._doubt(logs, outcome)
                if self._is_due():
                    self._save(logs, identity)
            self._save(logs, identity)
        state.optimisers.finish()

    def _open_logs(self) -> Logs:
        return Logs(self.context.out, self.state.log_bytes)

    def _is_due(self) -> bool:
        """Whether the clock asks for a checkpoint."""
        return time.monotonic() - self._saved_s >= self.recipe.checkpoint_every_s

    def _resume(self, identity: str) -> None:
        found = checkpoint.load(self.folder, damaged=lambda sentence: self.context.tell(message=sentence))
        if found is None:
            return
        tensors, plain = found
        if plain["identity"] != identity:
            self.context.tell(
                message="the checkpoint in this folder belongs to another run; starting from the beginning"
            )
            return
        self.state.from_checkpoint(tensors, plain)
        self.data.load(plain["data"])
        self.context.tell(self.state.step, self.recipe.steps, "steps", f"going on from step {self.state.step}")

    def _save(self, logs: Logs, identity: str) -> None:
        self.state.log_bytes = logs.flush(to_disk=True)
        tensors, plain = self.state.as_checkpoint()
        plain |= {"identity": identity, "data": self.data.state(self.state.cursor)}
        checkpoint.save(self.folder, self.state.step, tensors, plain)
        self._saved_s = time.monotonic()

    def update(self) -> Outcome:
        """One update, or none when it is not believed. Either way its data is behind the cursor."""
        began_s, waited_s = time.perf_counter(), self.data.waited_s
        state, recipe = self.state, self.recipe
        samples = range(state.cursor, state.cursor + recipe.sequences_at(state.step))
        loss, grad_norm = self._gradients()
        judgement = self._judge(loss, grad_norm)
        share = rate_factor(recipe, state.step) * state.guard.rate_share
        seen = self._apply(share, grad_norm, samples.start) if judgement == "apply" else None
        router = state.model.settle(judgement == "apply")
        self._drop_gradients()
        state.cursor = samples.stop
        state.step += 1
        memory_bytes = self._memory_bytes()
        state.peak_memory_bytes = max(state.peak_memory_bytes, memory_bytes)
        wall_s = time.perf_counter() - began_s
        state.step_s.append(wall_s)
        self._observer.worked(wall_s)
        return Outcome(
            loss,
            grad_norm,
            judgement,
            share,
            samples,
            wall_s,
            self._waited(waited_s),
            memory_bytes,
            seen,
            router,
        )

    def _apply(self, share: float, grad_norm: float, first: int) -> dict[str, Any] | None:
        """Clip and update. What a look into the layers saw, when one was due."""
        state, recipe, named = self.state, self.recipe, self._trained()
        look = self._look(named, first) if self._look_due() else None
        with record_function("aether.clip"):
            state.clipper.clip(named, grad_norm)
        with record_function("aether.update"):
            momentum = muon_momentum(recipe.optimiser, state.step, recipe.steps)
            state.optimisers.step(Rates(share, momentum))
        if look is None:
            return None
        seen = look.finish()
        self._observer.spent(look.cost_s)
        return seen | {"cost_s": round(look.cost_s, 6)}

    def _look_due(self) -> bool:
        return self._observer.due

    def _look(self, named: Named, first: int) -> AnyLook:
        """A look into the layers, before the update of the batch that begins at sample `first`."""
        window_T = torch.from_numpy(self.data.batch(first, 1)[0][0, :-1]).to(self.recipe.device)
        return Look(self.state.model, named, window_T)

    def _gradients(self) -> tuple[float, float]:
        """Mean loss of the batch, and the global gradient norm. Leaves the gradients, not yet clipped."""
        recipe, model, scaler = self.recipe, self.state.model, self.state.scaler
        sequences = recipe.sequences_at(self.state.step)
        micro = recipe.micro_batch_sequences or sequences
        parts = sequences // micro
        total = torch.zeros((), device=recipe.device)
        for first in range(self.state.cursor, self.state.cursor + sequences, micro):
            with record_function("aether.data"):
                tokens, ids = (torch.from_numpy(a).to(recipe.device) for a in self.data.batch(first, micro))
                tokens, ids = cut(tokens, ids, recipe.context_at(self.state.step))
            with record_function("aether.forward"):
                loss = model.loss(tokens[:, :-1], tokens[:, 1:], ids[:, :-1]) / parts
            with record_function("aether.backward"):
                (loss if scaler is None else loss * scaler.scale).backward()
            total += loss.detach()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if scaler is not None:
            for gradient in gradients:
                gradient.mul_(1.0 / scaler.scale)
        return total.item(), torch.nn.utils.get_total_norm(gradients).item()

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The parameters that have gradients, by name."""
        return [(name, p) for name, p in self.state.model.named_parameters() if p.grad is not None]

    def _judge(self, loss: float, grad_norm: float) -> Judgement:
        """The guard's word; an overflow that a lower loss scale can mend is none of its business."""
        scaler = self.state.scaler
        if scaler is not None and scaler.overflows(grad_norm):
            return "overflow"
        return self.state.guard.judge(loss, grad_norm)

    def _drop_gradients(self) -> None:
        for parameter in self.state.model.parameters():
            parameter.grad = None

    def _doubt(self, logs: Logs, outcome: Outcome) -> None:
        """What follows from an update that was not believed: its data is named, and the rung of the ladder carried out."""
        state, guard = self.state, self.state.guard
        self._blame(logs, outcome)
        if outcome.judgement == "cut":
            self.context.tell(
                message=f"the loss keeps breaking; learning rates cut to {guard.rate_share:.3g} of the schedule"
            )
        elif outcome.judgement == "rewind":
            state.rewind()
            self.context.tell(message=f"loss broke; went back to step {state.step} and passed over that data")
        elif outcome.judgement == "stop":
            logs.flush(to_disk=True)
            raise InputError.of(
                f"optimiser.{self.recipe.optimiser.lr_field}",
                self.recipe.optimiser.matrix_lr,
                f"training broke {guard.rewinds} times (last at step {state.step}, loss {outcome.loss:.4g}, gradient norm "
                f"{outcome.grad_norm:.4g}); skipping, {guard.cuts} cuts of the learning rates and rewinding did not help; "
                f"lower the learning rates or look at the data that {BLAMED} names",
            )

    def _blame(self, logs: Logs, outcome: Outcome) -> None:
        state, samples = self.state, outcome.samples
        state.blamed += 1
        if state.blamed > MOST_BLAMED:
            return
        found = blame(self.data.inner, samples.start, self._losses_of(samples))
        head = {"step": state.step, "judgement": outcome.judgement}
        head |= {"loss": finite(outcome.loss), "grad_norm": finite(outcome.grad_norm)}
        logs.write(BLAMED, head | found)

    def _losses_of(self, samples: range) -> list[float]:
        """Of each window, under the weights as they are."""
        return sequence_losses(self.state.model, *self.data.batch(samples.start, len(samples)))

    def _waited(self, before_s: float) -> float:
        """Seconds of this update that went by in waiting for data; `before_s` of those before it."""
        return self.data.waited_s - before_s

    def _memory_bytes(self) -> int:
        device_bytes = torch.cuda.max_memory_allocated() if self.recipe.device == "cuda" else 0
        return self._process.memory_info().rss + device_bytes
