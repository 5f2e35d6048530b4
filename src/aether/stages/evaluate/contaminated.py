"""A test set against training data: items read, looked for, written down with their places, and scores with and without the touched ones."""

import json
from collections.abc import Sequence
from pathlib import Path

from aether.evidence.contamination import Found, SubsetScore, TestItem
from aether.evidence.files import write_atomically
from aether.evidence.items import contrast, measured, read_items
from aether.spec.errors import InputError
from aether.stages.evaluate.overlap import Overlap, training_documents
from aether.stages.evaluate.overlap import text_of as text_of_row


def read_test(path: Path, fields: Sequence[str]) -> list[TestItem]:
    """Items of a JSONL file, or prompts and targets of an evaluation's folder. Raises InputError for neither."""
    if path.is_dir():
        # The same item under several prompts is looked for once.
        kept = {
            (item.task, item.id): TestItem(f"{item.task}:{item.id}", f"{item.prompt}\n{item.target}")
            for item in read_items(path / "items.jsonl")
        }
        return list(kept.values())
    if path.suffix != ".jsonl" or not path.is_file():
        raise InputError.of("test", str(path), "give a .jsonl file or a folder of aether evaluate")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError.of(f"{path.name}, line {number}", line[:80], "it is not JSON") from error
        found.append(TestItem(str(number), text_of_row(row, fields)))
    return found


def search(
    items: Sequence[TestItem], training: Sequence[Path], training_fields: Sequence[str] = ()
) -> tuple[list[Found], int]:
    """What the training data holds of each item, and how many documents were read."""
    overlap = Overlap([item.text for item in items])
    for text, file, number in training_documents(training, training_fields):
        overlap.add(text, file, number)
    if overlap.documents == 0:
        raise InputError.of("training data", ", ".join(map(str, training)), "it holds no document")
    return overlap.finish(), overlap.documents


def subset_scores(evaluation: Path, items: Sequence[TestItem], found: Sequence[Found]) -> list[SubsetScore]:
    """The scores of an evaluation on clean items against touched ones; metrics without two of each are left out."""
    touched = {item.id for item, one in zip(items, found, strict=True) if one.band in ("partly", "contaminated")}
    rows = read_items(evaluation / "items.jsonl")
    scores = []
    for task, metric in sorted({(row.task, metric) for row in rows for metric in row.values}):
        own = [row for row in rows if row.task == task and metric in row.values]
        dirty = [row for row in own if f"{task}:{row.id}" in touched]
        clean = [row for row in own if f"{task}:{row.id}" not in touched]
        if min(len(dirty), len(clean)) < 2:
            continue
        difference, interval, p_value = contrast(clean, dirty, metric)
        on_clean, on_all, on_dirty = (measured(part, metric).value for part in (clean, own, dirty))
        scores.append(SubsetScore(task, metric, on_clean, on_all, on_dirty, difference, interval, p_value))
    return scores


def write_findings(folder: Path, items: Sequence[TestItem], found: Sequence[Found]) -> Path:
    """contamination.jsonl: every item with its band, coverage and exact places."""
    lines = []
    for item, one in zip(items, found, strict=True):
        row = {"id": item.id, "band": one.band, "words": one.words, "coverage": one.coverage, "longest_run_words": one.longest,
               "place": one.place and vars(one.place), "aligned": one.aligned, "aligned_place": one.aligned_place and vars(one.aligned_place),
               "near_jaccard": one.near,
               "near_place": None if one.near_place is None else {"file": one.near_place[0], "document": one.near_place[1]}}  # fmt: skip
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path = folder / "contamination.jsonl"
    write_atomically(path, "".join(lines))
    return path
