"""Writing the splits: tokens.bin and documents.jsonl for each, and text.jsonl for those that are held out.

One pass over the spool in reading order; at most one batch of texts and its tokens is in memory. The reader of these
files is `aether.models.packing`, which training and evaluation share.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from aether.stages.data.split import Groups
from aether.stages.data.spool import SPLITS, Spool, Stored
from aether.stages.data.tokenizer import Encoder

_BATCH_BYTES = 2_000_000
"""Texts encoded at a time: the library takes about 100 bytes of memory per byte of text (assumed), so 200 MB."""


@dataclass
class SplitTotals:
    """What a written split holds."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    groups: set[int] = field(default_factory=set)
    """Hashes of the group names: 8 bytes of name each, for the count."""


class _Writer:
    """The open files of one split."""

    def __init__(self, folder: Path, with_text: bool, dtype: str, stack: ExitStack) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dtype, self.totals = dtype, SplitTotals()
        self._tokens: IO[bytes] = stack.enter_context((folder / "tokens.bin").open("wb"))
        self._documents: IO[str] = stack.enter_context((folder / "documents.jsonl").open("w", encoding="utf-8"))
        self._text: IO[str] | None = None
        if with_text:
            self._text = stack.enter_context((folder / "text.jsonl").open("w", encoding="utf-8"))

    def write(self, document: Stored, group: str, ids: list[int]) -> None:
        """Append one document; the leading 0 is the end-of-text token that opens it."""
        packed = np.array([0, *ids], dtype=self.dtype)
        self._tokens.write(packed.tobytes())
        row = {"id": document.id, "group": group, "bytes": len(document.raw), "start": self.totals.tokens}
        row |= {"tokens": int(packed.size), "sha256": hashlib.sha256(document.raw).hexdigest()}
        self._documents.write(json.dumps(row) + "\n")
        if self._text is not None:
            self._text.write(json.dumps({"id": document.id, "text": document.raw.decode()}) + "\n")
        self.totals.documents += 1
        self.totals.bytes += len(document.raw)
        self.totals.tokens += packed.size
        self.totals.groups.add(int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8]))


def token_dtype(vocab_size: int) -> str:
    """The numpy type of tokens.bin."""
    return "<u2" if vocab_size <= 65536 else "<u4"


def pack(
    spool: Spool, groups: Groups, encoder: Encoder, out: Path, dtype: str, tell: Callable[[int], None]
) -> dict[str, SplitTotals]:
    """Write every split under `out`; `tell` gets the bytes done. Returns the totals by split name."""
    with ExitStack() as stack:
        writers = {f: _Writer(out / name, name != "train", dtype, stack) for name, f in SPLITS.items()}
        batch: list[Stored] = []
        waiting = done = 0
        for document in spool.walk(*SPLITS.values()):
            batch.append(document)
            waiting += len(document.raw)
            if waiting >= _BATCH_BYTES:
                _flush(batch, spool, groups, encoder, writers)
                done += waiting
                tell(done)
                batch, waiting = [], 0
        _flush(batch, spool, groups, encoder, writers)
        return {name: writers[f].totals for name, f in SPLITS.items()}


def _flush(batch: list[Stored], spool: Spool, groups: Groups, encoder: Encoder, writers: dict[int, _Writer]) -> None:
    encoded = encoder.encode([document.raw.decode() for document in batch])
    for document, ids in zip(batch, encoded, strict=True):
        writers[spool.fate[document.index]].write(document, groups.name(document), ids)
