"""Where a report's numbers come from, and what each piece of text says: the one place that turns a reference into digits.

A renderer gives a piece and gets `Shown`: the words, the source in one sentence, and the mark that the guard checks
after rendering. A piece whose source does not exist raises UnsourcedNumber. Formats nothing for a medium.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aether.evidence.ledger import Ledger
from aether.report.wording import (
    interval_text,
    numbers_in,
    says,
    setting_text,
    value_text,
)
from aether.spec.answer import Page
from aether.spec.brief import Brief
from aether.spec.errors import UnsourcedNumber
from aether.spec.evidence import Evidence, StepRecord
from aether.spec.metrics import METRICS
from aether.spec.plan import Option, Plan
from aether.spec.report import Badge, Bound, Cite, Gauge, Piece, Planned, Setting, Text, Traced, Verbatim, Words
from aether.spec.run import RunManifest, Verdict
from aether.spec.units import humanize


@dataclass(frozen=True)
class RunFacts:
    """Everything that a report may speak of. `folders` maps a step to its output folder, for curves and cards."""

    manifest: RunManifest
    plan: Plan | None
    records: Mapping[str, StepRecord]
    verdicts: tuple[Verdict, ...]
    ledger: Ledger
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A piece as words, its source in one sentence, and its mark: the piece itself as JSON, for the guard."""

    text: str
    source: str
    mark: str


def option_step(option: Option) -> str:
    """The first part of the ids under which an option's estimates are cited."""
    return "option-" + re.sub(r"[^A-Za-z0-9_-]", "-", option.name)


def with_options(ledger: Ledger, plan: Plan | None) -> Ledger:
    """The ledger with every option's estimates in it, the decided one's as `plan.predicted.<metric>` too."""
    if plan is None:
        return ledger
    more = [
        e.as_evidence(option_step(option)) for option in plan.options for e in option.estimates if e.value is not None
    ]
    decided = [e.as_evidence("plan") for e in plan.decision.estimates if e.value is not None]
    return ledger.with_more([e for e in [*more, *decided] if e.id not in ledger])


class Sources:
    """Looks pieces up in the ledger, the records, the plan and the brief."""

    def __init__(
        self, ledger: Ledger, brief: Brief, records: Mapping[str, StepRecord] | None = None, plan: Plan | None = None
    ) -> None:
        self.ledger = with_options(ledger, plan)
        self.brief = brief
        self.records = records or {}
        self.plan = plan

    @classmethod
    def of_run(cls, facts: RunFacts) -> "Sources":
        """The sources of a run's report."""
        return cls(facts.ledger, facts.manifest.brief, facts.records, facts.plan)

    @classmethod
    def of_page(cls, page: Page) -> "Sources":
        """The sources of an answer: its own evidence and the brief that was read."""
        return cls(Ledger.of({}, page.evidence), page.brief)

    def show(self, piece: Piece) -> Shown:
        """What a piece says. Raises UnsourcedNumber when nothing supports it."""
        mark = piece.model_dump_json()
        match piece:
            case Words():
                return Shown(piece.text, "", "")
            case Verbatim():
                return Shown(piece.text, "", mark)
            case Badge():
                return Shown(piece.status, "", "")
            case Gauge():
                return Shown("", "", "")
            case Cite():
                return Shown(self._cited(piece), self.describe(self.ledger[piece.id]), mark)
            case Setting():
                return Shown(self._set(piece), f"{piece.path} in the record of step {piece.step}", mark)
            case Bound():
                return Shown(self._asked(piece), f"asked for in the brief: {piece.path}", mark)
            case Traced():
                self._check_traced(piece)
                if isinstance(piece.source, Planned):
                    source = f"computed: stated by the plan before the main run ({piece.source.path} in the plan)"
                    return Shown(piece.text, source, mark)
                return Shown(piece.text, self.show(piece.source).source, mark)

    def words(self, text: Text) -> str:
        """A text as plain words."""
        return "".join(self.show(piece).text for piece in text)

    def describe(self, evidence: Evidence) -> str:
        """A number's source for a person: kind, exact value, interval, what was run."""
        parts = [f"{evidence.kind}: {evidence.value!r} {evidence.unit}"]
        if evidence.interval is not None:
            i = evidence.interval
            parts.append(f"{i.level:.0%} interval {i.low:.6g} to {i.high:.6g} ({i.method})")
        if evidence.n is not None:
            parts.append(f"n = {evidence.n:,}")
        return " · ".join([*parts, evidence.source, evidence.id])

    def _cited(self, piece: Cite) -> str:
        evidence = self.ledger[piece.id]
        if piece.show == "value":
            return value_text(evidence)
        if piece.show == "n":
            if evidence.n is None:
                raise UnsourcedNumber(f"{piece.id} does not say how many units it rests on", id=piece.id)
            return f"{evidence.n:,}"
        if evidence.interval is None:
            if piece.show == "full":
                return value_text(evidence)
            raise UnsourcedNumber(f"{piece.id} has no interval", id=piece.id)
        if piece.show == "level":
            return f"{evidence.interval.level:.0%}"
        if piece.show == "interval":
            return interval_text(evidence)
        return f"{value_text(evidence)} ({interval_text(evidence)})"

    def _set(self, piece: Setting) -> str:
        value = self.setting(piece)
        if piece.path in ("wall_s", "cpu_s"):
            return f"{value:,.1f}"
        return " ".join(value) if piece.path == "provenance.command" else setting_text(value)

    def setting(self, piece: Setting) -> Any:
        """The recorded value that a setting refers to."""
        record = self.records.get(piece.step)
        value: Any = record.model_dump(mode="json") if record else None
        for part in piece.path.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise UnsourcedNumber(f"no record states {piece.step}: {piece.path}", step=piece.step, path=piece.path)
        return value

    def _asked(self, piece: Bound) -> str:
        brief = self.brief
        first, _, rest = piece.path.partition(".")
        if first == "targets":
            target = brief.target(rest)
            if target is None:
                raise UnsourcedNumber(f"the brief has no target on {rest!r}", path=piece.path)
            return f"{'≤' if target.comparison == '<=' else '≥'} {humanize(target.value, target.unit)}"
        value: Any = brief.model_dump(mode="json")
        for part in piece.path.split("."):
            if not isinstance(value, dict) or part not in value:
                raise UnsourcedNumber(f"the brief has no field {piece.path!r}", path=piece.path)
            value = value[part]
        if piece.path.endswith("_bound"):
            return humanize(float(value), "fraction")
        return setting_text(value)

    def _check_traced(self, piece: Traced) -> None:
        found = numbers_in(piece.text)
        if isinstance(piece.source, Planned):
            if piece.text not in [number.group() for number in numbers_in(self._planned(piece.source))]:
                raise UnsourcedNumber(f"{piece.text!r} is not in the plan at {piece.source.path}", text=piece.text)
            return
        values = self._values(piece.source)
        if len(found) != 1 or not any(says(found[0], value, unit) for value, unit in values):
            raise UnsourcedNumber(f"{piece.text!r} is not what its source says", text=piece.text)

    def _planned(self, piece: Planned) -> str:
        value: Any = self.plan
        for part in piece.path.split("."):
            if isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                value = getattr(value, part, None) if part in _PLAN_TEXTS else None
        if not isinstance(value, str):
            raise UnsourcedNumber(f"the plan says nothing at {piece.path}", path=piece.path)
        return value

    def _values(self, source: Cite | Setting | Bound) -> list[tuple[float, str]]:
        if isinstance(source, Cite):
            evidence = self.ledger[source.id]
            if source.show == "n":
                return [(float(evidence.n or 0), "count")]
            values = [(evidence.value, evidence.unit)]
            if evidence.interval is not None:
                i = evidence.interval
                values += [(i.low, evidence.unit), (i.high, evidence.unit), (i.level, "fraction")]
            return values
        if isinstance(source, Setting):
            value = self.setting(source)
            return [(float(value), _unit_of(source.path))] if isinstance(value, int | float) else []
        brief = self.brief
        first, _, rest = source.path.partition(".")
        target = brief.target(rest) if first == "targets" else None
        return [(target.value, target.unit)] if target else []

    def trace(
        self, text: str, candidates: list[Cite | Setting | Bound] | None = None, stated: Planned | None = None
    ) -> Text:
        """Someone else's sentence as pieces, each number traced to the first candidate that says it.

        By default every evidence, target and numeric setting is a candidate. A sentence of the plan (`stated`) is looked
        up among targets and predictions where a number has a unit; its other numbers have the sentence as their source.
        Raises UnsourcedNumber naming the numbers that have none.
        """
        candidates = self.candidates() if candidates is None else candidates
        pieces: list[Piece] = []
        at, lost = 0, []
        for number in numbers_in(text):
            known = [c for c in candidates if any(says(number, v, u) for v, u in self._values(c))]
            # A count without a unit equals too many things by chance to be linked to one of them.
            source = known[0] if known and (stated is None or number["unit"]) else stated
            if source is None:
                lost.append(number.group())
            if lost or source is None:
                continue
            if number.start() > at:
                pieces.append(Words(text=text[at : number.start()]))
            pieces.append(Traced(text=number.group(), source=source))
            at = number.end()
        if lost:
            raise UnsourcedNumber(f"{', '.join(lost)} in {text[:200]!r} has no evidence", numbers=lost)
        return (*pieces, Words(text=text[at:])) if at < len(text) else tuple(pieces)

    def foreseen(self) -> list[Cite | Setting | Bound]:
        """What a sentence of the plan may be linked to: what was asked, and what was predicted."""
        asked = [Bound(path=f"targets.{t.metric}") for t in self.brief.targets]
        predicted = [e for e in self.ledger if e.id.startswith(("plan.", "option-"))]
        return [*asked, *(Cite(id=e.id) for e in sorted(predicted, key=_likelihood))]

    def candidates(self) -> list[Cite | Setting | Bound]:
        """Everything that a sentence may speak of: what was asked, then predicted, then the rest."""
        found: list[Cite | Setting | Bound] = [Bound(path=f"targets.{t.metric}") for t in self.brief.targets]
        found += [Cite(id=e.id) for e in sorted(self.ledger, key=_likelihood)]
        for step, record in self.records.items():
            found += [
                Setting(step=step, path=f"config.{path}") for path, value in leaves(record.config) if _is_number(value)
            ]
            found += [Setting(step=step, path=path) for path in ("threads", "provenance.cores")]
        return found


def leaves(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted path, value) of every choice in a recipe; lists are one value."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found += leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def metric_of(name: str) -> str:
    """What a metric is in a few words, or its name when it is none that a target may bound."""
    return METRICS[name].meaning if name in METRICS else name.replace("_", " ")


def _likelihood(evidence: Evidence) -> int:
    """0 for what the decided plan predicts, 1 for what other options do, 2 for the rest: a sort key that keeps order."""
    if evidence.id.startswith("plan."):
        return 0
    return 1 if evidence.id.startswith("option-") else 2


_PLAN_TEXTS = frozenset({"because", "would_change", "options", "summary", "refused_because"})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unit_of(path: str) -> str:
    for suffix, unit in (("_bytes", "byte"), ("_per_s", "count"), ("_s", "s")):
        if path.endswith(suffix):
            return unit
    return "count"


def read_piece(mark: str) -> Piece:
    """The piece that a mark stands for."""
    kinds = {m.model_fields["kind"].default: m for m in (Words, Cite, Setting, Bound, Verbatim, Traced, Badge, Gauge)}
    value = json.loads(mark)
    return kinds[value["kind"]].model_validate(value)
