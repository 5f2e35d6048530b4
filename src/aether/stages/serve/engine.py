"""What every engine is to the front end: an inbox of requests, and news of them through `deliver`.

An engine owns a model and gives each request its tokens; text, stops, counting and limits are the same for all, and are
here. `packed_engine` batches over our own decoder, `llama_engine` over llama.cpp. No HTTP, no choice between engines.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from aether.models.config import DecoderConfig
from aether.stages.serve.detokenize import Detokenizer
from aether.stages.serve.sampling import Sampling


class QueueFull(Exception):
    """Every slot is taken and so is every place in the queue."""


class NotServing(Exception):
    """The engine is draining or has failed: it takes no new request."""


@dataclass(eq=False)
class Generation:
    """One request as the engine sees it. The lengths were checked by whoever made it: the context holds them."""

    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling
    stops: tuple[str, ...] = ()
    ignore_eos: bool = False
    produced: int = 0
    detokenizer: Detokenizer | None = None
    last_token: int = 0
    submitted_s: float = field(default_factory=time.monotonic)


class Delta(NamedTuple):
    """News of one request: the text that became certain, tokens so far, and how it finished if it did."""

    generation: Generation
    text: str
    produced: int
    finish: str | None = None


Deliver = Callable[[list[Delta]], None]


@dataclass
class Counters:
    """What the engine has done since it started. `steps` is None where the engine does not tell."""

    steps: int | None = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cancelled: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True)
class Limits:
    """How the engine may fill itself, from `EngineRecipe`."""

    max_queue: int
    chunk_tokens: int
    eos_tokens: frozenset[int]
    threads: int = 1


class ServedModel(Protocol):
    """What the front end must know of a model, whoever computes it."""

    config: DecoderConfig
    slots: int

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key-value cache."""
        ...


class Engine(ABC):
    """Start it, submit, hear `deliver` from its threads, stop it."""

    def __init__(self, model: ServedModel, table: Sequence[bytes], limits: Limits, deliver: Deliver) -> None:
        self.slots, self.cache_bytes, self.counters = model.slots, model.cache_bytes, Counters()
        self._context_tokens = model.config.context_tokens
        self._table, self._limits, self._deliver = table, limits, deliver
        self._lock = threading.Lock()
        self._open: set[Generation] = set()
        self._state = "new"

    @abstractmethod
    def start(self) -> None:
        """Begin."""

    @abstractmethod
    def cancel(self, generation: Generation) -> None:
        """Free a request's slot before its next token. Nothing more is delivered; a finished one is left alone."""

    @abstractmethod
    def stop(self, patience_s: float = 10.0) -> None:
        """Leave after the current step. Requests in hand are delivered as `error`."""

    @property
    @abstractmethod
    def running(self) -> int:
        """Requests that hold a slot."""

    @abstractmethod
    def _take(self, generation: Generation) -> None:
        """A request that was let in."""

    @property
    def state(self) -> str:
        """new, serving, draining, failed or stopped."""
        return self._state

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return max(0, len(self._open) - self.running)

    @property
    def refusal(self) -> QueueFull | NotServing | None:
        """Why a request would not be taken now; None when it would."""
        if self._state != "serving":
            return NotServing(self._state)
        return QueueFull() if len(self._open) >= self.slots + self._limits.max_queue else None

    def submit(self, generation: Generation) -> None:
        """Take a request in. Raises QueueFull or NotServing."""
        assert len(generation.prompt) > 0 and generation.max_tokens > 0
        assert len(generation.prompt) + generation.max_tokens <= self._context_tokens
        generation.detokenizer = Detokenizer(self._table, generation.stops)
        with self._lock:
            if self.refusal is not None:
                raise self.refusal
            self._open.add(generation)
        self._take(generation)

    def drain(self) -> None:
        """Take no more requests; those in hand go on."""
        with self._lock:
            if self._state == "serving":
                self._state = "draining"

    def _close(self, generations: Iterable[Generation]) -> None:
        with self._lock:
            self._open.difference_update(generations)

    def _dismiss(self) -> None:
        """The end, wanted or not: whoever is still in hand is told."""
        with self._lock:
            if self._state != "stopped":
                self._state = "failed"
            left, self._open = list(self._open), set()
        if left:
            self._deliver([Delta(generation, "", generation.produced, "error") for generation in left])

    def _advance(self, generation: Generation, token: int) -> Delta:
        """Give a request its next token."""
        detokenizer = generation.detokenizer
        assert detokenizer is not None
        generation.produced += 1
        generation.last_token = token
        if token in self._limits.eos_tokens and not generation.ignore_eos:
            return Delta(generation, detokenizer.finish(), generation.produced, "stop")
        text = detokenizer.push(token)
        if not detokenizer.stopped and generation.produced >= generation.max_tokens:
            text += detokenizer.finish()
            return Delta(generation, text, generation.produced, "stop" if detokenizer.stopped else "length")
        return Delta(generation, text, generation.produced, "stop" if detokenizer.stopped else None)
