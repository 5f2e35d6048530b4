"""Windows of a text that is tokenised while it trains: by worker processes ahead of the updates, the same windows with any number.

The documents of a .jsonl file ({"text": ...} on each line) come in an order of (seed, epoch), cut into blocks by bytes. torch's DataLoader
tokenises blocks in its workers and gives them back in order; windows are cut from the stream of blocks, what is left of one begins
the next, and come in a shuffled order within their block. Where the current block begins, and what was left before it, is the whole state:
a run that goes on tokenises that block again and no other. One token more than a window is read, as in `models.packing`.

Shapes: D documents of the file, d of a block, T tokens of a window, B windows.
"""

import itertools
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from aether.models.corpus import SEPARATOR_ID, Document
from aether.models.packing import mix64
from aether.spec.errors import InputError

BLOCK_BYTES = 500_000
"""Text of a block. Tokenising one takes about 0.2 s (measured, `data.estimate`), which only a run's first update waits for."""
_SCAN_BYTES = 1 << 24
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


class _Block(NamedTuple):
    """Documents begin .. end - 1 of an epoch's order."""

    epoch: int
    begin: int
    end: int


class _Lines:
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

    def blocks(self, epoch: int, begin: int) -> Iterator[_Block]:
        """The blocks from a place on, without end."""
        for one in itertools.count(epoch):
            order = self.order(one)
            ends_D = np.cumsum(self.bounds[order + 1] - self.bounds[order])
            while begin < self.count:
                before = int(ends_D[begin - 1]) if begin else 0
                end = min(self.count, int(np.searchsorted(ends_D, before + self._block_bytes)) + 1)
                yield _Block(one, begin, end)
                begin = end
            begin = 0

    def spans(self, block: _Block) -> np.ndarray:
        """(line, first byte, end) of the block's documents, [d, 3]."""
        lines = self.order(block.epoch)[block.begin : block.end]
        return np.stack((lines, self.bounds[lines], self.bounds[lines + 1]), axis=1)


class _Tokenised(Dataset):
    """Blocks of a file as tokens, by their spans; a worker has a tokenizer of its own."""

    def __init__(self, file: Path, tokenizer: Path) -> None:
        self._file, self._tokenizer = file, tokenizer
        self._encoder: Tokenizer | None = None

    def __getitem__(self, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray] | str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(tokens of all documents with their separators, how many each has [d]); a sentence for a line that is no document."""
        if self._encoder is None:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            self._encoder = Tokenizer.from_file(str(self._tokenizer))
            self._encoder.encode_special_tokens = True
        texts = []
        with self._file.open("rb") as file:
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


@dataclass(frozen=True)
class _Place:
    """Where a block's windows begin: its first document, its first sample, and the tokens (with their documents) left before it."""

    epoch: int = 0
    document: int = 0
    sample: int = 0
    tokens: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()


class _Windows:
    """The windows that one block completes."""

    def __init__(self, place: _Place, block: _Block, counts: np.ndarray, tokens: np.ndarray, context: int) -> None:
        self.place, self._context = place, context
        numbers = np.repeat(np.arange(block.begin, block.end), counts)
        self._tokens = np.concatenate((np.array(place.tokens, np.int64), tokens))
        self._documents = np.concatenate((np.array(place.documents, np.int64), numbers))
        self.end = place.sample + (len(self._tokens) - 1) // context

    def shuffled(self, key: np.ndarray) -> "_Windows":
        """Itself, with its windows in the order of a key."""
        keys = mix64(key + np.arange(self.end - self.place.sample, dtype=np.uint64) * _GOLDEN_RATIO)
        self._order = np.argsort(keys, kind="stable")
        return self

    def after(self, block: _Block, documents: int) -> _Place:
        """Where the next block's windows begin."""
        rest = slice((self.end - self.place.sample) * self._context, None)
        tokens, numbers = self._tokens[rest].tolist(), self._documents[rest]
        if block.end == documents:
            return _Place(block.epoch + 1, 0, self.end, tuple(tokens), tuple((numbers - documents).tolist()))
        return _Place(block.epoch, block.end, self.end, tuple(tokens), tuple(numbers.tolist()))

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens [T + 1], the documents they are of [T + 1], negative in the epoch before)."""
        first = int(self._order[index - self.place.sample]) * self._context
        return self._tokens[first : first + self._context + 1], self._documents[first : first + self._context + 1]


class StreamedWindows:
    """Samples in order: those of the last `keep` samples may be asked for again, earlier ones not. `close` ends the workers."""

    def __init__(
        self, texts: Path, tokenizer: Path, context_tokens: int, seed: int, workers: int, keep: int,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:  # fmt: skip
        self._dataset = _Tokenised(texts, tokenizer)
        self._texts, self._lines = texts, _Lines(texts, seed, block_bytes)
        self._context, self._seed, self._workers, self._keep = context_tokens, seed, workers, keep
        self._held: deque[_Windows] = deque()
        self._next = _Place()
        self._made: Iterator[tuple[_Block, Any]] | None = None

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1: (tokens int64 [B, T + 1], document ids int64 [B, T + 1])."""
        samples = [self._at(index).sample(index) for index in range(first, first + count)]
        while self._held[0].end <= first - self._keep:
            self._held.popleft()
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`: their lines of the file."""
        windows = self._at(index)
        found = []
        for number in dict.fromkeys(windows.sample(index)[1].tolist()):
            epochs, place = divmod(number, self._lines.count)
            line = int(self._lines.order(windows.place.epoch + epochs)[place])
            size = int(self._lines.bounds[line + 1] - self._lines.bounds[line])
            found.append(Document(f"{self._texts.name}:{line + 1}", self._texts.name, size, 0, 0))
        return tuple(found)

    def _at(self, index: int) -> _Windows:
        while index >= self._next.sample:
            self._advance()
        return next(windows for windows in self._held if windows.place.sample <= index < windows.end)

    def _advance(self) -> None:
        if self._made is None:
            self._made = self._start(self._next)
        block, made = next(self._made)
        if isinstance(made, str):
            raise InputError.of("texts", str(self._texts), made)
        tokens, counts = made
        windows = _Windows(self._next, block, counts, tokens, self._context)
        key = np.array([self._seed], np.uint64) * _GOLDEN_RATIO + np.uint64(self._next.sample)
        self._held.append(windows.shuffled(mix64(key)))
        self._next = windows.after(block, self._lines.count)

    def _start(self, place: _Place) -> Iterator[tuple[_Block, Any]]:
        """Blocks and their tokens. The first is made here, while the workers start."""
        blocks = self._lines.blocks(place.epoch, place.document)
        first = next(blocks)
        rest = self._lines.blocks(place.epoch, place.document)
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=map(self._lines.spans, itertools.islice(rest, 1, None)),  # pyright: ignore[reportArgumentType]
            num_workers=self._workers,
            collate_fn=_as_it_is,
            # Not "fork": a lock that a thread holds would never open there. Not "forkserver": its workers outlive a killed parent.
            multiprocessing_context="spawn" if self._workers else None,
        )
        coming = iter(loader)
        yield first, self._dataset[self._lines.spans(first)]
        yield from zip(blocks, coming, strict=True)

    def state(self, cursor: int) -> dict[str, Any]:
        """As JSON: what `load` goes on from at sample `cursor`, which is not before those that may be asked for again."""
        places = [windows.place for windows in self._held if windows.place.sample <= cursor < windows.end]
        return asdict(places[0] if places else self._next)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.close()
        left = (tuple(state[name]) for name in ("tokens", "documents"))
        self._next = _Place(state["epoch"], state["document"], state["sample"], *left)

    def close(self) -> None:
        """End the workers."""
        self._made = None
        self._held.clear()
