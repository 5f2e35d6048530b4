"""What is written and told of every update: a line of metrics, a look into the layers, alerts, and progress once a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aether.stages.train.alerts import sentence
from aether.stages.train.estimate import flops_per_token
from aether.stages.train.metrics import ALERTS, LAYERS, METRICS, Logs, finite
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.spikes import Judgement
from aether.stages.train.state import TrainState

_TELL_EVERY_S = 1.0
_RECENT_STEPS = 20
"""Updates whose wall time gives the speed and the time left that are told."""


@dataclass
class Outcome:
    """One update: its loss in nats per token, its gradient norm, what became of it, and what it took."""

    loss: float
    grad_norm: float
    judgement: Judgement
    rate_share: float
    """Of the peak rates: the schedule's, times what a cut left of it."""
    samples: range
    wall_s: float
    waited_s: float
    """Of it, for data; of several processes the longest."""
    memory_bytes: int
    """Of several processes the largest."""
    seen: dict[str, Any] | None
    """A look into the layers, where one was due."""
    router: dict[str, float] = field(default_factory=dict)
    """`aether.models.parts.routing.statistics`, of this process's tokens."""


class Journal:
    """Writes and tells. Computes nothing that training needs."""

    def __init__(self, recipe: TrainRecipe, state: TrainState, tell: Callable[..., None]) -> None:
        self._recipe, self._state, self._tell = recipe, state, tell
        self._told_s = time.monotonic()

    def write(self, logs: Logs, outcome: Outcome) -> None:
        """Everything of the update that was just made."""
        tokens_per_s = len(outcome.samples) * self._recipe.model.context_tokens / outcome.wall_s
        logs.write(METRICS, self._metrics(outcome, tokens_per_s))
        alerts = self._state.alerts
        given = []
        if outcome.judgement == "apply":
            given += alerts.update(tokens_per_s, outcome.waited_s / outcome.wall_s, outcome.grad_norm)
        if outcome.seen is not None:
            logs.write(LAYERS, self._place() | {"rates": self._rates(outcome)} | outcome.seen)
            given += alerts.look(outcome.seen)
        for alert in given:
            logs.write(ALERTS, {"step": self._state.step} | alert)
            self._tell(message=sentence(alert))
        self._progress(outcome)

    def _place(self) -> dict[str, int]:
        step = self._state.step
        return {"step": step, "tokens": self._recipe.tokens_until(step)}

    def _rates(self, outcome: Outcome) -> dict[str, float]:
        """The rate of every group of parameters, by the name of its field without `_lr`."""
        named = self._recipe.optimiser.model_dump()
        return {n.removesuffix("_lr"): v * outcome.rate_share for n, v in named.items() if n.endswith("_lr")}

    def _metrics(self, outcome: Outcome, tokens_per_s: float) -> dict[str, Any]:
        recipe, guard, scaler = self._recipe, self._state.guard, self._state.scaler
        # A GPU for each process, or one machine for all of them.
        devices = recipe.parallel.processes if recipe.device == "cuda" else 1
        rate, peak = tokens_per_s * flops_per_token(recipe), recipe.peak_flops_per_s
        place = self._place()
        line = {
            "step": place["step"],
            "loss": finite(outcome.loss),
            "lr": recipe.optimiser.matrix_lr * outcome.rate_share,
            "grad_norm": finite(outcome.grad_norm),
            "tokens": place["tokens"],
            "tokens_per_s": round(tokens_per_s, 1),
            "flops_per_s": round(rate),
            "utilisation": None if peak is None else round(rate / (peak * devices), 4),
            "step_s": round(outcome.wall_s, 6),
            "data_wait_s": round(outcome.waited_s, 6),
            "memory_bytes": outcome.memory_bytes,
            "judgement": outcome.judgement,
            "rate_share": round(guard.rate_share, 6),
            "skipped_steps": guard.skipped_steps,
            "cuts": guard.cuts,
            "rewinds": guard.rewinds - (outcome.judgement in ("rewind", "stop")),
        }
        line |= {"router": outcome.router} if outcome.router else {}
        return line if scaler is None else line | {"loss_scale": scaler.scale, "overflows": scaler.overflowed}

    def _progress(self, outcome: Outcome) -> None:
        now, state = time.monotonic(), self._state
        if now - self._told_s < _TELL_EVERY_S and state.step < self._recipe.steps:
            return
        self._told_s = now
        recent = state.step_s[-_RECENT_STEPS:]
        step_s = sum(recent) / len(recent)
        numbers = {"tokens_per_s": len(outcome.samples) * self._recipe.model.context_tokens / step_s}
        if finite(outcome.loss) is not None:
            numbers["loss"] = outcome.loss
        self._tell(state.step, self._recipe.steps, "steps", "", **numbers)
