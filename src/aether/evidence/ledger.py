"""All evidence of a run, by id. Append-only: a correction is a new entry that names the one it corrects.

Built from the steps' records and the run's own evidence (predictions, build time, cost). Kept as JSON lines, one entry
a line, so that the history of a number can be read with `grep`. Computes nothing and judges nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from aether.evidence.files import write_atomically
from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord, UnsourcedNumber
from aether.spec.evidence import Evidence, StepRecord

LEDGER_NAME = "ledger.jsonl"


class Entry(Noun):
    """One line of the ledger. `corrects` is the number of an earlier entry with the same evidence id."""

    entry: int = Field(ge=0)
    step: str | None
    """The step whose record holds the evidence; None for the run's own."""
    evidence: Evidence
    corrects: int | None = None
    why: str | None = None


class Ledger:
    """Evidence by id. `ledger[id]` is the standing value: the newest entry of that id."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: list[Entry] = []
        self._standing: dict[str, int] = {}
        for entry in entries:
            self._append(entry)

    @classmethod
    def of(cls, records: Mapping[str, StepRecord], of_the_run: Iterable[Evidence] = ()) -> "Ledger":
        """The evidence of every record, in the order of the steps, then the run's own."""
        ledger = cls()
        for step, record in records.items():
            for evidence in record.evidence:
                ledger.add(evidence, step)
        for evidence in of_the_run:
            ledger.add(evidence)
        return ledger

    def add(self, evidence: Evidence, step: str | None = None) -> None:
        """Append evidence with a new id. The same evidence twice is one entry; another value under a known id is our bug."""
        known = self.get(evidence.id)
        if known is not None:
            assert known == evidence, f"{evidence.id} is in the ledger with another value: use `correct`"
            return
        self._append(Entry(entry=len(self._entries), step=step, evidence=evidence))

    def correct(self, evidence: Evidence, why: str) -> None:
        """Append a new value for a known id. The old entry stays, and the new one names it."""
        old = self.entry(evidence.id)
        entry = Entry(entry=len(self._entries), step=old.step, evidence=evidence, corrects=old.entry, why=why)
        self._append(entry)

    def _append(self, entry: Entry) -> None:
        assert self._follows(entry), f"{entry.evidence.id}: entry {entry.entry} does not name what it corrects"
        self._entries.append(entry)
        self._standing[entry.evidence.id] = entry.entry

    def _follows(self, entry: Entry) -> bool:
        """Whether the entry has the next number, and names the standing entry of its id where there is one."""
        return entry.entry == len(self._entries) and entry.corrects == self._standing.get(entry.evidence.id)

    def entry(self, evidence_id: str) -> Entry:
        """The standing entry of an id. Raises UnsourcedNumber for an id that nothing measured."""
        number = self._standing.get(evidence_id)
        if number is None:
            raise UnsourcedNumber(f"no evidence has the id {evidence_id!r}", id=evidence_id)
        return self._entries[number]

    def history(self, evidence_id: str) -> tuple[Entry, ...]:
        """Every entry of an id, the oldest first."""
        return tuple(entry for entry in self._entries if entry.evidence.id == evidence_id)

    def __getitem__(self, evidence_id: str) -> Evidence:
        return self.entry(evidence_id).evidence

    def get(self, evidence_id: str) -> Evidence | None:
        """The standing evidence of an id, or None."""
        number = self._standing.get(evidence_id)
        return None if number is None else self._entries[number].evidence

    def __contains__(self, evidence_id: object) -> bool:
        return evidence_id in self._standing

    def __iter__(self) -> Iterator[Evidence]:
        """The standing evidence in the order in which the ids came."""
        return (self._entries[number].evidence for number in self._standing.values())

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry, corrected ones too."""
        return tuple(self._entries)

    def of_step(self, step: str) -> tuple[Evidence, ...]:
        """The standing evidence whose id begins with that step's name."""
        return tuple(e for e in self if e.id.split(".", 1)[0] == step)

    def with_more(self, more: Iterable[Evidence]) -> "Ledger":
        """A copy that holds `more` besides."""
        copy = Ledger(self._entries)
        for evidence in more:
            copy.add(evidence)
        return copy

    def dump(self, path: Path) -> "Ledger":
        """Write the ledger to `path` and return what stands there. A value that differs from one that the file already
        holds is appended as a correction: no line that was ever written is lost."""
        kept = Ledger.read(path) if path.exists() else Ledger()
        for entry in self._entries:
            known = kept.get(entry.evidence.id)
            if known is None:
                fresh = {"entry": len(kept.entries), "corrects": None}
                kept._append(entry.model_copy(update=fresh))
            elif entry.evidence not in [e.evidence for e in kept.history(entry.evidence.id)]:
                kept.correct(entry.evidence, entry.why or "measured again")
        for evidence in self:
            if kept[evidence.id] != evidence:
                kept.correct(evidence, "measured again")
        lines = [json.dumps(e.model_dump(mode="json"), ensure_ascii=False, allow_nan=False) for e in kept.entries]
        write_atomically(path, "".join(line + "\n" for line in lines))
        return kept

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """The ledger in `path`. Raises DamagedRecord with the line that is not an entry."""
        ledger = cls()
        with path.open(encoding="utf-8", newline="\n") as file:
            try:
                for line in file:
                    entry = Entry.model_validate_json(line)
                    if not ledger._follows(entry):
                        raise ValueError("the entry does not follow from those above it")
                    ledger._append(entry)
            except ValueError as error:
                where = f"{path}, line {len(ledger.entries) + 1}"
                mend = "is not a ledger entry; delete the file and run `aether resume`"
                raise DamagedRecord(f"{where}, {mend}", path=str(path)) from error
        return ledger
