"""The training loop: one update after another, judged, logged, checkpointed by the clock, never twice the same.

One process, one device. Bit-equal for the same recipe, data, seed and threads, wherever it was killed and resumed:
the clock decides when a checkpoint is written and when progress is told, never what is computed.

Shapes: B windows, T tokens.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import torch

from aether.models.decoder import Decoder
from aether.models.parts.decoder import decoder
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train import checkpoint, start
from aether.stages.train.blame import MOST_BLAMED, blame
from aether.stages.train.clipping import Clipper
from aether.stages.train.estimate import flops_per_token
from aether.stages.train.loss_scale import LossScaler
from aether.stages.train.metrics import BLAMED, METRICS, Logs, finite
from aether.stages.train.muon import Optimisers, Rates
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.schedule import learning_rate_factor, muon_momentum
from aether.stages.train.spikes import Judgement, SpikeGuard
from aether.stages.train.state import TrainState

_TELL_EVERY_S = 1.0
_PRODUCTS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}
_RECENT_STEPS = 20
"""Updates whose wall time gives the speed and the time left that are told."""


class Batches(Protocol):
    """Where windows come from: `batches.ShuffledWindows`, or a shipped fake."""

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1 of an endless stream: (tokens [B, T + 1], document ids [B, T + 1])."""
        ...


@dataclass
class Outcome:
    """One update: its loss in nats per token, its gradient norm, and what became of it."""

    loss: float
    grad_norm: float
    judgement: Judgement
    rate_share: float
    """Of the peak rates: the schedule's, times what a cut left of it."""
    samples: range
    tokens: int
    wall_s: float
    router: dict[str, float] = field(default_factory=dict)
    """`aether.models.parts.routing.statistics`, of this process's tokens."""


def new_model(recipe: TrainRecipe, seed: int) -> Decoder:
    """The model with its first weights: those of the recipe's start, or drawn from the seed."""
    model = decoder(recipe.model, _PRODUCTS[recipe.precision])
    model.z_loss = recipe.z_loss
    initial = recipe.initial
    if recipe.start is not None:
        start.fill(model, recipe)
        return model.to(recipe.device)
    model.initialise(seed, initial.embedding_std, initial.matrix_scale, initial.zero_out, initial.final_gain)
    return model.to(recipe.device)


def new_state(recipe: TrainRecipe, seed: int) -> TrainState:
    """A run before its first update."""
    model = new_model(recipe, seed)
    optimisers = Optimisers(model, recipe.optimiser)
    if recipe.start is not None and recipe.start_optimiser == "carried":
        start.carry(optimisers, recipe)
    state = TrainState(model, optimisers, SpikeGuard(recipe.spikes), new_clipper(recipe))
    if recipe.loss_scale is not None:
        state.scaler = LossScaler(recipe.loss_scale)
    return state


def new_clipper(recipe: TrainRecipe) -> Clipper:
    """The clipping of a recipe, before its first update."""
    return Clipper(recipe.clipping, recipe.optimiser.clip_norm)


def rate_factor(recipe: TrainRecipe, step: int) -> float:
    """The share of every peak rate at update `step`: the schedule's, and the square root of the batch's in a ramp."""
    share = recipe.sequences_at(step) / recipe.batch_sequences
    return learning_rate_factor(recipe.schedule, step, recipe.steps) * math.sqrt(share)


class Loop:
    """Carries a TrainState to the last step of its recipe."""

    def __init__(self, recipe: TrainRecipe, state: TrainState, data: Batches, context: StepContext) -> None:
        self.recipe, self.state, self.data, self.context = recipe, state, data, context
        self._process = psutil.Process()
        self._told_s = self._saved_s = time.monotonic()

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.context.out / "checkpoint"

    def run(self, identity: str) -> None:
        """Update until the last step. `identity` names recipe, data and seed: only its own checkpoints are gone on from.

        Raises InputError when the run diverges for good, EnvironmentFault when the disk is full.
        """
        self._resume(identity)
        state, recipe = self.state, self.recipe
        with self._open_logs() as logs:
            while state.step < recipe.steps:
                if state.step % recipe.spikes.snapshot_every_steps == 0 and state.guard.calm:
                    state.take_snapshot()
                outcome = self.update()
                self._log(logs, outcome)
                self._tell(outcome)
                if outcome.judgement not in ("apply", "overflow"):
                    self._doubt(logs, outcome)
                if self._is_due():
                    self._save(logs, identity)
            self._save(logs, identity)

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
        self.context.tell(self.state.step, self.recipe.steps, "steps", f"going on from step {self.state.step}")

    def _save(self, logs: Logs, identity: str) -> None:
        self.state.log_bytes = logs.flush(to_disk=True)
        tensors, plain = self.state.as_checkpoint()
        checkpoint.save(self.folder, self.state.step, tensors, plain | {"identity": identity})
        self._saved_s = time.monotonic()

    def update(self) -> Outcome:
        """One update, or none when it is not believed. Either way its data is behind the cursor."""
        began_s = time.perf_counter()
        state, recipe = self.state, self.recipe
        loss, grad_norm = self._gradients()
        judgement = self._judge(loss, grad_norm)
        share = rate_factor(recipe, state.step) * state.guard.rate_share
        if judgement == "apply":
            state.clipper.clip(self._trained(), grad_norm)
            momentum = muon_momentum(recipe.optimiser, state.step, recipe.steps)
            state.optimisers.step(Rates(share, momentum))
        router = state.model.settle(judgement == "apply")
        self._drop_gradients()
        samples = range(state.cursor, state.cursor + recipe.sequences_at(state.step))
        state.cursor = samples.stop
        state.step += 1
        state.peak_memory_bytes = max(state.peak_memory_bytes, self._memory_bytes())
        tokens = len(samples) * recipe.model.context_tokens
        outcome = Outcome(loss, grad_norm, judgement, share, samples, tokens, time.perf_counter() - began_s, router)
        state.step_s.append(outcome.wall_s)
        return outcome

    def _gradients(self) -> tuple[float, float]:
        """Mean loss of the batch, and the global gradient norm. Leaves the gradients, not yet clipped."""
        recipe, model, scaler = self.recipe, self.state.model, self.state.scaler
        sequences = recipe.sequences_at(self.state.step)
        micro = recipe.micro_batch_sequences or sequences
        parts = sequences // micro
        total = torch.zeros((), device=recipe.device)
        for first in range(self.state.cursor, self.state.cursor + sequences, micro):
            tokens, ids = (torch.from_numpy(a).to(recipe.device) for a in self.data.batch(first, micro))
            loss = model.loss(tokens[:, :-1], tokens[:, 1:], ids[:, :-1]) / parts
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
                "optimiser.muon_lr",
                self.recipe.optimiser.muon_lr,
                f"training broke {guard.rewinds} times (last at step {state.step}, loss {outcome.loss:.4g}, gradient norm "
                f"{outcome.grad_norm:.4g}); skipping, {guard.cuts} cuts of the learning rates and rewinding did not help; "
                f"lower the learning rates or look at the data that {BLAMED} names",
            )

    def _blame(self, logs: Logs, outcome: Outcome) -> None:
        state, samples = self.state, outcome.samples
        state.blamed += 1
        if state.blamed > MOST_BLAMED:
            return
        found = blame(state.model, self.data, samples.start, self.data.batch(samples.start, len(samples)))
        head = {"step": state.step, "judgement": outcome.judgement}
        head |= {"loss": finite(outcome.loss), "grad_norm": finite(outcome.grad_norm)}
        logs.write(BLAMED, head | found)

    def _log(self, logs: Logs, outcome: Outcome) -> None:
        tokens = outcome.tokens
        rate = tokens * flops_per_token(self.recipe) / outcome.wall_s
        peak = self.recipe.peak_flops_per_s
        step = self.state.step - 1
        guard, scaler = self.state.guard, self.state.scaler
        logs.write(
            METRICS,
            {
                "step": step + 1,
                "loss": finite(outcome.loss),
                "lr": self.recipe.optimiser.muon_lr * outcome.rate_share,
                "grad_norm": finite(outcome.grad_norm),
                "tokens": self.recipe.tokens_until(step + 1),
                "tokens_per_s": round(tokens / outcome.wall_s, 1),
                "flops_per_s": round(rate),
                "utilisation": None if peak is None else round(rate / peak, 4),
                "judgement": outcome.judgement,
                "rate_share": round(guard.rate_share, 6),
                "skipped_steps": guard.skipped_steps,
                "cuts": guard.cuts,
                "rewinds": guard.rewinds - (outcome.judgement in ("rewind", "stop")),
                **({"router": outcome.router} if outcome.router else {}),
            }
            | ({} if scaler is None else {"loss_scale": scaler.scale, "overflows": scaler.overflowed}),
        )

    def _tell(self, outcome: Outcome) -> None:
        now = time.monotonic()
        if now - self._told_s < _TELL_EVERY_S and self.state.step < self.recipe.steps:
            return
        self._told_s = now
        recent = self.state.step_s[-_RECENT_STEPS:]
        step_s = sum(recent) / len(recent)
        numbers = {"tokens_per_s": outcome.tokens / step_s}
        if finite(outcome.loss) is not None:
            numbers["loss"] = outcome.loss
        self.context.tell(self.state.step, self.recipe.steps, "steps", "", **numbers)

    def _memory_bytes(self) -> int:
        device_bytes = torch.cuda.max_memory_allocated() if self.recipe.device == "cuda" else 0
        return self._process.memory_info().rss + device_bytes
