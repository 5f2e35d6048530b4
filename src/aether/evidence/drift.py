"""A run executed again, number by number: equal, within tolerance, different or missing. What `aether reproduce` says.

`repeats = "exact"` must be equal as floats, bit for bit; `machine` (time, memory, speed) may move within the overlap of
the two intervals, or within a stated ratio. Files that hold a result (weights, tokens, scores) must have the same hash;
those that hold timings are named and not compared. Circumstances that differ are listed beside, never as an excuse.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

from aether.spec.base import Noun
from aether.spec.evidence import Evidence, StepRecord
from aether.spec.units import humanize

Status = Literal["equal", "within tolerance", "differs", "missing", "not compared"]

MACHINE_RATIO = 2.0
"""How far a time or a memory size may move, as a ratio. Measured: a build that was killed ten times and its reproduction on the
same shared machine differed by up to 1.59 in memory and speed, with weights and losses equal bit for bit."""

_RESULT_SUFFIXES = frozenset({".safetensors", ".bin"})
_RESULT_NAMES = frozenset(
    {"tokenizer.json", "documents.jsonl", "text.jsonl", "per_document.jsonl", "completions.jsonl", "config.json"}
)


class Drift(Noun):
    """One number or file of the original run, and what the second run made of it."""

    id: str
    """The evidence id, or "<step>:<path>" for a file."""
    what: Literal["number", "file"]
    status: Status
    original: float | str | None
    again: float | str | None
    note: str


class Circumstance(Noun):
    """Something around a step that was not the same in the two runs."""

    step: str
    name: str
    original: str
    again: str


def compare_records(
    original: Mapping[str, StepRecord], again: Mapping[str, StepRecord], ratio: float = MACHINE_RATIO
) -> tuple[Drift, ...]:
    """Every number and file of `original` against `again`, step by step; then what only `again` has."""
    assert ratio >= 1
    found: list[Drift] = []
    for step in [*original, *(s for s in again if s not in original)]:
        found += _numbers(original.get(step), again.get(step), ratio)
        found += _files(step, original.get(step), again.get(step))
    return tuple(found)


def reproduced(drifts: tuple[Drift, ...]) -> bool:
    """Whether nothing differs and nothing is missing."""
    return all(d.status not in ("differs", "missing") for d in drifts)


def circumstances(original: Mapping[str, StepRecord], again: Mapping[str, StepRecord]) -> tuple[Circumstance, ...]:
    """What differs in seeds, threads, machine, code and packages, for the steps that both runs have."""
    found = []
    for step, first in original.items():
        second = again.get(step)
        if second is None:
            continue
        before, after = _around(first), _around(second)
        found += [
            Circumstance(step=step, name=name, original=before[name], again=after[name])
            for name in before
            if before[name] != after[name]
        ]
    return tuple(found)


def _around(record: StepRecord) -> dict[str, str]:
    provenance = record.provenance.model_dump(mode="json", exclude={"command"})
    engines = {str(e.conditions["engine"]) for e in record.evidence if "engine" in e.conditions}
    chosen = {"engine": ", ".join(sorted(engines)) or "none"}
    return (
        chosen | {"seed": str(record.seed), "threads": str(record.threads)} | {k: str(v) for k, v in provenance.items()}
    )


def _numbers(first: StepRecord | None, second: StepRecord | None, ratio: float) -> list[Drift]:
    before = {e.id: e for e in first.evidence} if first else {}
    after = {e.id: e for e in second.evidence} if second else {}
    found = [_number(i, evidence, after.get(i), ratio) for i, evidence in before.items()]
    for i, evidence in after.items():
        if i not in before:
            note = "only the second run has it"
            found.append(Drift(id=i, what="number", status="missing", original=None, again=evidence.value, note=note))
    return found


def _number(evidence_id: str, first: Evidence, second: Evidence | None, ratio: float) -> Drift:
    if second is None:
        status, note, again = "missing", "the second run did not measure it", None
    else:
        (status, note), again = _close(first, second, ratio), second.value
    return Drift(id=evidence_id, what="number", status=status, original=first.value, again=again, note=note)


def _close(first: Evidence, second: Evidence, ratio: float) -> tuple[Status, str]:
    status, note = _apart(first, second, ratio)
    was, is_now = first.conditions.get("engine"), second.conditions.get("engine")
    # The choice of an engine is measured, so another moment may choose another: never silently.
    return status, note if was == is_now else f"{note}; measured with the engine {is_now}, was {was}"


def _apart(first: Evidence, second: Evidence, ratio: float) -> tuple[Status, str]:
    if first.unit != second.unit or first.repeats != second.repeats:
        return "differs", f"was {first.repeats} in {first.unit}, is {second.repeats} in {second.unit}"
    if first.value == second.value:
        return "equal", "bit for bit"
    if first.repeats == "exact":
        apart = humanize(abs(second.value - first.value), first.unit)
        return "differs", f"must be equal bit for bit, and is {apart} apart"
    if first.interval and second.interval:
        overlap = first.interval.low <= second.interval.high and second.interval.low <= first.interval.high
        if overlap:
            return "within tolerance", "the intervals overlap"
    if first.value > 0 and second.value > 0:
        moved = max(first.value, second.value) / min(first.value, second.value)
        within = moved <= ratio
        return "within tolerance" if within else "differs", f"a ratio of {moved:.2f}; {ratio:g} is allowed"
    return "differs", "one is zero or below, so that no ratio can be allowed"


def _files(step: str, first: StepRecord | None, second: StepRecord | None) -> list[Drift]:
    before = {a.path: a.sha256 for a in first.artefacts} if first else {}
    after = {a.path: a.sha256 for a in second.artefacts} if second else {}
    found = []
    for path in [*before, *(p for p in after if p not in before)]:
        status, note = _file(path, before.get(path), after.get(path))
        found.append(
            Drift(
                id=f"{step}:{path}",
                what="file",
                status=status,
                original=before.get(path),
                again=after.get(path),
                note=note,
            )
        )
    return found


def _file(path: str, first: str | None, second: str | None) -> tuple[Status, str]:
    name = PurePosixPath(path)
    if first is None or second is None:
        return "missing", "only one of the runs left this file"
    if first == second:
        return "equal", "byte for byte"
    if name.suffix in _RESULT_SUFFIXES or name.name in _RESULT_NAMES:
        return "differs", "must be equal byte for byte"
    return "not compared", "may hold times or paths; its numbers are compared as evidence"
