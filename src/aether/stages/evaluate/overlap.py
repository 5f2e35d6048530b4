"""Test items that training data holds: n-grams with their exact places, edited copies, and near copies by MinHash. Streams the training data; no torch.

An item's coverage is the share of its words that stand in a run of `n` words which the training data has too (Llama 2, arXiv 2307.09288,
appendix A.6: runs of ten, bands at 20 % and 80 %); case and punctuation count for nothing, and runs that many items share (a template) are left
out. An edited copy is found by alignment (`alignment`). A near copy is a training document whose five-word shingles are like the item's (Jaccard,
exact, of the candidates that MinHash of `rensa` names). Does not see paraphrase or translation.

Legend: W words of one text, H runs that it shares with items.
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
from aether.stages.evaluate.alignment import EditedCopies
from aether.stages.evaluate.word_runs import WordRuns

RUN = 10
"""Words in a run (arXiv 2307.09288, appendix A.6)."""
SHINGLE, PERMUTATIONS, BANDS = 5, 128, 32
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]
PIECE_BYTES = 1 << 20
"""Plain text is read in pieces of about this size, cut at ends of lines."""


class Overlap:
    """The items' n-grams and signatures; training documents go by one at a time."""

    def __init__(self, items: Sequence[str], run: int = RUN) -> None:
        self._spans = [word_spans(text.encode()) for text in items]
        if all(len(hashes) < LEAST_WORDS for hashes, _, _ in self._spans):
            raise InputError.of("items", len(self._spans), f"none has {LEAST_WORDS} words; nothing can be judged")
        self.found = [Found(len(hashes), covered=np.zeros(len(hashes), bool)) for hashes, _, _ in self._spans]
        words_I = [hashes for hashes, _, _ in self._spans]
        self._runs, self._edited = WordRuns(words_I, run), EditedCopies(words_I)
        self._shingles = [np.unique(ngram_hashes(hashes, min(SHINGLE, len(hashes)))) for hashes in words_I]
        self._near = RMinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS, num_bands=BANDS)
        for number, shingles in enumerate(self._shingles):
            if len(words_I[number]) >= LEAST_WORDS:
                self._near.insert(number, _signature(shingles))
        self.documents = 0

    def add(self, text: str, file: str, document: int) -> None:
        """One training document."""
        self.documents += 1
        spans_W = word_spans(text.encode())
        where = (file, document)
        self._add_runs(spans_W, where)
        for item, aligned in self._edited.find(spans_W[0]):
            one = self.found[item]
            own, theirs = (aligned.item_start, aligned.item_end), (aligned.start, aligned.end)
            one.aligned, one.aligned_place = aligned.share, self._place(item, own, spans_W, theirs, where)
        self._add_near(spans_W[0], where)

    def finish(self) -> list[Found]:
        """The items' findings, coverage summed up over all documents."""
        for one in self.found:
            one.coverage = float(one.covered.mean()) if one.words else 0.0
        return self.found

    def _add_runs(self, spans_W: Spans, where: tuple[str, int]) -> None:
        item_H, item_at_H, at_H, words_H = self._runs.hits(spans_W[0])
        if not len(item_H):
            return
        # Runs that continue one another in both texts make a longer one.
        follows_H = (np.diff(item_H) == 0) & (np.diff(item_at_H) == 1) & (np.diff(at_H) == 1)
        first = np.flatnonzero(np.r_[True, ~follows_H])
        last = np.r_[first[1:], len(item_H)] - 1
        for item, item_at, at, long in zip(
            item_H[first].tolist(), item_at_H[first].tolist(), at_H[first].tolist(), (last - first + words_H[first]).tolist(), strict=True
        ):  # fmt: skip
            one = self.found[item]
            one.covered[item_at : item_at + long] = True
            if long > one.longest:
                one.longest = long
                one.place = self._place(item, (item_at, item_at + long), spans_W, (at, at + long), where)

    def _add_near(self, hashes_W: np.ndarray, where: tuple[str, int]) -> None:
        if not len(hashes_W):
            return
        shingles = np.unique(ngram_hashes(hashes_W, min(SHINGLE, len(hashes_W))))
        for number in self._near.query(_signature(shingles)):
            similar, one = jaccard(shingles, self._shingles[number]), self.found[number]
            if similar > one.near:
                one.near, one.near_place = similar, where

    def _place(
        self, item: int, own: tuple[int, int], spans_W: Spans, theirs: tuple[int, int], where: tuple[str, int]
    ) -> Place:
        """Bytes of words that stand in both texts, from the first to one past the last of each."""
        _, starts_W, ends_W = spans_W
        _, item_starts, item_ends = self._spans[item]
        (item_first, item_end), (first, end) = own, theirs
        texts = (starts_W[first], ends_W[end - 1], item_starts[item_first], item_ends[item_end - 1])
        return Place(*where, *map(int, texts))


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
