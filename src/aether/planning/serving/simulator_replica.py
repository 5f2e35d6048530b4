"""One engine in simulated time: continuous batching over paged cache blocks, as vLLM's scheduler does it.

Iteration-level scheduling (Orca, OSDI 2022); chunked prefill beside decode under a budget of tokens for each step
(Sarathi-Serve, arXiv 2403.02310); cache in blocks, and when they run out the youngest sequence gives its blocks back and is
computed again later (PagedAttention, arXiv 2309.06180, section 4.5). First come, first served. A step costs what a callable
says, so nothing here knows a device. Work in a step does not grow with the batch: sequences that only decode are counted, not
visited. Not here: swapping to host memory, priorities, blocks that prompts share (hits save computing, not memory).
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError

StepCost = Callable[[float, float, float, float], float]
"""(prompt tokens, mean positions that each of them sees, decoding sequences, mean positions that each attends to) -> seconds
of one step."""
DecodeCost = Callable[[float], Callable[[float], float]]
"""Decoding sequences -> (mean positions that each attends to -> seconds of a step that only decodes)."""


class EngineLimits(Noun):
    """How much one engine takes on at once."""

    max_sequences: int = Field(default=256, ge=1)
    step_tokens: int = Field(default=8192, ge=1)
    """Most tokens of one step, prompts and decoding sequences together."""
    chunk_tokens: int | None = Field(default=None, ge=1)
    """Most prompt tokens of a step in which somebody decodes; None: what `step_tokens` leaves."""
    block_tokens: int = Field(default=16, ge=1)
    cache_blocks: int | None = Field(default=None, ge=1)
    """Blocks of the cache; None: it is never short."""

    @model_validator(mode="after")
    def _everybody_decodes(self) -> "EngineLimits":
        if self.step_tokens < self.max_sequences:
            mend = f"each of max_sequences = {self.max_sequences} needs a token in a step: give at least that many"
            raise InputError.of("step_tokens", self.step_tokens, mend)
        return self

    def blocks(self, tokens: int) -> int:
        """Blocks that hold `tokens`."""
        return -(-tokens // self.block_tokens)


@dataclass(slots=True, eq=False)
class Job:
    """A request at one engine. Steps are numbered for each engine; a token is out at the end of its step."""

    index: int
    arrival_s: float
    """When it reached this engine."""
    prompt: int
    output: int
    """Tokens that this engine produces."""
    cached: int
    left: int
    """Prompt tokens still to be computed; 0 from the start when the cache came from another engine."""
    produced: int = 0
    held: int = 0
    """Positions in the cache when decoding began."""
    since: int = -1
    """First step in which it decodes; -1 while it waits or reads."""
    ends: int = -1
    """Step of the last token."""
    opened: int = -1
    """First step of the run of steps that give it tokens now."""
    admitted_s: float = -1.0
    segments: list[tuple[int, int]] = field(default_factory=list)
    """First and last step of each run of steps that gave it tokens."""

    @property
    def target(self) -> int:
        """Positions in the cache once its prompt, and what was produced before a preemption, are computed."""
        return self.prompt + self.produced


class Replica:
    """The engine's state between steps. `now_s` is the end of its last step."""

    def __init__(self, cost: StepCost, limits: EngineLimits, decoding: DecodeCost | None = None) -> None:
        self._cost, self.limits, self._block_tokens = cost, limits, limits.block_tokens
        self._decode_cost: DecodeCost = decoding or (lambda many: lambda context: cost(0, 0.0, many, context))
        self.now_s, self.busy_s, self.number, self.preemptions = 0.0, 0.0, 0, 0
        self.free = 1 << 60 if limits.cache_blocks is None else limits.cache_blocks
        self.least_free, self.limited = self.free, False
        """Blocks that were always free; whether sequences or blocks ever held somebody back."""
        self.waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        """Admitted, oldest first."""
        self._reading: list[Job] = []
        self._ending: list[tuple[int, int, Job]] = []
        self._decoding, self._positions = 0, 0
        self._residues = [0] * limits.block_tokens
        """Decoding sequences by (positions - step) modulo the block: those that need a new block are found at once."""
        self._coasted: dict[int, tuple[Callable[[float], float], dict[int, float]]] = {}
        """By sequences: the cost of a step that only decodes, and its seconds by positions: at a low load the same ones come again and again."""
        self.ends_s: list[float] = []
        self.emitted: list[int] = []
        """Tokens that came out at the end of each step."""

    @property
    def load(self) -> int:
        """Requests that it has."""
        return len(self.waiting) + len(self._running)

    def wait_until(self, at_s: float) -> None:
        """Let time pass while there is nothing to do."""
        assert not self.load
        self.now_s = max(self.now_s, at_s)

    def step(self) -> list[Job]:
        """One step. Returns the jobs that have all their tokens."""
        assert self.load
        if self.waiting and not self.waiting[0].left:
            self._admit_computed()
        due = self._due()
        if due > self.free:
            self.limited = True
            due = self._make_room()
        self.free -= due
        self.least_free = min(self.least_free, self.free)
        decoding = self._decoding
        mean_positions = self._positions / decoding + 1.0 if decoding else 0.0
        pieces, tokens, seen = self._read(decoding) if self._reading or self.waiting else ((), 0, 0.0)
        seconds = self._cost(tokens, seen / tokens if tokens else 0.0, decoding, mean_positions)
        assert seconds > 0, "a step takes time"
        self.now_s += seconds
        self.busy_s += seconds
        self._positions += decoding
        done: list[Job] = []
        while self._ending and self._ending[0][0] <= self.number:
            at, _, job = heapq.heappop(self._ending)
            if job.ends == at:
                self._finish(job)
                done.append(job)
        for job in pieces:
            if not job.left:
                self._begin(job, done)
                decoding += 1
        self.ends_s.append(self.now_s)
        self.emitted.append(decoding)
        self.number += 1
        return done

    def coast(self, until_s: float) -> None:
        """What `step` would do again and again while nobody waits, reads or ends, in steps that begin before `until_s`."""
        if self.waiting or self._reading or not self._decoding:
            return
        decoding, number, now_s, positions, free = self._decoding, self.number, self.now_s, self._positions, self.free
        next_end, busy_s = self._ending[0][0], self.busy_s
        if decoding not in self._coasted:
            self._coasted[decoding] = (self._decode_cost(decoding), {})
        cost, known = self._coasted[decoding]
        residues, block, ends_s = self._residues, self._block_tokens, self.ends_s
        while number < next_end and now_s < until_s:
            due = residues[-number % block]
            if due > free:
                break
            free -= due
            seconds = known.get(positions)
            if seconds is None:
                seconds = known[positions] = cost(positions / decoding + 1.0)
                assert seconds > 0, "a step takes time"
            now_s += seconds
            busy_s += seconds
            positions += decoding
            ends_s.append(now_s)
            number += 1
        self.emitted += [decoding] * (number - self.number)
        self.number, self.now_s, self.busy_s, self._positions, self.free = number, now_s, busy_s, positions, free
        self.least_free = min(self.least_free, free)

    def _admit(self) -> Job:
        job = self.waiting.popleft()
        self.free -= self.limits.blocks(job.target)
        self.least_free = min(self.least_free, self.free)
        self._running[job.index] = job
        if job.admitted_s < 0:
            job.admitted_s = self.now_s
        return job

    def _admit_computed(self) -> None:
        """Sequences whose cache came from elsewhere decode at once, when their blocks and the next ones are free."""
        while self.waiting and not self.waiting[0].left and len(self._running) < self.limits.max_sequences:
            wanted = self.limits.blocks(self.waiting[0].target) + 1 + self._due()
            if wanted > self.free and self._running:
                return
            job = self._admit()
            self._decode(job, job.target, self.number, self.number)

    def _due(self) -> int:
        """Decoding sequences that need a new block in this step."""
        return self._residues[-self.number % self._block_tokens]

    def _make_room(self) -> int:
        """Preempt until the new blocks of this step are free. Returns how many those are."""
        while self._due() > self.free:
            self._preempt()
        return self._due()

    def _read(self, decoding: int) -> tuple[list[Job], int, float]:
        """Jobs that read in this step, their tokens, and the sum of positions that these see."""
        budget = self.limits.step_tokens - decoding
        if decoding and self.limits.chunk_tokens is not None:
            budget = min(budget, self.limits.chunk_tokens)
        pieces: list[Job] = []
        tokens, seen = 0, 0.0
        while tokens < budget:
            if len(pieces) == len(self._reading) and not self._admit_prompt():
                break
            job = self._reading[len(pieces)]
            count = min(budget - tokens, job.left)
            seen += count * (job.target - job.left + count / 2)
            job.left -= count
            tokens += count
            pieces.append(job)
        return pieces, tokens, seen

    def _admit_prompt(self) -> bool:
        if not self.waiting:
            return False
        job = self.waiting[0]
        full = len(self._running) >= self.limits.max_sequences
        if full or not job.left or self.limits.blocks(job.target) > self.free:
            self.limited = True
            return False
        self._reading.append(self._admit())
        return True

    def _begin(self, job: Job, done: list[Job]) -> None:
        """Its prompt is read: a token comes out of this step, and it decodes from the next one on."""
        self._reading.remove(job)
        positions = job.target
        job.produced += 1
        if job.produced < job.output:
            self._decode(job, positions, self.number + 1, self.number)
            return
        job.segments.append((self.number, self.number))
        self.free += self.limits.blocks(positions)
        del self._running[job.index]
        done.append(job)

    def _decode(self, job: Job, positions: int, first_step: int, opened: int) -> None:
        job.held, job.since, job.opened = positions, first_step, opened
        job.ends = first_step + job.output - job.produced - 1
        self._residues[(positions - first_step) % self.limits.block_tokens] += 1
        self._decoding += 1
        self._positions += positions
        heapq.heappush(self._ending, (job.ends, job.index, job))

    def _stop(self, job: Job, steps: int) -> None:
        """Out of the decoding ones, after `steps` of them."""
        positions = job.held + steps
        self._residues[(job.held - job.since) % self.limits.block_tokens] -= 1
        self._decoding -= 1
        self._positions -= positions
        self.free += self.limits.blocks(positions)
        job.produced += steps
        job.since = job.ends = -1

    def _finish(self, job: Job) -> None:
        job.segments.append((job.opened, self.number))
        self._stop(job, self.number + 1 - job.since)
        assert job.produced == job.output
        del self._running[job.index]

    def _preempt(self) -> None:
        """The youngest gives its blocks back, and comes first among those who wait."""
        _, job = self._running.popitem()
        if job.since < 0:
            self._reading.remove(job)
            self.free += self.limits.blocks(job.target)
        else:
            if job.opened < self.number:
                job.segments.append((job.opened, self.number - 1))
            self._stop(job, self.number - job.since)
        job.left = max(1, job.target - job.cached)
        self.preemptions += 1
        self.waiting.appendleft(job)
