"""Two runs side by side: what was chosen differently, and for each number whether there is evidence of a difference.

Quality that was scored document by document is compared on the same documents (`evidence.compare`: paired, clustered).
Other numbers with two intervals are compared as independent, which is careful where they are not; a number without an
interval is shown and not judged. Differences are b - a. Says nothing about other seeds: repeat the runs for that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aether.evidence.compare import Quantity, compare, read_scores
from aether.evidence.ledger import Ledger
from aether.evidence.statistics import PairedDifference
from aether.report.pieces import EMPTY, NO_SLICE, full, label, name, slice_of
from aether.report.sources import RunFacts, Sources, leaves
from aether.spec.evidence import Evidence, Interval
from aether.spec.metrics import METRICS
from aether.spec.report import Badge, Block, Cite, Paragraph, Report, Section, Setting, Table, Text, heads, text_of

_PAIRED: tuple[Quantity, ...] = ("bits_per_byte", "next_token_accuracy")
_LOWER_IS_BETTER = frozenset({m for m, metric in METRICS.items() if metric.better == "lower"} | {"loss"})


@dataclass(frozen=True)
class Compared:
    """A comparison as a report, with the sources that renderers need, and its rows as plain words for a terminal."""

    report: Report
    sources: Sources
    rows: tuple[tuple[str, str, str, str, str], ...]
    """(number, a, b, difference b - a with its interval, conclusion)"""


def compare_runs(a: RunFacts, b: RunFacts) -> Compared:
    """Compare two finished runs. Raises DamagedRecord for scores that are not what the record lists."""
    ledger, judged = Ledger(), []
    for evidence in a.ledger:
        other = b.ledger.get(evidence.id)
        if other is None or other.unit != evidence.unit or evidence.id.startswith(("plan.", "option-")):
            continue
        difference, conclusion = _difference(evidence, other, _paired(a, b, evidence))
        ledger.add(_renamed(evidence, "a"))
        ledger.add(_renamed(other, "b"))
        ledger.add(difference)
        judged.append((evidence, difference, conclusion))
    records = {f"a.{s}": r for s, r in a.records.items()} | {f"b.{s}": r for s, r in b.records.items()}
    sources = Sources(ledger, a.manifest.brief, records)
    report = Report(
        title=text_of(name(a.manifest.name), " against ", name(b.manifest.name)),
        subtitle=text_of("a is ", name(a.manifest.name), ", b is ", name(b.manifest.name), "; differences are b − a."),
        sections=tuple(s for s in (_numbers(judged), _choices(a, b)) if s is not None),
    )
    rows = tuple(
        (
            label(evidence.id),
            sources.words(full(f"a.{evidence.id}")),
            sources.words(full(f"b.{evidence.id}")),
            sources.words(full(difference.id)),
            _WORDS[conclusion],
        )
        for evidence, difference, conclusion in judged
    )
    return Compared(report, sources, rows)


_WORDS = {
    "same": "equal",
    "unclear": "no evidence of a difference",
    "better": "b is better",
    "worse": "b is worse",
    "changed": "changed; no interval, so not judged",
    "differs": "differs",
}


def _renamed(evidence: Evidence, run: str) -> Evidence:
    return evidence.model_copy(update={"id": f"{run}.{evidence.id}"})


def _paired(a: RunFacts, b: RunFacts, evidence: Evidence) -> PairedDifference | None:
    quantity = next((q for q in _PAIRED if q == evidence.metric), None)
    split = {NO_SLICE: "test", "ood": "ood"}.get(slice_of(evidence))
    if quantity is None or split is None or not evidence.id.startswith("evaluate."):
        return None
    paths = [Path(facts.folders["evaluate"]) / "per_document.jsonl" for facts in (a, b) if "evaluate" in facts.folders]
    if len(paths) < 2 or not all(path.is_file() for path in paths):
        return None
    first, second = (read_scores(path, split) for path in paths)
    shared = {s.id for s in first} & {s.id for s in second}
    same_tokens = {s.id: s.tokens for s in first if s.id in shared} == {
        s.id: s.tokens for s in second if s.id in shared
    }
    if not shared or (quantity == "next_token_accuracy" and not same_tokens):
        return None
    return compare(second, first, "bits_per_byte" if quantity == "bits_per_byte" else "next_token_accuracy").paired


def _difference(a: Evidence, b: Evidence, paired: PairedDifference | None) -> tuple[Evidence, str]:
    value, interval, n = b.value - a.value, None, None
    source = f"b - a of {a.id}"
    conditions: dict[str, str | int | float | bool] = {}
    if paired is not None:
        value, interval, n = paired.difference, paired.interval, paired.n
        source += ", paired on the same documents"
        conditions = {"relative": paired.relative}
        if paired.effect_size is not None:
            conditions["effect_size"] = paired.effect_size
        if paired.p_value is not None:
            conditions["p_value"] = paired.p_value
    elif a.interval is not None and b.interval is not None:
        interval = _unpaired(a, b, value)
    difference = Evidence(
        id=f"difference.{a.id}",
        metric=a.metric,
        value=value,
        unit=a.unit,
        kind="computed",
        source=source,
        interval=interval,
        n=n,
        repeats=a.repeats,
        conditions=conditions,
    )
    return difference, _conclusion(a, b, difference)


def _unpaired(a: Evidence, b: Evidence, value: float) -> Interval | None:
    assert a.interval is not None and b.interval is not None
    if a.interval.level != b.interval.level:
        return None
    below = math.hypot(b.value - b.interval.low, a.interval.high - a.value)
    above = math.hypot(b.interval.high - b.value, a.value - a.interval.low)
    method = "of two independent intervals (MOVER, Zou and Donner 2008)"
    return Interval(low=value - below, high=value + above, level=a.interval.level, method=method)


def _conclusion(a: Evidence, b: Evidence, difference: Evidence) -> str:
    interval = difference.interval
    if a.value == b.value and a.interval == b.interval:
        return "same"
    if interval is None:
        return "changed"
    if interval.low <= 0.0 <= interval.high:
        return "unclear"
    if a.metric not in METRICS and a.metric not in _LOWER_IS_BETTER:
        return "differs"
    return "better" if (difference.value < 0) == (a.metric in _LOWER_IS_BETTER) else "worse"


def _numbers(judged: list[tuple[Evidence, Evidence, str]]) -> Section | None:
    if not judged:
        return None
    rows = []
    for evidence, difference, conclusion in judged:
        effect = difference.conditions.get("effect_size")
        tail: Text = text_of(_WORDS[conclusion])
        if conclusion in ("better", "worse", "same"):
            tail = (Badge(status=conclusion), *text_of(" ", _WORDS[conclusion]))
        if effect is not None:
            tail += text_of(", paired on ", Cite(id=difference.id, show="n"), " documents")
        cells = (full(f"a.{evidence.id}"), full(f"b.{evidence.id}"), full(difference.id))
        rows.append(((name(evidence.id),), *cells, tail))
    columns = heads("number", "a", "b", "b − a", "conclusion")
    note = text_of(
        "No evidence of a difference is an answer, not a failure. Both runs have one seed each: a difference here is one "
        "between these two models, and not yet one between the two recipes. Intervals are not widened for their number."
    )
    blocks: list[Block] = [
        Table(columns=columns, rows=tuple(rows), numeric=(1, 2, 3)),
        Paragraph(text=note, tone="note"),
    ]
    return Section(key="numbers", title="Numbers", blocks=tuple(blocks))


def _choices(a: RunFacts, b: RunFacts) -> Section:
    rows: list[tuple[Text, ...]] = []
    for step in dict.fromkeys([*a.records, *b.records]):
        first, second = (dict(_around(facts, step)) for facts in (a, b))
        for path in dict.fromkeys([*first, *second]):
            if first.get(path, _ABSENT) != second.get(path, _ABSENT):
                cells = (_stated("a", step, path, first), _stated("b", step, path, second))
                rows.append(((name(f"{step}: {path.removeprefix('config.')}"),), *cells))
    if not rows:
        text = text_of(
            "Every choice of every step is the same in both, and so are the machine, the code and the packages."
        )
        return Section(key="choices", title="Choices", blocks=(Paragraph(text=text),))
    return Section(key="choices", title="Choices", blocks=(Table(columns=heads("choice", "a", "b"), rows=tuple(rows)),))


_ABSENT = object()


def _around(facts: RunFacts, step: str) -> list[tuple[str, object]]:
    record = facts.records.get(step)
    if record is None:
        return []
    provenance = record.provenance.model_dump(mode="json", exclude={"command"})
    found: list[tuple[str, object]] = [(f"config.{path}", value) for path, value in leaves(record.config)]
    found += [("seed", record.seed), ("threads", record.threads)]
    return [*found, *((f"provenance.{key}", value) for key, value in provenance.items())]


def _stated(run: str, step: str, path: str, known: Mapping[str, object]) -> Text:
    return (Setting(step=f"{run}.{step}", path=path),) if path in known else EMPTY
