"""Test items that training data holds: n-grams with their exact places, and near copies by MinHash. Streams the training data; no torch.

An item's coverage is the share of its words that stand in a run of `n` words which the training data has too (Llama 2, arXiv 2307.09288,
appendix A.6: runs of ten, bands at 20 % and 80 %); case and punctuation count for nothing, and runs that many items share (a template) are left
out. A near copy is a training document whose five-word shingles are like the item's (Jaccard, exact, of the candidates that MinHash of `rensa`
names): it sees an item that was edited throughout. Does not see paraphrase or translation.

Legend: I items, G n-grams of all items sorted by hash, W words of one text.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rensa import RMinHash, RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue]

from aether.evidence.contamination import LEAST_WORDS, NEAR, Found, Place
from aether.models.ngrams import jaccard, ngram_hashes, word_spans
from aether.spec.errors import InputError

RUN = 10
"""Words in a run (arXiv 2307.09288, appendix A.6)."""
SHINGLE, PERMUTATIONS, BANDS = 5, 128, 32
SHARED_BY = (10, 0.05)
"""A run in more items than both this count and this share is a template's."""
PIECE_BYTES = 1 << 20
"""Plain text is read in pieces of about this size, cut at ends of lines."""


class Overlap:
    """The items' n-grams and signatures; training documents go by one at a time."""

    def __init__(self, items: Sequence[str], run: int = RUN) -> None:
        self.run = run
        self._spans = [word_spans(text.encode()) for text in items]
        self.found = [Found(len(hashes), covered=np.zeros(len(hashes), bool)) for hashes, _, _ in self._spans]
        self._hash_G, self._item_G, self._at_G, self._length_G = self._index()
        self._shingles = [np.unique(ngram_hashes(hashes, min(SHINGLE, len(hashes)))) for hashes, _, _ in self._spans]
        self._near = RMinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS, num_bands=BANDS)
        for number, shingles in enumerate(self._shingles):
            if len(self._spans[number][0]) >= LEAST_WORDS:
                self._near.insert(number, _signature(shingles))
        self.documents = 0

    def add(self, text: str, file: str, document: int) -> None:
        """One training document."""
        self.documents += 1
        raw = text.encode()
        hashes_W, starts_W, ends_W = word_spans(raw)
        for length in np.unique(self._length_G).tolist():
            self._runs(ngram_hashes(hashes_W, length), length, (starts_W, ends_W), (file, document))
        shingles = np.unique(ngram_hashes(hashes_W, min(SHINGLE, len(hashes_W)))) if len(hashes_W) else hashes_W
        if len(shingles):
            for number in self._near.query(_signature(shingles)):
                similar, one = jaccard(shingles, self._shingles[number]), self.found[number]
                if similar > one.near:
                    one.near, one.near_place = similar, (file, document)

    def finish(self) -> list[Found]:
        """The items' findings, coverage summed up over all documents."""
        for one in self.found:
            one.coverage = float(one.covered.mean()) if one.words else 0.0
        return self.found

    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        parts: list[tuple[np.ndarray, ...]] = []
        for number, (hashes, _, _) in enumerate(self._spans):
            if len(hashes) < LEAST_WORDS:
                continue
            length = min(self.run, len(hashes))
            runs = ngram_hashes(hashes, length)
            own = np.full(len(runs), number), np.arange(len(runs)), np.full(len(runs), length)
            parts.append((runs, *own))
        if not parts:
            raise InputError.of("items", len(self._spans), f"none has {LEAST_WORDS} words; nothing can be judged")
        hash_G, item_G, at_G, length_G = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(hash_G, kind="stable")
        hash_G, item_G, at_G, length_G = hash_G[order], item_G[order], at_G[order], length_G[order]
        keep = self._not_shared(hash_G, item_G)
        return hash_G[keep], item_G[keep], at_G[keep], length_G[keep]

    def _not_shared(self, hash_G: np.ndarray, item_G: np.ndarray) -> np.ndarray:
        _, group_G = np.unique(hash_G, return_inverse=True)
        pairs = np.unique(np.stack([group_G, item_G], axis=1), axis=0)
        items_of_group = np.bincount(pairs[:, 0])
        count, share = SHARED_BY
        return items_of_group[group_G] <= max(count, share * len(self._spans))

    def _runs(
        self, runs: np.ndarray, length: int, spans: tuple[np.ndarray, np.ndarray], where: tuple[str, int]
    ) -> None:
        if not len(runs):
            return
        left = np.searchsorted(self._hash_G, runs, side="left")
        right = np.searchsorted(self._hash_G, runs, side="right")
        # Runs of the document that continue one another make a longer one: the last hit of each item tells.
        lasting: dict[int, tuple[int, int, int]] = {}
        for at in np.flatnonzero(right > left).tolist():
            for g in range(int(left[at]), int(right[at])):
                if self._length_G[g] != length:
                    continue
                item, start = int(self._item_G[g]), int(self._at_G[g])
                self.found[item].covered[start : start + length] = True
                before = lasting.get(item)
                follows = before is not None and before[0] == at - 1 and before[1] == start - 1
                long = before[2] + 1 if follows and before is not None else length
                lasting[item] = (at, start, long)
                if long > self.found[item].longest:
                    self._longest(item, long, (at + length, start + length), spans, where)

    def _longest(
        self, item: int, long: int, ends: tuple[int, int], spans: tuple[np.ndarray, np.ndarray], where: tuple[str, int]
    ) -> None:
        (end, item_end), (starts_W, ends_W) = ends, spans
        _, item_starts, item_ends = self._spans[item]
        one = self.found[item]
        one.longest = long
        one.place = Place(
            *where,
            int(starts_W[end - long]),
            int(ends_W[end - 1]),
            int(item_starts[item_end - long]),
            int(item_ends[item_end - 1]),
        )


def _signature(shingles: np.ndarray) -> RMinHash:
    found = RMinHash(num_perm=PERMUTATIONS, seed=42)
    found.update([str(shingle) for shingle in shingles.tolist()])
    return found


def training_documents(paths: Iterable[Path], fields: Sequence[str] = ()) -> Iterator[tuple[str, str, int]]:
    """(text, file, number) of every document: JSON lines (their string values, or `fields`), Parquet, or plain text in pieces; .gz too.

    A folder means its files. Raises InputError for a file that is none of these or a line that is no object.
    """
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        if not files or not path.exists():
            raise InputError.of("training data", str(path), "no such file or folder, or an empty one")
        for file in files:
            yield from ((text, str(file), number) for number, text in enumerate(_texts(file, fields), 1))


def _texts(path: Path, fields: Sequence[str]) -> Iterator[str]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(256):
            for row in batch.to_pylist():
                yield text_of(row, fields)
        return
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        if name.endswith((".jsonl", ".ndjson")):
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _json_text(line, f"{path}, line {number}", fields)
            return
        piece: list[str] = []
        size = 0
        for line in lines:
            piece.append(line)
            size += len(line)
            if size >= PIECE_BYTES:
                yield "".join(piece)
                # A passage over the cut stands whole in the next piece.
                piece = piece[-50:]
                size = sum(map(len, piece))
        yield "".join(piece)


def _json_text(line: str, where: str, fields: Sequence[str]) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError.of(where, line[:80], "it is not JSON") from error
    if not isinstance(row, dict):
        raise InputError.of(where, line[:80], "write one object a line")
    return text_of(row, fields)


def text_of(row: dict[str, object], fields: Sequence[str] = ()) -> str:
    """An object's texts in order, those in lists and objects too; only of `fields` when some are named."""
    if fields:
        missing = [name for name in fields if name not in row]
        if missing:
            raise InputError.of("fields", missing[0], f"the row has {', '.join(sorted(row))}")
    return "\n".join(_strings([row[name] for name in fields] if fields else list(row.values())))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
