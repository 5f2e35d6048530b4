"""Preferences by people: pairs shown blind in a seeded order, every judgement kept, agreement between annotators, export for DPO.

Tasks are JSON lines with `prompt`, `a` and `b`; `a_model` and `b_model` name who wrote them (never shown), and `check` names the answer that
anyone who reads must prefer: such items tell who pays attention, and count for nothing else. Judgements are appended to FILE.judgements.jsonl,
one line each, and the newest of an annotator counts.
"""

import hashlib
import math
import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from aether.evidence.agreement import Agreement, cohen_kappa, krippendorff_alpha
from aether.evidence.bradley_terry import Votes
from aether.evidence.files import explained_os_errors
from aether.evidence.hashing import hash_file
from aether.evidence.pairs import read_pairs
from aether.evidence.statistics import Measurement, exact_proportion
from aether.spec.base import Noun
from aether.spec.errors import InputError

Choice = Literal["left", "right", "tie", "skip"]
Verdict = Literal["a", "b", "tie", "skip"]


class Judgement(Noun):
    """What one annotator said of one pair."""

    item: int
    annotator: str
    verdict: Verdict
    shown_left: Literal["a", "b"]
    at: str


class Study(Noun):
    """What was decided before the first vote (`aether study`); the page keeps to it."""

    pairs_sha256: str
    seed: int
    raters: dict[str, tuple[int, ...]]
    """Whose word counts, and the items that each of them judges."""
    votes_planned: int
    """Without the checks."""


def study_file(path: Path) -> Path:
    """Where the plan of a file of pairs stands."""
    return path.with_name(f"{path.name}.study.json")


class Annotation:
    """The pairs of a file and the judgements beside it. Raises InputError where a study's pairs are not the planned ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pairs = read_pairs(path)
        self.study = _read_study(path)
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

    def share_of(self, annotator: str) -> Sequence[int]:
        """The items that this annotator judges: those of the study, else all. Raises InputError for one whom the study does not name."""
        if self.study is None:
            return range(len(self.pairs))
        if annotator not in self.study.raters:
            raise InputError.of("annotator", annotator, f"the study names {', '.join(self.study.raters)}")
        return self.study.raters[annotator]

    def next_item(self, annotator: str) -> int | None:
        """The first item of theirs that this annotator has not judged, in an order of their own; None when all are."""
        done = {item for (who, item) in self.standing() if who == annotator}
        order = sorted(self.share_of(annotator), key=lambda i: _draw(annotator, i, "order"))
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
        if item not in self.share_of(annotator):
            raise InputError.of("item", item, f"the study gives it to others than {annotator}")
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
        """Cohen's kappa of every two annotators that share items; checks and skips left out."""
        by_person = self._by_person()
        people = sorted(by_person)
        found = {}
        for i, one in enumerate(people):
            for other in people[i + 1 :]:
                shared = sorted(by_person[one].keys() & by_person[other].keys())
                if shared:
                    x, y = ([by_person[who][item] for item in shared] for who in (one, other))
                    found[one, other] = cohen_kappa(x, y)
        return found

    def alpha(self, leave_out: Collection[str] = ()) -> Agreement:
        """Krippendorff's alpha of the annotators but those of `leave_out`, a tie between the two sides. Raises InputError when no item was
        judged twice."""
        by_person = {who: said for who, said in self._by_person().items() if who not in leave_out}
        codes = {"b": -1.0, "tie": 0.0, "a": 1.0}
        table = [
            [codes.get(by_person[who].get(item, ""), math.nan) for item in range(len(self.pairs))]
            for who in sorted(by_person)
        ]
        if not table:
            raise InputError.of("judgements", 0, "nobody has judged yet")
        return krippendorff_alpha(table, "ordinal")

    def attention(self) -> dict[str, Measurement]:
        """The share of checks that each annotator passed; those who saw none are left out."""
        passed: dict[str, list[bool]] = {}
        for (who, item), judgement in self.standing().items():
            if self.pairs[item].check is not None:
                passed.setdefault(who, []).append(judgement.verdict == self.pairs[item].check)
        return {who: exact_proportion(sum(hits), len(hits)) for who, hits in sorted(passed.items())}

    def votes(self, leave_out: Collection[str] = ()) -> Votes:
        """Votes between models, without checks, skips and the annotators of `leave_out`. Raises InputError where no pair names its models."""
        rows = []
        for (who, item), judgement in sorted(self.standing().items()):
            pair = self.pairs[item]
            if (
                pair.check is None
                and judgement.verdict != "skip"
                and who not in leave_out
                and pair.a_model
                and pair.b_model
            ):
                left, right = (
                    (pair.a_model, pair.b_model) if judgement.shown_left == "a" else (pair.b_model, pair.a_model)
                )
                winner = (
                    "tie"
                    if judgement.verdict == "tie"
                    else "left"
                    if judgement.verdict == judgement.shown_left
                    else "right"
                )
                rows.append(
                    (
                        left,
                        right,
                        winner,
                        who,
                        len(pair.a) - len(pair.b) if judgement.shown_left == "a" else len(pair.b) - len(pair.a),
                    )
                )
        if not rows:
            raise InputError.of("pairs", str(self.path), "no judged pair names a_model and b_model")
        left, right, winner, raters, longer = (list(column) for column in zip(*rows, strict=True))
        return Votes.of(left, right, winner, raters).with_covariate(
            "longer by 1000 characters", [n / 1000 for n in longer]
        )

    def _by_person(self) -> dict[str, dict[int, Verdict]]:
        found: dict[str, dict[int, Verdict]] = {}
        for (who, item), judgement in self.standing().items():
            if judgement.verdict != "skip" and self.pairs[item].check is None:
                found.setdefault(who, {})[item] = judgement.verdict
        return found

    def is_open(self) -> bool:
        """Whether raters of a study have pairs left to judge: until then nobody sees how the votes fall."""
        if self.study is None:
            return False
        judged = self.standing()
        return any((who, item) not in judged for who, mine in self.study.raters.items() for item in mine)

    def export(self) -> list[dict[str, str]]:
        """Rows for DPO: prompt, chosen, rejected. Items whose annotators disagree, ties and skips are left out.

        Raises InputError while a study's raters have pairs left to judge.
        """
        if self.is_open():
            raise InputError.of(
                "study", str(self.path), "votes are still missing; preferences are shown when all have judged"
            )
        votes: dict[int, set[str]] = {}
        for (_, item), judgement in self.standing().items():
            if judgement.verdict != "skip" and self.pairs[item].check is None:
                votes.setdefault(item, set()).add(judgement.verdict)
        rows = []
        for item, said in sorted(votes.items()):
            if said in ({"a"}, {"b"}):
                pair = self.pairs[item]
                chosen, rejected = (pair.a, pair.b) if said == {"a"} else (pair.b, pair.a)
                rows.append({"prompt": pair.prompt, "chosen": chosen, "rejected": rejected})
        return rows


def _read_study(path: Path) -> Study | None:
    plan = study_file(path)
    if not plan.exists():
        return None
    try:
        study = Study.model_validate_json(plan.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError.of(
            "study", str(plan), "it cannot be read; lay the study out again with aether study"
        ) from error
    if study.pairs_sha256 != hash_file(path):
        raise InputError.of(
            "pairs", str(path), f"they are not those that {plan.name} was written for; lay out a new study"
        )
    return study


def _draw(annotator: str, item: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{annotator}\0{item}\0{what}".encode()).digest()[:8], "big")
