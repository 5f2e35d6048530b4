"""Preferences by people: pairs shown blind in a seeded order, every judgement kept, agreement between annotators, export for DPO.

Kappa follows Cohen, A Coefficient of Agreement for Nominal Scales (1960); its interval is a bootstrap over items. Tasks are JSON
lines with `prompt`, `a` and `b`; judgements are appended to FILE.judgements.jsonl, one line each, and the newest of an annotator counts.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from aether.evidence.files import explained_os_errors
from aether.spec.base import Noun
from aether.spec.errors import InputError

Choice = Literal["left", "right", "tie", "skip"]
Verdict = Literal["a", "b", "tie", "skip"]
RESAMPLES = 2000


class Pair(Noun):
    """A prompt with two answers."""

    prompt: str
    a: str
    b: str


class Judgement(Noun):
    """What one annotator said of one pair."""

    item: int
    annotator: str
    verdict: Verdict
    shown_left: Literal["a", "b"]
    at: str


@dataclass(frozen=True)
class Agreement:
    """Between two annotators on the items that both judged, skips left out."""

    items: int
    share: float
    kappa: float | None
    low: float | None
    high: float | None


class Annotation:
    """The pairs of a file and the judgements beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pairs = read_pairs(path)
        self.file = path.with_name(f"{path.name}.judgements.jsonl")

    def judgements(self) -> list[Judgement]:
        """All that were made, in order; a half-written last line is left out."""
        if not self.file.exists():
            return []
        found = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                found.append(Judgement.model_validate_json(line))
            except ValueError:
                break
        return found

    def standing(self) -> dict[tuple[str, int], Judgement]:
        """The newest judgement of each annotator and item."""
        return {(j.annotator, j.item): j for j in self.judgements()}

    def next_item(self, annotator: str) -> int | None:
        """The first item that this annotator has not judged, in an order of their own; None when all are."""
        done = {item for (who, item) in self.standing() if who == annotator}
        order = sorted(range(len(self.pairs)), key=lambda i: _draw(annotator, i, "order"))
        return next((i for i in order if i not in done), None)

    def left_of(self, annotator: str, item: int) -> Literal["a", "b"]:
        """Which answer stands on the left for this annotator: by lot, and the same every time."""
        return "a" if _draw(annotator, item, "side") % 2 else "b"

    def judge(self, annotator: str, item: int, choice: Choice) -> Judgement:
        """Keep a judgement. Raises InputError for an item that is not there or a name that is none."""
        if not annotator or len(annotator) > 64 or not annotator.replace("-", "").replace("_", "").isalnum():
            raise InputError.of("annotator", annotator, "give letters, digits, hyphens or underscores, 64 at most")
        if not 0 <= item < len(self.pairs):
            raise InputError.of("item", item, f"there are {len(self.pairs)} pairs")
        left = self.left_of(annotator, item)
        right: Literal["a", "b"] = "b" if left == "a" else "a"
        verdict: Verdict = left if choice == "left" else right if choice == "right" else choice
        made = Judgement(
            item=item,
            annotator=annotator,
            verdict=verdict,
            shown_left=left,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with explained_os_errors(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(made.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return made

    def agreement(self) -> dict[tuple[str, str], Agreement]:
        """Every pair of annotators that share items."""
        by_person: dict[str, dict[int, Verdict]] = {}
        for (who, item), judgement in self.standing().items():
            if judgement.verdict != "skip":
                by_person.setdefault(who, {})[item] = judgement.verdict
        people = sorted(by_person)
        found = {}
        for i, one in enumerate(people):
            for other in people[i + 1 :]:
                shared = sorted(by_person[one].keys() & by_person[other].keys())
                if shared:
                    found[one, other] = agreement_of(
                        [by_person[one][s] for s in shared], [by_person[other][s] for s in shared]
                    )
        return found

    def export(self) -> list[dict[str, str]]:
        """Rows for DPO: prompt, chosen, rejected. Items whose annotators disagree, ties and skips are left out."""
        votes: dict[int, set[str]] = {}
        for (_, item), judgement in self.standing().items():
            if judgement.verdict != "skip":
                votes.setdefault(item, set()).add(judgement.verdict)
        rows = []
        for item, said in sorted(votes.items()):
            if said in ({"a"}, {"b"}):
                pair = self.pairs[item]
                chosen, rejected = (pair.a, pair.b) if said == {"a"} else (pair.b, pair.a)
                rows.append({"prompt": pair.prompt, "chosen": chosen, "rejected": rejected})
        return rows


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """The pairs of a file. Raises InputError naming the line that is none."""
    if not path.is_file():
        raise InputError.of("pairs", str(path), "no such file; give JSON lines with prompt, a and b")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(Pair(prompt=row["prompt"], a=row["a"], b=row["b"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError.of(
                f"{path.name}, line {number}", line[:80], "write an object with the texts prompt, a and b"
            ) from error
    if not found:
        raise InputError.of("pairs", str(path), "it holds no pair")
    return tuple(found)


def agreement_of(one: list[Verdict], other: list[Verdict], seed: int = 0) -> Agreement:
    """Share of equal judgements, and Cohen's kappa with a 95 % bootstrap interval; kappa is None where chance alone agrees fully."""
    codes = {"a": 0, "b": 1, "tie": 2}
    x, y = (np.array([codes[v] for v in part]) for part in (one, other))
    draws = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    kappas = [k for row in draws if (k := _kappa(x[row], y[row])) is not None]
    ends = np.quantile(kappas, [0.025, 0.975]) if kappas else (None, None)
    low, high = (None if e is None else float(e) for e in ends)
    return Agreement(len(x), float((x == y).mean()), _kappa(x, y), low, high)


def _kappa(x: np.ndarray, y: np.ndarray) -> float | None:
    seen = float((x == y).mean())
    chance = sum(float((x == c).mean() * (y == c).mean()) for c in range(3))
    return None if chance >= 1 else (seen - chance) / (1 - chance)


def _draw(annotator: str, item: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{annotator}\0{item}\0{what}".encode()).digest()[:8], "big")
