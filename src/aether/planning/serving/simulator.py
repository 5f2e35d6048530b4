"""What users of a deployment will see under a load, request by request, from nothing but the time of a step.

A discrete-event simulation: replicas (`simulator_replica`) behind a router, or a pool that reads prompts in front of one that
decodes (`disaggregation`). Arrivals and lengths come from `arrivals`, percentiles and verdicts from `simulator_report`. Time
passes from step to step and from arrival to arrival, so thousands of requests take well under a second. Validated against
queueing theory in its tests, and against a real server in benchmarks/simulator_accuracy.py. Not here: the network between
client and router, failures of replicas, requests that are cancelled or refused.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aether.planning.serving.arrivals import Request, Trace, Traffic
from aether.planning.serving.memory import sequence_bytes_per_device, serving_memory
from aether.planning.serving.setup import ServingSetup
from aether.planning.serving.simulator_replica import DecodeCost, EngineLimits, Job, Replica, StepCost
from aether.planning.serving.step import step_model
from aether.spec.errors import InputError

Floats = NDArray[np.float64]
Routing = Literal["round_robin", "least_loaded"]


@dataclass(frozen=True)
class Pool:
    """Equal replicas behind one router."""

    cost: StepCost
    limits: EngineLimits
    replicas: int = 1
    routing: Routing = "least_loaded"
    decoding: DecodeCost | None = None
    """The same cost of steps that only decode, where it is known apart: most steps of a long answer are such."""

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise InputError.of("replicas", self.replicas, "give at least 1")


@dataclass(frozen=True)
class Handoff:
    """Prompts are read by one pool, answers written by another; each cache moves in between."""

    prefill: Pool
    decode: Pool
    latency_s: float
    """Fixed time of one transfer."""
    seconds_per_token: float
    """Time for each prompt token of the cache; transfers do not wait for each other."""

    def __post_init__(self) -> None:
        if self.latency_s < 0 or self.seconds_per_token < 0:
            raise InputError.of("handoff", (self.latency_s, self.seconds_per_token), "give seconds from 0 on")


Deployment = Pool | Handoff


@dataclass(frozen=True)
class Outcome:
    """Every request, in order of index, in seconds from the start."""

    arrival_s: Floats
    prompt_tokens: NDArray[np.int64]
    tokens_s: tuple[Floats, ...]
    """When each output token of a request came out."""
    waited_s: Floats
    """From arrival until an engine first admitted it."""
    preemptions: int
    busy_share: float
    """Share of the time that engines were in a step, mean over all engines."""
    steps_s: tuple[Floats, ...]
    """When each step of an engine ended."""
    runs: tuple[tuple[tuple[int, int, int], ...], ...]
    """(engine, first step, last step) of each run of steps that gave a request its tokens."""
    spare_blocks: int | None = None
    """Cache blocks that were free on every engine at all times; None where sequences or blocks held somebody back. An engine that takes more
    sequences, and has no more than so many blocks less, does the same."""

    @property
    def requests(self) -> int:
        """How many requests there were; all are answered."""
        return len(self.arrival_s)

    @property
    def output_tokens(self) -> NDArray[np.int64]:
        """Output tokens of each request."""
        return np.array([len(times) for times in self.tokens_s], np.int64)

    @property
    def ttft_s(self) -> Floats:
        """Time to first token."""
        return np.array([times[0] for times in self.tokens_s]) - self.arrival_s

    @property
    def e2e_s(self) -> Floats:
        """Time to the last token."""
        return np.array([times[-1] for times in self.tokens_s]) - self.arrival_s

    @property
    def gaps_s(self) -> tuple[Floats, ...]:
        """Time between tokens, for each request."""
        return tuple(np.diff(times) for times in self.tokens_s)

    @property
    def end_s(self) -> float:
        """When the last token came out."""
        return max(float(times[-1]) for times in self.tokens_s)


class _Router:
    """Sends each request of a pool to a replica."""

    def __init__(self, pool: Pool, first: int) -> None:
        self.replicas = [Replica(pool.cost, pool.limits, pool.decoding) for _ in range(pool.replicas)]
        self.first, self._turn, self._least = first, 0, pool.routing == "least_loaded"

    def choose(self) -> int:
        """The number of the replica that takes the next request; ties go round."""
        count = len(self.replicas)
        turn, self._turn = self._turn, (self._turn + 1) % count
        if not self._least or count == 1:
            return turn
        return min(range(count), key=lambda i: (self.replicas[i].load, (i - turn) % count))


@dataclass
class _Clock:
    """The events to come: requests that reach a pool, and engines that end a step."""

    arrivals: list[tuple[float, int, int, Job]] = field(default_factory=list)
    """(when, sequence, pool, job)."""
    steps: list[tuple[float, int]] = field(default_factory=list)
    """(now, engine) of each engine that has something to do."""
    issued: int = 0

    def send(self, at_s: float, pool: int, job: Job) -> None:
        """A job reaches a pool."""
        heapq.heappush(self.arrivals, (at_s, self.issued, pool, job))
        self.issued += 1


class _Simulation:
    """One run."""

    def __init__(
        self, deployment: Deployment, requests: Sequence[Request], think_s: float | None, coasts: bool
    ) -> None:
        self.handoff = deployment if isinstance(deployment, Handoff) else None
        pools = [deployment.prefill, deployment.decode] if isinstance(deployment, Handoff) else [deployment]
        self.routers: list[_Router] = []
        self.engines: list[Replica] = []
        for pool in pools:
            self.routers.append(_Router(pool, len(self.engines)))
            self.engines += self.routers[-1].replicas
        self.owners = [number for number, router in enumerate(self.routers) for _ in router.replicas]
        self.requests, self.think_s, self.clock = requests, think_s, _Clock()
        self.coasts = coasts and (len(self.engines) == 1 or (think_s is None and self.handoff is None))
        """Only where what one engine ends sends nothing to another one: then it need not be stopped for the others' steps."""
        self.arrival_s = np.zeros(len(requests))
        self.waited_s = np.zeros(len(requests))
        self.parts: list[list[tuple[int, Job]]] = [[] for _ in requests]
        """(engine, job) of each request, in order of time."""
        self.sent = 0

    def send_next(self, at_s: float) -> None:
        """The next request, at its own time or, in a closed loop, at `at_s`."""
        if self.sent == len(self.requests):
            return
        index, request = self.sent, self.requests[self.sent]
        self.sent += 1
        when = at_s if request.arrival_s is None else request.arrival_s
        self.arrival_s[index] = when
        cached = min(request.cached_tokens, request.prompt_tokens - 1)
        output = 1 if self.handoff else request.output_tokens
        job = Job(index, when, request.prompt_tokens, output, cached, request.prompt_tokens - cached)
        self.clock.send(when, 0, job)

    def run(self) -> None:
        """Until every request is answered."""
        clock, engines = self.clock, self.engines
        while clock.arrivals or clock.steps:
            if clock.arrivals and (not clock.steps or clock.arrivals[0][0] <= clock.steps[0][0]):
                at_s, _, pool, job = heapq.heappop(clock.arrivals)
                self._arrive(at_s, pool, job)
                continue
            _, number = heapq.heappop(clock.steps)
            engine = engines[number]
            if self.coasts:
                engine.coast(clock.arrivals[0][0] if clock.arrivals else math.inf)
                if clock.arrivals and clock.arrivals[0][0] <= engine.now_s:
                    heapq.heappush(clock.steps, (engine.now_s, number))
                    continue
            for job in engine.step():
                self._done(number, job)
            if engine.load:
                heapq.heappush(clock.steps, (engine.now_s, number))

    def _arrive(self, at_s: float, pool: int, job: Job) -> None:
        router = self.routers[pool]
        number = router.first + router.choose()
        engine = self.engines[number]
        if not engine.load:
            engine.wait_until(at_s)
            heapq.heappush(self.clock.steps, (engine.now_s, number))
        engine.waiting.append(job)
        self.parts[job.index].append((number, job))
        if pool == 0 and self.think_s is None:
            self.send_next(at_s)

    def _done(self, number: int, job: Job) -> None:
        now_s, request = self.engines[number].now_s, self.requests[job.index]
        if self.owners[number] == 0:
            self.waited_s[job.index] = job.admitted_s - job.arrival_s
            if self.handoff and request.output_tokens > 1:
                self._hand_off(now_s, job, request)
                return
        if self.think_s is not None:
            self.send_next(now_s + self.think_s)

    def _hand_off(self, now_s: float, job: Job, request: Request) -> None:
        assert self.handoff is not None
        moved_s = self.handoff.latency_s + self.handoff.seconds_per_token * request.prompt_tokens
        at_s = now_s + moved_s
        self.clock.send(at_s, 1, Job(job.index, at_s, request.prompt_tokens + 1, request.output_tokens - 1, 0, 0))

    def outcome(self) -> Outcome:
        """What happened, request by request."""
        ends_s = [np.asarray(engine.ends_s) for engine in self.engines]
        runs = tuple(tuple((engine, a, b) for engine, job in parts for a, b in job.segments) for parts in self.parts)
        tokens_s = tuple(np.concatenate([ends_s[engine][a : b + 1] for engine, a, b in run]) for run in runs)
        end_s = max(float(ends[-1]) for ends in ends_s if len(ends))
        return Outcome(
            arrival_s=self.arrival_s,
            prompt_tokens=np.array([request.prompt_tokens for request in self.requests], np.int64),
            tokens_s=tokens_s,
            waited_s=self.waited_s,
            preemptions=sum(engine.preemptions for engine in self.engines),
            busy_share=sum(engine.busy_s for engine in self.engines) / (end_s * len(self.engines)),
            steps_s=tuple(ends_s),
            runs=runs,
            spare_blocks=None
            if self.handoff or any(engine.limited for engine in self.engines)
            else min(engine.least_free for engine in self.engines),
        )


def simulate(deployment: Deployment, traffic: Traffic | Trace, seed: int = 0, coasts: bool = True) -> Outcome:
    """The traffic of one seed through the deployment, until every request is answered. `coasts`: steps that only decode are taken in one go,
    which is faster and no other step.

    Raises InputError when a request is longer than the cache of an engine.
    """
    requests = traffic.draw(seed)
    for pool in (deployment.prefill, deployment.decode) if isinstance(deployment, Handoff) else (deployment,):
        _check_room(pool.limits, requests)
    closed = traffic.clients
    run = _Simulation(deployment, requests, closed.think_s if closed else None, coasts)
    for _ in range(min(closed.clients, len(requests)) if closed else 1):
        run.send_next(0.0)
    run.run()
    return run.outcome()


def _check_room(limits: EngineLimits, requests: Sequence[Request]) -> None:
    if limits.cache_blocks is None:
        return
    longest = max(request.prompt_tokens + request.output_tokens for request in requests)
    if limits.blocks(longest) > limits.cache_blocks:
        mend = f"the longest request has {longest} tokens and needs {limits.blocks(longest)} blocks for itself"
        raise InputError.of("cache_blocks", limits.cache_blocks, mend)


def pool_of(setup: ServingSetup, replicas: int = 1, routing: Routing = "least_loaded") -> Pool:
    """Replicas of a served model, with the step time of `step` and the cache that `memory` leaves.

    Raises InputError when the model leaves no room for a cache.
    """
    limits = EngineLimits(
        max_sequences=min(setup.max_sequences, setup.chunk_tokens * setup.attn_dp),
        step_tokens=setup.chunk_tokens * setup.attn_dp,
        block_tokens=setup.block_tokens,
        cache_blocks=_cache_blocks(setup),
    )
    return Pool(step_model(setup).seconds, limits, replicas, routing)


_LONG_BLOCKS = 64
"""Blocks over which the growth of a cache is measured, so that windows and constant states count little (assumed)."""


def _cache_blocks(setup: ServingSetup) -> int | None:
    """Blocks of the whole replica; None where a sequence's cache does not grow with its length."""
    ledger = serving_memory(setup, setup.block_tokens)
    if ledger.cache_bytes <= 0:
        mend = f"the model needs {ledger.fixed_bytes / 1e9:.1f} GB of {ledger.usable_bytes / 1e9:.1f} on each device"
        raise InputError.of("setup", setup.device.name, f"{mend}: use more devices, or a smaller format")
    far, near = (sequence_bytes_per_device(setup, setup.block_tokens * n) for n in (2 * _LONG_BLOCKS, _LONG_BLOCKS))
    block_bytes = (far - near) / _LONG_BLOCKS
    if block_bytes <= 0:
        return None
    return int(ledger.cache_bytes // block_bytes) * setup.attn_dp
