"""Blocks of documents as tokens, from one set of worker processes for all the files of a run, ahead of who asks for them.

The documents of a .jsonl file ({"text": ...} on each line) come in an order of (seed, epoch), cut into blocks by bytes. torch's DataLoader
tokenises blocks in its workers. Which file's block is made next depends on who reads faster, and decides no more than how long somebody waits:
each file's blocks come in its own order, whatever the workers are.

Shapes: D documents of the file, d of a block.
"""

import itertools
import json
import math
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from aether.models.corpus import SEPARATOR_ID
from aether.models.packing import mix64
from aether.spec.errors import InputError

_SCAN_BYTES = 1 << 24
_AHEAD = 2
"""Blocks of each file that are asked of the workers before they are needed, as DataLoader does for each worker."""
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


BLOCK_BYTES = 500_000
"""Text of a block. Tokenising one takes about 0.2 s (measured, `data.estimate`)."""


class Block(NamedTuple):
    """Documents begin .. end - 1 of an epoch's order."""

    epoch: int
    begin: int
    end: int


class Lines:
    """Where each line of a file begins, and the order of an epoch. 8 bytes in memory for each."""

    def __init__(self, file: Path, seed: int, block_bytes: int) -> None:
        self._seed, self._block_bytes, ends, at = seed, block_bytes, [np.zeros(1, np.int64)], 0
        with file.open("rb") as text:
            while part := text.read(_SCAN_BYTES):
                ends.append(np.flatnonzero(np.frombuffer(part, np.uint8) == ord("\n")) + at + 1)
                at += len(part)
        self.bounds = np.concatenate(ends)
        if self.bounds[-1] < at:
            self.bounds = np.append(self.bounds, at)
        self.count = len(self.bounds) - 1
        if not self.count:
            raise InputError.of("texts", str(file), "it has no line; give one document on each")
        self._orders: dict[int, np.ndarray] = {}

    def order(self, epoch: int) -> np.ndarray:
        """The lines in this epoch's order, [D]; the last two are kept."""
        if epoch not in self._orders:
            key = mix64(np.array([self._seed], np.uint64) * _GOLDEN_RATIO + np.uint64(epoch) + np.uint64(1))
            keys_D = mix64(key + np.arange(self.count, dtype=np.uint64) * _GOLDEN_RATIO)
            self._orders = {one: order for one, order in self._orders.items() if one == epoch - 1}
            self._orders[epoch] = np.argsort(keys_D, kind="stable")
        return self._orders[epoch]

    def blocks(self, epoch: int, begin: int) -> Iterator[Block]:
        """The blocks from a place on, without end."""
        for one in itertools.count(epoch):
            order = self.order(one)
            ends_D = np.cumsum(self.bounds[order + 1] - self.bounds[order])
            while begin < self.count:
                before = int(ends_D[begin - 1]) if begin else 0
                end = min(self.count, int(np.searchsorted(ends_D, before + self._block_bytes)) + 1)
                yield Block(one, begin, end)
                begin = end
            begin = 0

    def spans(self, block: Block) -> np.ndarray:
        """(line, first byte, end) of the block's documents, [d, 3]."""
        lines = self.order(block.epoch)[block.begin : block.end]
        return np.stack((lines, self.bounds[lines], self.bounds[lines + 1]), axis=1)


class _Tokenised(Dataset):
    """Blocks of files as tokens, by file and spans; a worker has a tokenizer of its own."""

    def __init__(self, files: Sequence[Path], tokenizer: Path) -> None:
        self._files, self._tokenizer = list(files), tokenizer
        self._encoder: Tokenizer | None = None

    def __getitem__(self, asked: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(tokens of all documents with their separators, how many each has [d]); a sentence for a line that is no document."""
        if self._encoder is None:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            self._encoder = Tokenizer.from_file(str(self._tokenizer))
            self._encoder.encode_special_tokens = True
        texts, (source, spans) = [], asked
        with self._files[source].open("rb") as file:
            for line, begin, end in spans.tolist():
                file.seek(begin)
                try:
                    texts.append(json.loads(file.read(end - begin))["text"])
                except (ValueError, TypeError, KeyError):
                    return f'line {line + 1} is not an object with a field "text"; mend it'
        encoded = self._encoder.encode_batch_fast(texts, add_special_tokens=False)
        found = [[SEPARATOR_ID, *one.ids] for one in encoded]
        return np.array([*itertools.chain(*found)], np.int64), np.array([len(ids) for ids in found])


def _as_it_is(made: Any) -> Any:
    return made


def _stay_with_parent(_worker: int) -> None:
    """Leave when the training is gone. torch's own watch begins later and takes whoever is the parent by then, and a worker that it
    ends waits for somebody to read its last blocks."""
    threading.Thread(target=_leave_after_parent, name="parent", daemon=True).start()


def _leave_after_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


class Tokenising:
    """Blocks of several files with their tokens, each file's in its order. `close` ends the workers."""

    def __init__(
        self, files: Sequence[Path], tokenizer: Path, seed: int, workers: int, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.files, self.lines = list(files), [Lines(file, seed, block_bytes) for file in files]
        self._dataset, self._workers = _Tokenised(files, tokenizer), workers
        self._places = [(0, 0) for _ in files]
        self._coming: Iterator[Any] | None = None

    def go_on(self, source: int, epoch: int, document: int) -> None:
        """Let the next block of a file be the one that begins there; what workers have made is dropped."""
        self.close()
        self._places[source] = (epoch, document)

    def next(self, source: int) -> tuple[Block, np.ndarray, np.ndarray]:
        """The next block of a file: (block, its tokens, how many each of its documents has [d])."""
        if self._coming is None:
            self._start()
        block, made = self._first(source) or self._awaited(source)
        if isinstance(made, str):
            raise InputError.of("texts", str(self.files[source]), made)
        after = self.lines[source].count
        self._places[source] = (block.epoch + 1, 0) if block.end == after else (block.epoch, block.end)
        return block, *made

    def first(self, source: int) -> tuple[int, int]:
        """(bytes, tokens) of a file's first block, tokenised here."""
        lines = self.lines[source]
        spans = lines.spans(next(lines.blocks(0, 0)))
        made = self._dataset[source, spans]
        if isinstance(made, str):
            raise InputError.of("texts", str(self.files[source]), made)
        return int((spans[:, 2] - spans[:, 1]).sum()), len(made[0])

    def _start(self) -> None:
        self._blocks = [lines.blocks(*place) for lines, place in zip(self.lines, self._places, strict=True)]
        # The first one of each file is made here, while the workers start.
        self._firsts = [next(blocks) for blocks in self._blocks]
        self._asked: deque[tuple[int, Block]] = deque()
        self._made: list[deque[tuple[Block, Any]]] = [deque() for _ in self.files]
        self._needed = 0
        self._begun: set[int] = set()
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=self._requests(),  # pyright: ignore[reportArgumentType]
            num_workers=self._workers,
            collate_fn=_as_it_is,
            prefetch_factor=max(_AHEAD, math.ceil(_AHEAD * len(self.files) / self._workers)) if self._workers else None,
            # Not "fork": a lock that a thread holds would never open there. Not "forkserver": its workers outlive a killed parent.
            multiprocessing_context="spawn" if self._workers else None,
            worker_init_fn=_stay_with_parent,
        )
        self._coming = iter(loader)

    def _requests(self) -> Iterator[tuple[int, np.ndarray]]:
        """What the workers are asked for: the file with the fewest blocks ahead, one that is waited for before all."""
        while True:
            ahead = [len(made) for made in self._made]
            for source, _ in self._asked:
                ahead[source] += 1
            source = min(range(len(ahead)), key=lambda one: (ahead[one], one != self._needed))
            block = next(self._blocks[source])
            self._asked.append((source, block))
            yield source, self.lines[source].spans(block)

    def _first(self, source: int) -> tuple[Block, Any] | None:
        if source in self._begun:
            return None
        self._begun.add(source)
        block = self._firsts[source]
        return block, self._dataset[source, self.lines[source].spans(block)]

    def _awaited(self, source: int) -> tuple[Block, Any]:
        assert self._coming is not None
        self._needed = source
        while not self._made[source]:
            # Asked for before it was received: without workers only now.
            made = next(self._coming)
            one, block = self._asked.popleft()
            self._made[one].append((block, made))
        return self._made[source].popleft()

    def close(self) -> None:
        """End the workers."""
        self._coming = None
