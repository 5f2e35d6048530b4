"""What a fixed number of clients see: each sends its next request when the last is answered, so waiting is part of it.

Simulates the loop of a continuous-batching engine (Orca, OSDI 2022) with chunked prefill, request by request: steps that take
prompts in are simulated one by one, steps that only decode in leaps to the next answer. Requests all start at once, as load
generators do. Engines that do not mix prompts with decoding (`SEPARATE`) hold all sequences while a prompt is read. Beyond
some clients, each simulated one stands for several, which keeps a prediction to some tens of milliseconds. Not here: open-loop
arrivals, preemption, routing (see the simulator).
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from pydantic import Field

from aether.planning.serving.memory import serving_memory
from aether.planning.serving.step import StepModel
from aether.spec.base import Noun

_REQUESTS = 3000
"""Requests simulated one by one (a choice: quantiles up to p99 then rest on thirty requests)."""
_LEAST_CLIENTS = 32
"""Clients simulated however many rounds there are (a choice)."""
FRONT_S = 1e-3
"""A front end takes requests in one after the other: reading, tokenising, handing over (assumed: a millisecond of one event
loop). It is why clients that all begin at once do not stay in step with each other."""
SEPARATE = frozenset({"sglang", "transformers"})
"""Engines whose steps hold prompts or decoding, never both (assumed: SGLang's --enable-mixed-chunk is off unless said, and
transformers' `generate` reads prompts first)."""


class ClosedLoop(Noun):
    """Traffic of `concurrency` clients."""

    prompt_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)
    concurrency: int = Field(gt=0)
    rounds: float = Field(default=10.0, ge=1)
    """Requests for each client."""
    spread: float = Field(default=0.0, ge=0, lt=1)
    """Lengths are uniform between (1 - spread) and 1 times the stated ones."""
    seed: int = 0


class Steps(NamedTuple):
    """Steps of one kind that were taken."""

    times: float
    prompt: float
    """Prompt tokens of each step."""
    seen: float
    """Positions that they see in the mean."""
    live: float
    """Sequences that decode in it."""
    context: float
    """Positions that those attend to."""
    held: float
    """Sequences that have begun to decode, in this step or waiting for its end."""
    seconds: float
    """Of one step."""


@dataclass
class Observed:
    """What the clients saw, in seconds."""

    ttft_s: list[float] = field(default_factory=list)
    """Of each simulated request: from sending to the mean first token of the requests that it stands for."""
    half_width_s: list[float] = field(default_factory=list)
    """Half of the time between the first and the last first token of those."""
    token_s: list[float] = field(default_factory=list)
    """Of each simulated request: mean time between output tokens."""
    end_s: float = 0.0
    output_tokens: float = 0.0
    requests: float = 0.0
    running: float = 0.0
    """Mean sequences that decode, over steps."""
    steps: list[Steps] = field(default_factory=list)

    @property
    def output_tokens_per_s(self) -> float:
        """Output of the replica."""
        return self.output_tokens / self.end_s

    @property
    def mean_ttft_s(self) -> float:
        """Mean time to first token."""
        return float(np.mean(self.ttft_s))

    @property
    def mean_token_s(self) -> float:
        """Mean time per output token."""
        return float(np.mean(self.token_s))

    def ttft_quantile_s(self, share: float) -> float:
        """A quantile of the time to first token, requests that stand for several spread evenly over their width."""
        offsets = np.linspace(-1, 1, 9)
        each = np.add.outer(np.array(self.ttft_s), np.zeros(9)) + np.outer(self.half_width_s, offsets)
        return float(np.quantile(np.maximum(each, 0.0), share))

    def token_quantile_s(self, share: float) -> float:
        """A quantile of requests' time per output token."""
        return float(np.quantile(self.token_s, share))

    def gap_quantile_s(self, share: float) -> float:
        """A quantile of the times between tokens, the tokens of all requests pooled (inter-token latency)."""
        gaps: list[tuple[float, float]] = []
        stalled = 0.0
        for step in self.steps:
            stalled += step.seconds
            if step.live > 0:
                gaps.append((stalled, step.live))
                if step.times > 1:
                    gaps.append((step.seconds, step.live * (step.times - 1)))
                stalled = 0.0
            elif step.held <= 0:
                stalled = 0.0
        values, weights = np.array(sorted(gaps)).T
        return float(values[np.searchsorted(np.cumsum(weights), share * weights.sum() - 1e-9)])


@dataclass
class _Request:
    sent_s: float
    prompt: float
    output: int
    left: float
    """Prompt tokens that are not yet taken in, of all that it stands for."""
    first_s: float = -1.0
    began_s: float = -1.0
    """Beginning of the step that took in its first prompt tokens."""


class _Loop:
    """The engine's state between steps."""

    def __init__(self, model: StepModel, traffic: ClosedLoop) -> None:
        setup, self.model, self.traffic = model.setup, model, traffic
        self.clients = min(traffic.concurrency, max(_LEAST_CLIENTS, int(_REQUESTS / traffic.rounds)))
        self.size = traffic.concurrency / self.clients
        self.mixed = setup.engine not in SEPARATE
        self.chunk_tokens = float(setup.chunk_tokens)
        self.budget = self.chunk_tokens * setup.attn_dp
        total = traffic.prompt_tokens + traffic.output_tokens
        fits = serving_memory(setup, total * (1 - traffic.spread / 2)).sequences
        # A setup whose weights the ledger finds too large is asked about because it runs: then nothing limits it here.
        self.slots = max(1, min(self.clients, int((fits or traffic.concurrency) / self.size)))
        self.intake, self.since = setup.intake_steps, 0
        self.front_s = 0.0
        self.coming: deque[tuple[float, _Request]] = deque()
        self.now_s, self.step, self.issued, self.context = 0.0, 0, 0, 0.0
        self.random = random.Random(traffic.seed)
        self.waiting: deque[_Request] = deque()
        self.running: list[tuple[int, int, _Request]] = []
        self.seen = Observed()

    def send(self) -> None:
        """The next request of a client."""
        traffic = self.traffic
        self.issued += 1
        prompt = traffic.prompt_tokens * (1 - traffic.spread * self.random.random())
        output = max(1, round(traffic.output_tokens * (1 - traffic.spread * self.random.random())))
        fresh = prompt * (1 - self.model.setup.prefix_share)
        self.front_s = max(self.front_s, self.now_s) + FRONT_S * self.size
        self.coming.append((self.front_s, _Request(self.now_s, prompt, output, fresh * self.size)))

    def arrive(self) -> None:
        """Requests that the front end has handed over by now, where the engine looks; when there is nothing else to do, the next one
        is waited for."""
        if self.coming and not self.waiting and not self.running:
            self.now_s = max(self.now_s, self.coming[0][0])
            self.since = 0
        if self.since:
            return
        while self.coming and self.coming[0][0] <= self.now_s:
            self.waiting.append(self.coming.popleft()[1])

    def chunk(self) -> tuple[float, float, list[_Request]]:
        """Prompt tokens of the next step, their mean context, and the requests whose prompts it finishes."""
        decoding = len(self.running) * self.size if self.mixed else 0.0
        room = max(1.0, self.budget - decoding)
        taken, seen, largest, done = 0.0, 0.0, 0.0, []
        free = self.slots - len(self.running)
        while self.waiting and free > len(done) and taken < room:
            request = self.waiting[0]
            part = min(room - taken, request.left, self.chunk_tokens * self.size)
            through = request.prompt - request.left
            seen += part * (request.prompt / 2 if self.size > 1 else through + part / 2)
            taken += part
            largest = max(largest, part / self.size)
            request.left -= part
            if request.began_s < 0:
                request.began_s = self.now_s
            if request.left > 0:
                break
            done.append(self.waiting.popleft())
        # A prompt is read by one attention group: when the others have less to read, they wait for it.
        groups = self.model.setup.attn_dp
        return max(taken, groups * largest), seen / taken if taken else 0.0, done

    def advance(self, prompt: float, seen: float) -> None:
        """One step with prompts, or steps that only decode until the next answer or arrival."""
        held = len(self.running) * self.size
        live = 0.0 if prompt > 0 and not self.mixed else held
        steps = max(1, self.running[0][0] - self.step) if self.running and prompt <= 0 else 1
        mean_context = self.context / len(self.running) + (steps - 1) / 2 if live else 0.0
        seconds = self.model.seconds(prompt, seen, live, mean_context)
        if steps > 1 and self.coming and len(self.running) < self.slots:
            steps = min(steps, self.steps_to_look(max(1, math.ceil((self.coming[0][0] - self.now_s) / seconds))))
        self.since = 0 if prompt > 0 else (self.since + steps) % self.intake
        self.now_s += steps * seconds
        self.seen.steps.append(Steps(steps, prompt, seen, live, mean_context, held, seconds))
        if live or not held:
            self.step += steps
            self.context += steps * len(self.running)
            self.seen.output_tokens += steps * live

    def steps_to_look(self, arrival: int) -> int:
        """Decode steps until the engine first looks at its queue, `arrival` steps from now or later."""
        return arrival + (-self.since - arrival) % self.intake

    def finish(self) -> None:
        """Requests that have all their tokens are answered; their clients send again."""
        total = self.clients * self.traffic.rounds
        while self.running and self.running[0][0] <= self.step:
            _, _, request = heapq.heappop(self.running)
            self.context -= request.prompt + request.output
            if request.output > 1:
                self.seen.token_s.append((self.now_s - request.first_s) / (request.output - 1))
            self.seen.requests += self.size
            if self.issued < total:
                self.send()

    def start(self, done: list[_Request]) -> None:
        """Requests whose prompts are in: their first token is out."""
        for request in done:
            request.first_s = self.now_s
            width = max(0.0, self.now_s - request.began_s) / 2 if self.size > 1 else 0.0
            self.seen.ttft_s.append(self.now_s - request.sent_s - width)
            self.seen.half_width_s.append(width)
            self.seen.output_tokens += self.size
            self.context += request.prompt + 1
            heapq.heappush(self.running, (self.step + request.output - 1, id(request), request))


def closed_loop(model: StepModel, traffic: ClosedLoop) -> Observed:
    """What `traffic.concurrency` clients of one replica see."""
    loop = _Loop(model, traffic)
    for _ in range(loop.clients):
        loop.send()
    while loop.waiting or loop.running or loop.coming:
        loop.arrive()
        prompt, seen, done = loop.chunk()
        loop.advance(prompt, seen)
        loop.start(done)
        loop.finish()
    observed = loop.seen
    observed.end_s = loop.now_s
    taken = sum(step.times for step in observed.steps)
    observed.running = sum(step.times * step.live for step in observed.steps) / max(1, taken)
    assert math.isfinite(observed.end_s) and observed.end_s > 0
    return observed
