"""What was turned away and why, and the seeded sample that a byte cap allows. Each rejection is counted and kept on file."""

import heapq
import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from aether.stages.data.filters import Reason

_EXAMPLES = 3
"""Per reason, for the data card; all are in rejected.jsonl."""


@dataclass
class Rejections:
    """rejected.jsonl and its counts. `close` must be called; a damaged half-written file has no record anyway."""

    path: Path
    counts: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, list[tuple[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stream = self.path.open("w", encoding="utf-8")

    def add(self, document_id: str, reason: Reason, detail: str) -> None:
        """Count and keep one rejection."""
        self.counts[reason] += 1
        if len(shown := self.examples.setdefault(reason, [])) < _EXAMPLES:
            shown.append((document_id, detail))
        self._stream.write(json.dumps({"id": document_id, "reason": reason.value, "detail": detail}) + "\n")

    def summary(self) -> str:
        """ "12 too-short, 3 encoding", the most frequent first."""
        return ", ".join(f"{count} {reason.value}" for reason, count in self.counts.most_common())

    def close(self) -> None:
        """Write everything out."""
        self._stream.close()


class Sample:
    """A uniform sample of documents up to a number of bytes, drawn while they stream by: those of the smallest hashes."""

    def __init__(self, bytes_max: int | None, seed: int) -> None:
        self._bytes_max, self._seed = bytes_max, seed
        self._heap: list[tuple[int, int, int]] = []
        self._bytes = 0
        self._bound = 1 << 64

    def key(self, document_id: str) -> int | None:
        """The document's hash, or None when it can no longer be in the sample."""
        if self._bytes_max is None:
            return 0
        name = f"{self._seed}\t{document_id}".encode("utf-8", "surrogateescape")
        key = int.from_bytes(blake2b(name, digest_size=8, person=b"sample").digest())
        return key if key < self._bound else None

    def add(self, key: int, index: int, size_bytes: int) -> list[int]:
        """Take a document in; returns the indices that leave because of it (its own, perhaps)."""
        if self._bytes_max is None:
            return []
        heapq.heappush(self._heap, (-key, index, size_bytes))
        self._bytes += size_bytes
        left = []
        while self._bytes > self._bytes_max:
            negative, gone, gone_bytes = heapq.heappop(self._heap)
            self._bound = -negative
            self._bytes -= gone_bytes
            left.append(gone)
        return left
