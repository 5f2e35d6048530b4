"""The working copy of accepted texts on disk, read many times in order; in memory only numbers per document.

Each later pass needs the texts again; the sources may be compressed, may change, and give no random access. A record is
one line of JSON and the text's bytes. Disk: about the size of the accepted text, freed when the stage ends. Memory: 41
bytes per document (offset 8, size 8, digest 16, group 8, fate 1), texts never. Not a format anyone else reads.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aether.stages.data.readers import Item
from aether.stages.data.sources import Role

MAIN, OOD, DROPPED, TRAIN, VALIDATION, TEST = 0, 1, 2, 3, 4, 5
"""Fates: MAIN and OOD as read, DROPPED once rejected; the split turns MAIN into TRAIN, VALIDATION or TEST."""
SPLITS: dict[str, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST, "ood": OOD}
"""Split name -> fate, in the order in which splits are written."""


@dataclass(frozen=True)
class Stored:
    """A document of the spool."""

    index: int
    id: str
    parts: tuple[str, ...]
    group: str | None
    licence: str | None
    raw: bytes


@dataclass
class Spool:
    """Append, then read in order or by index."""

    path: Path
    offset: array = field(default_factory=lambda: array("q"))
    size_bytes: array = field(default_factory=lambda: array("q"))
    digest: array = field(default_factory=lambda: array("Q"))
    """Two words per document: SHA-256 of the text without white space at line ends, cut to 128 bits."""
    fate: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._stream = self.path.open("w+b")

    def __len__(self) -> int:
        return len(self.offset)

    def close(self) -> None:
        """Close and delete the file."""
        self._stream.close()
        self.path.unlink(missing_ok=True)

    def append(self, item: Item, raw: bytes, role: Role, licence: str | None) -> None:
        """Store an accepted document; `raw` is its text in UTF-8."""
        meta = {"id": item.id, "parts": item.parts, "group": item.group, "licence": licence}
        self.offset.append(self._stream.tell())
        self.size_bytes.append(len(raw))
        words = hashlib.sha256(b"\n".join(line.rstrip() for line in raw.strip().splitlines())).digest()
        self.digest.extend((int.from_bytes(words[:8], "little"), int.from_bytes(words[8:16], "little")))
        self.fate.append(MAIN if role == "main" else OOD)
        self._stream.write(json.dumps(meta).encode() + b"\n")
        self._stream.write(raw)

    def read(self, index: int) -> Stored:
        """The document at `index`."""
        self._stream.seek(self.offset[index])
        meta = json.loads(self._stream.readline())
        raw = self._stream.read(self.size_bytes[index])
        return Stored(index, meta["id"], tuple(meta["parts"]), meta["group"], meta["licence"], raw)

    def walk(self, *fates: int) -> Iterator[Stored]:
        """Documents of these fates, in the order read."""
        for index in range(len(self)):
            if self.fate[index] in fates:
                yield self.read(index)

    def indices(self, *fates: int) -> np.ndarray:
        """Indices of the documents of these fates, int64, ascending."""
        return np.flatnonzero(np.isin(np.frombuffer(bytes(self.fate), np.uint8), fates))

    def bytes_of(self, *fates: int) -> int:
        """Text bytes of the documents of these fates."""
        sizes = np.frombuffer(self.size_bytes, np.int64) if len(self) else np.empty(0, np.int64)
        return int(sizes[self.indices(*fates)].sum())
