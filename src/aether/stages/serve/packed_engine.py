"""Continuous batching over our own decoder: one thread that owns the model and turns requests into tokens, step by step.

Follows Orca's iteration-level scheduling (OSDI 2022) with chunked prefill (Sarathi-Serve, arXiv 2403.02310). The front
end talks to it through a thread-safe inbox, and hears from it once per step through `deliver`, so a step of 32 rows
costs one wake-up. Greedy rows depend on their own tokens alone up to rounding: in float32 they are the same whoever
shares the batch; in bfloat16 two tokens within rounding of each other may swap when the batch's size changes.
"""

import queue
import threading
import time
from collections.abc import Sequence

import torch

from aether.models.packed import Chunk, PackedDecoder
from aether.models.parts_rows import PartsRows
from aether.stages.serve.engine import Deliver, Delta, Engine, Generation, Limits
from aether.stages.serve.sampling import choose
from aether.stages.serve.scheduler import Piece, Row, Scheduler

ALONE_TOKENS = 512
"""Prompt tokens in a step in which nobody decodes. Measured: larger is no faster per token at a hidden size of 256."""


class PackedEngine(Engine):
    """One thread, one ragged batch a step."""

    def __init__(
        self, model: PackedDecoder | PartsRows, table: Sequence[bytes], limits: Limits, deliver: Deliver
    ) -> None:
        super().__init__(model, table, limits, deliver)
        self._model = model
        self._scheduler: Scheduler[Generation] = Scheduler(
            model.slots, limits.chunk_tokens, max(limits.chunk_tokens, ALONE_TOKENS)
        )
        self._inbox: queue.SimpleQueue[tuple[str, Generation | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._state = "serving"
        self._thread.start()

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return len(self._scheduler.rows)

    def _take(self, generation: Generation) -> None:
        self._inbox.put(("submit", generation))

    def cancel(self, generation: Generation) -> None:
        """Free a request's slot before the next step. Nothing more is delivered; a finished one is left alone."""
        self._inbox.put(("cancel", generation))

    def stop(self, patience_s: float = 10.0) -> None:
        """Leave after the current step. Requests in hand are delivered as `error`."""
        self._inbox.put(("stop", None))
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def _run(self) -> None:
        # OpenMP keeps the number of threads for each calling thread: set elsewhere, it would not hold here.
        torch.set_num_threads(self._limits.threads)
        try:
            while self._listen():
                started_s = time.perf_counter()
                self._step()
                self.counters.busy_s += time.perf_counter() - started_s
            self._state = "stopped"
        finally:
            # Also when a step raised: the trace goes to threading's hook, and nobody is left waiting.
            self._dismiss()

    def _listen(self) -> bool:
        """Read the inbox; blocks only when there is nothing to do. False: leave."""
        idle = not self._scheduler.rows and not self._scheduler.waiting
        while idle or not self._inbox.empty():
            verb, generation = self._inbox.get()
            if generation is None:
                return False
            if verb == "submit":
                self._scheduler.enqueue(generation, len(generation.prompt))
            elif generation in self._open:
                self._forget(generation)
            idle = not self._scheduler.rows and not self._scheduler.waiting
        self._scheduler.admit()
        return True

    def _forget(self, generation: Generation) -> None:
        self.counters.cancelled += 1
        if not self._scheduler.forget(generation):
            self._release([index for index, row in enumerate(self._scheduler.rows) if row.item is generation])
        self._close([generation])

    def _release(self, indices: list[int]) -> None:
        for source, target, length in self._scheduler.release(indices):
            self._model.move_row(source, target, length)

    def _step(self) -> None:
        rows, pieces = self._scheduler.rows, self._scheduler.plan()
        decoding = [index for index, row in enumerate(rows) if not row.reading]
        logits_RV = self._forward(rows, decoding, pieces)
        for piece in pieces:
            rows[piece.row].length += piece.count
            self.counters.prompt_tokens += piece.count
        for index in decoding:
            rows[index].length += 1
        heard = decoding + [piece.row for piece in pieces if piece.last]
        if heard:
            assert logits_RV is not None
            tokens = choose(logits_RV, [rows[index].item.sampling for index in heard])
            self._account(heard, tokens)
        self.counters.steps = (self.counters.steps or 0) + 1

    def _forward(self, rows: list[Row[Generation]], decoding: list[int], pieces: list[Piece]) -> torch.Tensor | None:
        """Logits of the decoding rows, then of the prompts that end in this step; None when there are neither."""
        spare = self._model.spare_position
        count = decoding[-1] + 1 if decoding else 0
        tokens = [row.item.last_token for row in rows[:count]]
        positions = [spare if row.reading else row.length for row in rows[:count]]
        heads, chunks = list(decoding), []
        for piece in pieces:
            chunks.append(Chunk(piece.row, piece.start, len(tokens), piece.count))
            tokens += rows[piece.row].item.prompt[piece.start : piece.start + piece.count]
            positions += range(piece.start, piece.start + piece.count)
            if piece.last:
                heads.append(len(tokens) - 1)
        logits_RV = self._model.step(tokens, positions, count, chunks, heads)
        return logits_RV if heads else None

    def _account(self, heard: list[int], tokens: list[int]) -> None:
        """Give each row its token; tell the front end; free the rows that are done."""
        news: list[Delta] = []
        done: list[int] = []
        for index, token in zip(heard, tokens, strict=True):
            delta = self._advance(self._scheduler.rows[index].item, token)
            news.append(delta)
            if delta.finish is not None:
                done.append(index)
        self.counters.output_tokens += len(tokens)
        if done:
            self._release(done)
            self._close([delta.generation for delta in news if delta.finish is not None])
        self._deliver(news)
