"""Each candidate engine on the model for a moment, under the brief's own traffic: what `choose` judges by.

    python -m aether.stages.serve.trial plan.json

A process of its own, so that the stage loads no engine. The web server is left out: it is the same for every engine.
First two warm-up requests, then an open loop with the load's arrivals, then a closed loop of the load test's clients.
Prints one JSON line for each candidate. Too short for a verdict on a target: the load test gives that.
"""

import json
import queue
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from aether.spec.brief import Load
from aether.stages.serve import lifeline
from aether.stages.serve.choose import Trial, TrialPlan
from aether.stages.serve.engine import Delta, Engine, Generation, Limits
from aether.stages.serve.loading import load_served
from aether.stages.serve.recipe import TRIAL_CLOSED_S, TRIAL_LONGEST_S, TRIAL_OPEN_S, EngineRecipe
from aether.stages.serve.sampling import Sampling
from aether.stages.serve.summary import Timing, latency, throughput

_FEWEST = 8
"""Requests of the open loop at least; a slower load is hurried to it (assumed)."""
_WARMUP = 2
"""Requests that are not counted: first calls allocate (assumed)."""


@dataclass
class _Asked:
    """A request that was sent, and when its tokens came."""

    index: int
    due_s: float
    pieces_s: list[float] = field(default_factory=list)


class _Driver:
    """Sends requests to one engine and stamps what comes back. Times are seconds from its making."""

    def __init__(self, engine: Engine, news: "queue.SimpleQueue[list[Delta]]", plan: TrialPlan) -> None:
        self._engine, self._news, self._plan = engine, news, plan
        self._zero_s, self._sent = time.perf_counter(), 0
        self._open: dict[Generation, _Asked] = {}

    def now_s(self) -> float:
        """Seconds since this was made."""
        return time.perf_counter() - self._zero_s

    def send(self, due_s: float) -> None:
        """The next prompt."""
        prompt = self._plan.prompts[self._sent % len(self._plan.prompts)]
        generation = Generation(prompt, self._plan.load.output_tokens, Sampling.of(0.0, 1.0, None), (), True)
        self._open[generation] = _Asked(self._sent, due_s)
        self._sent += 1
        self._engine.submit(generation)

    def hear(self, patience_s: float) -> list[_Asked]:
        """Requests that finished with the next news, which may not come in time."""
        done: list[_Asked] = []
        try:
            news = self._news.get(timeout=max(0.0, patience_s))
        except queue.Empty:
            return done
        now_s = self.now_s()
        for delta in news:
            if delta.finish == "error":
                raise RuntimeError("the engine failed during its trial")
            asked = self._open.get(delta.generation)
            if asked is not None:
                asked.pieces_s.append(now_s)
                if delta.finish is not None:
                    done.append(self._open.pop(delta.generation))
        return done

    def open_loop(self, due: list[float], longest_s: float) -> list[Timing]:
        """Each request when it is due. One that is not done after `longest_s` counts as failed."""
        begin_s, found, waiting = self.now_s(), list[Timing](), list(due)
        while (waiting or self._open) and self.now_s() - begin_s < longest_s:
            while waiting and begin_s + waiting[0] <= self.now_s():
                self.send(begin_s + waiting.pop(0))
            until_s = begin_s + (waiting[0] if waiting else longest_s)
            found += [_timing(asked, self._plan.load, None) for asked in self.hear(until_s - self.now_s())]
        return found + self._give_up()

    def closed_loop(self, clients: int, seconds: float) -> tuple[list[Timing], tuple[float, float]]:
        """`clients` that ask again as soon as they are answered; and the window."""
        begin_s, found = self.now_s(), list[Timing]()
        for _ in range(clients):
            self.send(self.now_s())
        while self.now_s() - begin_s < seconds:
            for asked in self.hear(begin_s + seconds - self.now_s()):
                found.append(_timing(asked, self._plan.load, None))
                self.send(self.now_s())
        return found + self._give_up(), (begin_s, begin_s + seconds)

    def _give_up(self) -> list[Timing]:
        left, self._open = self._open, {}
        for generation in left:
            self._engine.cancel(generation)
        return [_timing(asked, self._plan.load, "not done in time") for asked in left.values()]


def _timing(asked: _Asked, load: Load, error: str | None) -> Timing:
    return Timing(
        phase="open",
        index=asked.index,
        prompt="",
        due_s=asked.due_s,
        started_s=asked.due_s,
        ended_s=asked.pieces_s[-1] if asked.pieces_s else asked.due_s,
        pieces_s=tuple(asked.pieces_s),
        prompt_tokens=load.prompt_tokens,
        output_tokens=len(asked.pieces_s),
        status=200,
        finish=None if error else "length",
        error=error,
    )


def try_engine(candidate: EngineRecipe, plan: TrialPlan) -> Trial:
    """One candidate's numbers."""
    served = load_served(Path(plan.model), candidate, threads=plan.threads)
    news: queue.SimpleQueue[list[Delta]] = queue.SimpleQueue()
    limits = Limits(candidate.max_queue + plan.clients, candidate.chunk_tokens, served.eos_tokens, plan.threads)
    engine = served.make_engine(limits, news.put)
    engine.start()
    try:
        driver = _Driver(engine, news, plan)
        driver.open_loop([0.0] * _WARMUP, TRIAL_LONGEST_S)
        opened = driver.open_loop(_due(plan), TRIAL_LONGEST_S)
        closed, window = driver.closed_loop(plan.clients, TRIAL_CLOSED_S)
    finally:
        engine.stop()
    measured = {"throughput": throughput(closed, window, 0.95).value}
    if all(timing.error is None for timing in opened):
        measured |= {metric: value.value for metric, value in latency(opened, 0.95, plan.seed).metrics.items()}
    chosen = candidate.model_copy(update={"engine": served.engine, "dtype": served.dtype})
    return Trial(engine=chosen, metrics=measured, requests=len(opened))


def _due(plan: TrialPlan) -> list[float]:
    rate = max(plan.load.requests_per_s, _FEWEST / TRIAL_OPEN_S)
    gaps = np.random.default_rng(plan.seed).exponential(1.0 / rate, max(_FEWEST, int(rate * TRIAL_OPEN_S)))
    # The last of a few Poisson arrivals may be late: scaled, so that every trial takes the same time.
    due = np.cumsum(gaps)
    return (due * (TRIAL_OPEN_S / due[-1])).tolist()


def main() -> int:
    """The command line: one plan. Ends with the process that started it."""
    lifeline.hold()
    plan = TrialPlan.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(plan.threads)
    with threadpool_limits(plan.threads, user_api="blas"):
        for candidate in plan.candidates:
            sys.stdout.write(json.dumps(try_engine(candidate, plan).model_dump(mode="json")) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
