"""llama.cpp as an engine: its own continuous batching, in this process, through the `xllamacpp` package (2026.10).

Token ids go in and come out (`models.gguf_file`), so tokenizer, stops and end token are ours. Each running request is a
thread that waits in `Server.handle_completions`; requests beyond the slots wait here, where they can be cancelled at
once, and a running one gives its slot back at its next token. Greedy float32 text is that of the packed engine (tested).
A seeded draw is not: llama.cpp draws with its own generator. Prompts are not remembered between requests.

llama.cpp also opens its own web server. It is given a socket file in a folder that is gone as soon as the model is
loaded, so nobody can connect to it.
"""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp as untyped

from aether.models.config import DecoderConfig
from aether.models.gguf_file import GgufType, tokens_of
from aether.stages.serve.engine import Deliver, Engine, Generation, Limits, ServedModel
from aether.stages.serve.sampling import Sampling

xllamacpp: Any = untyped
"""The package, which has no types of its own."""
_VALUE_BYTES: dict[GgufType, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
_CACHE_TYPES: dict[GgufType, str] = {
    "float32": "GGML_TYPE_F32",
    "float16": "GGML_TYPE_F16",
    "bfloat16": "GGML_TYPE_BF16",
}
_SEEDS = 2**32 - 1
"""llama.cpp's seeds are below this; the number itself asks for a random one (published: llama.h, LLAMA_DEFAULT_SEED)."""


@dataclass(frozen=True)
class LlamaSettings:
    """What llama.cpp is told besides the model. `dtype`: of the cache, and of the matrices that we write."""

    slots: int
    chunk_tokens: int
    threads: int
    dtype: GgufType


class LlamaModel(ServedModel):
    """A model that is loaded into llama.cpp, with `slots` sequences of the whole context each."""

    def __init__(self, config: DecoderConfig, write: Callable[[Path], None], settings: LlamaSettings) -> None:
        """`write` writes the GGUF file, whose vocabulary is `gguf_file`'s."""
        self.config, self.slots, self._settings = config, settings.slots, settings
        with tempfile.TemporaryDirectory(prefix="aether-gguf-") as folder:
            path = Path(folder) / "model.gguf"
            write(path)
            self._server: Any = xllamacpp.Server(self._parameters(path))

    def _parameters(self, path: Path) -> Any:
        found = xllamacpp.CommonParams()
        found.model.path, found.hostnames = str(path), [str(path.with_suffix(".sock"))]
        found.ui, found.endpoint_slots = False, False
        found.n_parallel, found.n_ctx, found.kv_unified = self.slots, self.slots * self.config.context_tokens, False
        # One token for each running request, and at most `chunk_tokens` of prompts beside them: the packed engine's bound.
        found.n_batch = found.n_ubatch = self.slots + self._settings.chunk_tokens
        found.cache_type_k = found.cache_type_v = getattr(xllamacpp.ggml_type, _CACHE_TYPES[self._settings.dtype])
        found.cache_prompt, found.cache_ram_mib, found.fit_params, found.verbosity = False, 0, False, 0
        for pool in (found.cpuparams, found.cpuparams_batch):
            # Polling threads starve each other, and the web server, on a machine of few cores.
            pool.n_threads, pool.poll = self._settings.threads, 0
        return found

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key-value cache."""
        width = _VALUE_BYTES[self._settings.dtype]
        return self.slots * self.config.context_tokens * self.config.kv_bytes_per_token(width)

    def complete(self, generation: Generation, hear: Callable[[int], bool]) -> None:
        """Give `hear` each token as it comes, until it answers True or `max_tokens` are there.

        Blocks the calling thread. Raises RuntimeError when llama.cpp refuses the request.
        """
        refusals: list[dict] = []

        def read(event: dict) -> bool:
            if "choices" not in event:
                refusals.append(event)
                return True
            return any(hear(token) for token in tokens_of(event["choices"][0]["text"]))

        self._server.handle_completions(_body(generation), read)
        if refusals:
            raise RuntimeError(f"llama.cpp refused a request: {refusals[0]}")

    def close(self) -> None:
        """End llama.cpp's threads."""
        self._server = None


def _body(generation: Generation) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": list(generation.prompt), "max_tokens": generation.max_tokens, "stream": True}
    return body | {"cache_prompt": False} | _sampling(generation.sampling)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    """Temperature first, then the nucleus, as in `sampling.choose`; llama.cpp's other filters are left out."""
    if sampling.temperature == 0:
        return {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0}
    seed = sampling.source.getrandbits(32) if sampling.seed is None else sampling.seed
    return {
        "samplers": ["temperature", "top_p"],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed % _SEEDS,
    }


class LlamaEngine(Engine):
    """A thread for each slot."""

    def __init__(self, model: LlamaModel, table: Sequence[bytes], limits: Limits, deliver: Deliver) -> None:
        super().__init__(model, table, limits, deliver)
        self._model, self.counters.steps = model, None
        self._waiting: queue.SimpleQueue[Generation | None] = queue.SimpleQueue()
        self._holding: set[Generation] = set()
        self._busy_since_s = 0.0
        self._threads = [threading.Thread(target=self._run, name=f"slot {i}", daemon=True) for i in range(model.slots)]

    def start(self) -> None:
        """Begin."""
        self._state = "serving"
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return len(self._holding)

    def _take(self, generation: Generation) -> None:
        self._waiting.put(generation)

    def cancel(self, generation: Generation) -> None:
        """Free a request's slot at its next token. Nothing more is delivered; a finished one is left alone."""
        with self._lock:
            if generation in self._open:
                self._open.discard(generation)
                self.counters.cancelled += 1

    def stop(self, patience_s: float = 10.0) -> None:
        """Leave at the next token. Requests in hand are delivered as `error`."""
        if self._state != "failed":
            self._state = "stopped"
        self._dismiss()
        for _ in self._threads:
            self._waiting.put(None)
        deadline_s = time.monotonic() + patience_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        self._model.close()

    def _run(self) -> None:
        try:
            while (generation := self._waiting.get()) is not None:
                with self._lock:
                    if generation not in self._open:
                        continue
                    self._busy_since_s = self._busy_since_s if self._holding else time.perf_counter()
                    self._holding.add(generation)
                self._model.complete(generation, lambda token, of=generation: self._hear(of, token))
                assert generation not in self._open, "llama.cpp ended a request early"
        except BaseException:
            # The trace goes to threading's hook, and nobody is left waiting.
            self._dismiss()
            raise

    def _hear(self, generation: Generation, token: int) -> bool:
        """One token of a request; True when it wants no more."""
        with self._lock:
            if generation not in self._open:
                self._let_go(generation)
                return True
            delta = self._advance(generation, token)
            self.counters.output_tokens += 1
            if delta.produced == 1:
                self.counters.prompt_tokens += len(generation.prompt)
            if delta.finish is not None:
                self._open.discard(generation)
                self._let_go(generation)
        self._deliver([delta])
        return delta.finish is not None

    def _let_go(self, generation: Generation) -> None:
        self._holding.discard(generation)
        if not self._holding:
            self.counters.busy_s += time.perf_counter() - self._busy_since_s
