"""Who decodes, who reads its prompt and who waits, as plain bookkeeping. No torch, no clock, no threads.

Rows 0 to n - 1 of the cache are always the ones in use: when a request leaves, the last row moves into its place, so a
step never computes a hole. Prompts are read first come, first served, in chunks under a budget of tokens per step while
anyone decodes (Sarathi-Serve, arXiv 2403.02310), so a long prompt delays the others' next token by a bounded amount and
decoding never delays a prompt for more than its turn. No priorities, no preemption.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """`count` prompt tokens from `start` on, of the request in `row`. `last`: the prompt ends with it."""

    row: int
    start: int
    count: int
    last: bool


@dataclass(eq=False)
class Row(Generic[T]):
    """A request that holds a cache row. `length` is how many of its positions are in the cache."""

    item: T
    prompt_tokens: int
    arrival: int
    length: int = 0

    @property
    def reading(self) -> bool:
        """Whether part of the prompt is still to be read."""
        return self.length < self.prompt_tokens


@dataclass
class Scheduler(Generic[T]):
    """Rows in use, in cache order, and the requests that wait for one, in order of arrival."""

    slots: int
    chunk_tokens: int
    alone_tokens: int
    """The budget of a step in which nobody decodes: nobody is delayed, so larger chunks are only faster."""
    rows: list[Row[T]] = field(default_factory=list)
    waiting: deque[Row[T]] = field(default_factory=deque)
    arrivals: int = 0

    def enqueue(self, item: T, prompt_tokens: int) -> None:
        """Let a request wait."""
        assert prompt_tokens > 0
        self.waiting.append(Row(item, prompt_tokens, self.arrivals))
        self.arrivals += 1

    def admit(self) -> None:
        """Give free rows to those who wait longest."""
        while self.waiting and len(self.rows) < self.slots:
            self.rows.append(self.waiting.popleft())

    def plan(self) -> list[Piece]:
        """The prompt pieces of the next step: whole prompts while the budget lasts, oldest request first."""
        reading = [index for index, row in enumerate(self.rows) if row.reading]
        budget = self._budget(len(reading))
        pieces: list[Piece] = []
        for index in sorted(reading, key=lambda index: self.rows[index].arrival):
            if budget <= 0:
                break
            row = self.rows[index]
            count = min(budget, row.prompt_tokens - row.length)
            pieces.append(Piece(index, row.length, count, row.length + count == row.prompt_tokens))
            budget -= count
        return pieces

    def _budget(self, reading: int) -> int:
        """Prompt tokens of the next step: `chunk_tokens`, more when those who wait for it outnumber those whom it delays."""
        decoding = len(self.rows) - reading
        if not decoding:
            return self.alone_tokens
        return min(self.alone_tokens, self.chunk_tokens * max(1, reading // decoding))

    def release(self, indices: Sequence[int]) -> list[tuple[int, int, int]]:
        """Take rows out. Returns (source, target, length) copies, in order, that keep the cache without holes."""
        moves: list[tuple[int, int, int]] = []
        for index in sorted(set(indices), reverse=True):
            last = self.rows.pop()
            if index < len(self.rows):
                self.rows[index] = last
                moves.append((len(self.rows), index, last.length))
        return moves

    def forget(self, item: T) -> bool:
        """Take a waiting request out; False when it is not waiting."""
        for row in self.waiting:
            if row.item is item:
                self.waiting.remove(row)
                return True
        return False
