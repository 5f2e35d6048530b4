"""What a replica does under a steady load, from a few step times: how much it takes, and how long its users wait.

Requests come at a rate and each step takes in the prompt tokens that came during the one before, so the batch and the step
settle at a fixed point; the most that a replica takes is the step at a full batch. Waiting is that of a queue with one server
for the prompts (Pollaczek and Khinchine, with a deterministic service). A screen, not an answer: what it lets through is
simulated. Not here: bursts beyond Poisson, preemption.
"""

import math
from dataclasses import dataclass

from aether.planning.serving.simulator_replica import StepCost
from aether.spec.brief import Load

BUSIEST = 0.92
"""Share of its capacity to which a replica is loaded at most; above it waiting explodes (assumed)."""
_ROUNDS = 40


@dataclass(frozen=True)
class Batch:
    """What bounds a replica's batch: the cache, the engine's limit, the tokens of a step."""

    fit: int
    """Sequences whose cache fits."""
    sequences: int
    step_tokens: int
    """Over all attention groups."""

    def most(self, load: Load) -> float:
        """Sequences that decode in the largest steady batch."""
        budget = self.step_tokens / (1 + load.prompt_tokens / load.output_tokens)
        return max(1.0, min(self.fit, self.sequences, budget))


@dataclass(frozen=True)
class Steady:
    """A replica at a load."""

    sequences: float
    token_s: float
    """Mean time between tokens."""
    slow_token_s: float
    """The same in a step that reads a prompt."""
    first_s: float
    slow_first_s: float
    """99th percentile."""
    prompts_share: float
    """Share of steps that read a prompt."""

    def latency_s(self, metric: str, output_tokens: int) -> float:
        """The value of a latency metric."""
        kind, _, share = metric.partition("_")
        first_s = {"p50": self.first_s, "p95": (self.first_s + self.slow_first_s) / 2}.get(share, self.slow_first_s)
        if kind == "ttft":
            return first_s
        if kind == "e2e":
            return first_s + self.token_s * (output_tokens - 1)
        rare = {"p50": 0.5, "p95": 0.05}.get(share, 0.01)
        return self.slow_token_s if kind == "itl" and self.prompts_share > rare else self.token_s


def capacity_per_s(cost: StepCost, load: Load, batch: Batch) -> float:
    """Requests per second that one replica keeps up with, when it is never idle."""
    live = batch.most(load)
    prompts, context = live * load.prompt_tokens / load.output_tokens, load.prompt_tokens + load.output_tokens / 2
    return live / (load.output_tokens * cost(prompts, load.prompt_tokens / 2, live, context))


def steady(cost: StepCost, load: Load, requests_per_s: float, batch: Batch) -> Steady | None:
    """The replica at that load; None when it does not keep up."""
    if requests_per_s > BUSIEST * capacity_per_s(cost, load, batch):
        return None
    return steady_within(cost, load, requests_per_s, batch)


def steady_within(cost: StepCost, load: Load, requests_per_s: float, batch: Batch) -> Steady:
    """The same for a load that it is known to keep up with."""
    prompt, output = float(load.prompt_tokens), load.output_tokens
    context, seen = prompt + output / 2, prompt / 2
    token_s = cost(0.0, 0.0, 1.0, context)
    for _ in range(_ROUNDS):
        live = max(1.0, requests_per_s * output * token_s)
        again_s = cost(requests_per_s * prompt * token_s, seen, live, context)
        settled = abs(again_s - token_s) < 1e-3 * token_s
        token_s = again_s
        if settled:
            break
    live = max(1.0, requests_per_s * output * token_s)
    chunk = min(prompt, float(batch.step_tokens))
    chunks = math.ceil(prompt / chunk)
    slow_s, quiet_s = cost(chunk, seen, live, context), cost(0.0, 0.0, live, context)
    # A step reads all prompts that came during the one before: the 99th percentile of their number, as far as they fit.
    crowded = min(prompt * _most_arrivals(requests_per_s * token_s), float(batch.step_tokens))
    reading_s = slow_s * chunks
    # Only what a prompt adds to the steps that run anyway keeps the next prompt waiting.
    busy = min(0.98, max(0.0, requests_per_s * (reading_s - 0.5 * quiet_s)))
    waiting_s = busy * reading_s / (2 * (1 - busy))
    return Steady(
        sequences=live,
        token_s=token_s,
        slow_token_s=cost(crowded, seen, live, context),
        first_s=reading_s + quiet_s / 2 + waiting_s,
        slow_first_s=reading_s + quiet_s + 4.6 * waiting_s,
        prompts_share=min(1.0, requests_per_s * token_s * chunks),
    )


def _most_arrivals(mean: float) -> int:
    """The 99th percentile of a Poisson number, at least 1."""
    count, chance = 0, math.exp(-mean)
    total = chance
    while total < 0.99 and count < 1000:
        count += 1
        chance *= mean / count
        total += chance
    return max(1, count)
