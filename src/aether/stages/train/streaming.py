"""Windows of a text that is tokenised while it trains, the same with any number of workers, alone or as one source of a mixture.

Windows are cut from the stream of a file's blocks (`tokenising`), what is left of one begins the next, and come in a shuffled order within
their block. Where the current block begins, and what was left before it, is the whole state: a run that goes on tokenises that block again
and no other. One token more than a window is read, as in `models.packing`.

Shapes: T tokens of a window, B windows.
"""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aether.models.corpus import Document
from aether.models.packing import mix64
from aether.stages.train.tokenising import Block, Tokenising

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


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

    def __init__(self, place: _Place, block: Block, counts: np.ndarray, tokens: np.ndarray, context: int) -> None:
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

    def after(self, block: Block, documents: int) -> _Place:
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
    """Samples of one file in order: those of the last `keep` samples may be asked for again, earlier ones not."""

    def __init__(self, supply: Tokenising, source: int, context_tokens: int, seed: int, keep: int) -> None:
        self._supply, self._source = supply, source
        self._file, self._lines = supply.files[source], supply.lines[source]
        self._context, self._seed, self._keep = context_tokens, seed, keep
        self._held: deque[_Windows] = deque()
        self._next = _Place()

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample `index`: (tokens int64 [T + 1], document ids int64 [T + 1])."""
        return self._at(index).sample(index)

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1: (tokens int64 [B, T + 1], document ids int64 [B, T + 1])."""
        samples = [self.sample(index) for index in range(first, first + count)]
        self.forget(first - self._keep)
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def forget(self, index: int) -> None:
        """Samples before `index` are not asked for again."""
        while self._held and self._held[0].end <= index:
            self._held.popleft()

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`: their lines of the file."""
        windows = self._at(index)
        found = []
        for number in dict.fromkeys(windows.sample(index)[1].tolist()):
            epochs, place = divmod(number, self._lines.count)
            line = int(self._lines.order(windows.place.epoch + epochs)[place])
            size = int(self._lines.bounds[line + 1] - self._lines.bounds[line])
            found.append(Document(f"{self._file.name}:{line + 1}", self._file.name, size, 0, 0))
        return tuple(found)

    def ready(self) -> None:
        """Start the workers, and have the first windows at hand."""
        if not self._held:
            self._advance()

    def windows_of_an_epoch(self) -> float:
        """An estimate: the tokens of the first block, and the bytes of the file."""
        size_bytes, tokens = self._supply.first(self._source)
        return float(self._lines.bounds[-1]) / size_bytes * tokens / self._context

    def epochs(self, cursor: int) -> float:
        """How often the file was read before the block of sample `cursor`, by bytes."""
        place = self._place(cursor)
        lines = self._lines.order(place.epoch)[: place.document]
        before = int((self._lines.bounds[lines + 1] - self._lines.bounds[lines]).sum())
        return place.epoch + before / float(self._lines.bounds[-1])

    def _at(self, index: int) -> _Windows:
        while index >= self._next.sample:
            self._advance()
        return next(windows for windows in self._held if windows.place.sample <= index < windows.end)

    def _advance(self) -> None:
        block, tokens, counts = self._supply.next(self._source)
        windows = _Windows(self._next, block, counts, tokens, self._context)
        key = np.array([self._seed], np.uint64) * _GOLDEN_RATIO + np.uint64(self._next.sample)
        self._held.append(windows.shuffled(mix64(key)))
        self._next = windows.after(block, self._lines.count)

    def _place(self, cursor: int) -> _Place:
        places = [windows.place for windows in self._held if windows.place.sample <= cursor < windows.end]
        return places[0] if places else self._next

    def state(self, cursor: int) -> dict[str, Any]:
        """As JSON: what `load` goes on from at sample `cursor`, which is not before those that may be asked for again."""
        return asdict(self._place(cursor))

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._held.clear()
        left = (tuple(state[name]) for name in ("tokens", "documents"))
        self._next = _Place(state["epoch"], state["document"], state["sample"], *left)
        self._supply.go_on(self._source, self._next.epoch, self._next.document)

    def close(self) -> None:
        """End the workers."""
        self._supply.close()
