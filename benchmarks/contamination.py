"""Planted contamination: how much of it is found, and how often an item that was not planted is touched.

    python -m benchmarks.contamination --data DIR [--json]

DIR holds gsm8k/{train,test}.jsonl and wikitext2/valid.txt. 130 of GSM8K's 1,319 test questions are planted into passages of Wikipedia beside the 7,473
training problems, as they are and edited in each way of EDITS, five seeds each. Bars: 99 % of copies and of light edits touched, at most 1 % of other
items. Items that GSM8K's own training set holds in part count as false alarms here.
"""

import argparse
import copy
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aether.stages.evaluate.overlap import Overlap
from benchmarks import records

PLANTED, SEEDS = 130, 5
Edit = Callable[[random.Random, list[str], list[str]], list[str]]


@dataclass(frozen=True)
class Passages:
    """The words of passages that plants stand in, and those that replace words of an item."""

    filler: list[str]
    words: list[str]


def _replaced(share: float) -> Edit:
    return lambda rng, words, other: [word if rng.random() >= share else rng.choice(other) for word in words]


def _missing(share: float) -> Edit:
    return lambda rng, words, _: [word for word in words if rng.random() >= share]


def _added(share: float) -> Edit:
    return lambda rng, words, other: [
        part for word in words for part in ([word, rng.choice(other)] if rng.random() < share else [word])
    ]


def _cut(then: Edit) -> Edit:
    """Three fifths of the words, from a place drawn by lot, edited."""

    def edit(rng: random.Random, words: list[str], other: list[str]) -> list[str]:
        kept = -(-3 * len(words) // 5)
        at = rng.randrange(len(words) - kept + 1)
        return then(rng, words[at : at + kept], other)

    return edit


def _spelled(rng: random.Random, words: list[str], _: list[str]) -> list[str]:
    """Upper case, no punctuation or other punctuation, and other white space."""
    bare = [re.sub(r"[^\w$.]|\.(?!\d)", rng.choice(["", " ", " - "]), word).upper() for word in words]
    return [word + rng.choice([" ", "  ", "\n", "\t", ", "]) for word in bare]


EDITS: dict[str, Edit] = {
    "as it is": _replaced(0.0),
    "case, punctuation, white space": _spelled,
    "three fifths of it": _cut(_replaced(0.0)),
    "3 % of the words replaced": _replaced(0.03),
    "8 % of the words replaced": _replaced(0.08),
    "8 % of the words left out": _missing(0.08),
    "8 % of the words with another after it": _added(0.08),
    "three fifths of it, 8 % of these words replaced": _cut(_replaced(0.08)),
    "20 % of the words replaced": _replaced(0.20),
    "30 % of the words replaced": _replaced(0.30),
}


def trained_on(items: list[str], train: list[str]) -> tuple[Overlap, float]:
    """The search after the training set alone, and its megabytes a second of one core."""
    began = time.process_time()
    overlap = Overlap(items)
    for number, text in enumerate(train):
        overlap.add(text, "train", number)
    return overlap, sum(map(len, train)) / 1e6 / (time.process_time() - began)


def once(clean: Overlap, items: list[str], passages: Passages, edit: Edit, seed: int) -> dict[str, float]:
    """Shares of planted and of other items in the bands, of one planting after the training set went by."""
    rng, overlap = random.Random(seed), copy.deepcopy(clean)
    planted = set(rng.sample(range(len(items)), PLANTED))
    for number in planted:
        text = " ".join(edit(rng, items[number].split(), passages.words))
        at = rng.randrange(len(passages.filler) - 300)
        before, after = (" ".join(passages.filler[begin : begin + 150]) for begin in (at, at + 150))
        overlap.add(f"{before} {text} {after}", "planted", number)
    bands = [one.band for one in overlap.finish()]
    touched = np.array([band in ("partly", "contaminated") for band in bands])
    whole = np.array([band == "contaminated" for band in bands])
    is_planted = np.isin(np.arange(len(items)), list(planted))
    return {
        "recall": float(touched[is_planted].mean()),
        "recall_contaminated": float(whole[is_planted].mean()),
        "false": float(touched[~is_planted].mean()),
        "false_contaminated": float(whole[~is_planted].mean()),
    }


def main() -> None:
    """Every edit and seed, and the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    read = {
        name: [json.loads(line) for line in (asked.data / "gsm8k" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("test", "train")
    }
    items = [row["question"] for row in read["test"]]
    train = [f"{row['question']}\n{row['answer']}" for row in read["train"]]
    filler = (asked.data / "wikitext2" / "valid.txt").read_text().split()
    passages = Passages(filler, sorted({word for text in train for word in text.split()}))
    clean, speed = trained_on(items, train)
    rows: list[dict[str, Any]] = []
    for name, edit in EDITS.items():
        found = [once(clean, items, passages, edit, seed) for seed in range(SEEDS)]
        rows.append({"edit": name} | {key: float(np.mean([one[key] for one in found])) for key in found[0]})
        if not asked.json:
            print(rows[-1], flush=True)
    record = {**records.circumstances("benchmarks.contamination", "rensa", words=["--data", "DIR"]),
              "megabytes_per_cpu_s": speed, "rows": rows}  # fmt: skip
    records.write("contamination", record, _markdown(record, len(items)))
    if asked.json:
        print(json.dumps(record))


def _markdown(record: dict[str, Any], items: int) -> str:
    lines = [
        "# Planted contamination",
        "",
        "| what was planted | planted items touched | called contaminated | other items touched | called contaminated |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in record["rows"]:
        cells = (row["recall"], row["recall_contaminated"], row["false"], row["false_contaminated"])
        lines.append(f"| {row['edit']} | " + " | ".join(f"{100 * cell:.2f} %" for cell in cells) + " |")
    lines += [
        "",
        f"{PLANTED} of {items} items planted, {SEEDS} seeds; {record['megabytes_per_cpu_s']:.2f} MB of training text a second of one core; "
        f"{record['date']}, `{record['command']}`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
