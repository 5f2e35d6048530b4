"""A page in the making: sections as they are written, and the evidence behind every number on them.

Numbers come in as evidence, as estimates, or inside sentences that another part computed; a number that has no source cannot be
written, because `Words` refuses digits. Follows `report.pieces`; decides nothing.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from aether.knowledge.library import devices
from aether.knowledge.sourced import Sourced
from aether.report.wording import numbers_in
from aether.spec.answer import Page, Reference, Request
from aether.spec.brief import Brief
from aether.spec.evidence import Evidence, Interval, Kind
from aether.spec.plan import Estimate
from aether.spec.report import (
    Block,
    Cite,
    Code,
    Items,
    Paragraph,
    Piece,
    Report,
    Section,
    Table,
    Text,
    Traced,
    Verbatim,
    Words,
    bare_numbers,
    heads,
    text_of,
)
from aether.spec.units import DIMENSIONS

UNKNOWN: Text = (Words(text="unknown"),)
SHELF_LIFE = timedelta(days=365)
"""Age at which a fact that was read is to be checked again (assumed: engines and formats change within a year)."""
NOTHING: Text = (Words(text="none"),)
_ID_UNSAFE = re.compile(r"[^A-Za-z0-9_:-]+")
_OPTION = re.compile(r"(?:\d+x )?[a-z0-9]+(?: [a-z0-9.-]+)+ on (?:\d+ )?[A-Z][\w-]*(?: \([^)]*\))?")
"""The name of an option of `planning.search`: "5x tp2 fp8 vllm on B200 (64 seqs, 2048 tokens)"."""


def name(text: str) -> Verbatim:
    """A name, of a model, a device, a file format."""
    return Verbatim(role="name", text=text)


def command(text: str) -> Verbatim:
    """A command to type."""
    return Verbatim(role="command", text=text)


def paragraph(*parts: "str | Piece | None") -> Paragraph:
    """A paragraph of strings and pieces."""
    return Paragraph(text=text_of(*parts))


def note(*parts: "str | Piece | None") -> Paragraph:
    """A remark."""
    return Paragraph(text=text_of(*parts), tone="note")


def items(*texts: Text) -> Items:
    """A list."""
    return Items(items=texts)


def table(columns: Sequence[str | Text], rows: Iterable[Sequence[Text]], caption: Text = ()) -> Table:
    """Rows under columns."""
    return Table(caption=caption, columns=heads(*columns), rows=tuple(tuple(row) for row in rows))


_MODEL = r"(?<![\w.-])[A-Za-z][\w.]*-(?:[\w.]+-)*\w*\d[\w.-]*\w"
"""A name with a hyphen and a digit: llama-3.1-8b, fp8-kv8."""


class Draft:
    """The sections of an answer in the order of writing, with what they cite."""

    def __init__(self, request: Request, today: date | None = None) -> None:
        self.request = request
        self.today = today or date.today()
        self.brief: Brief = request.brief
        self.sections: list[Section] = []
        self._evidence: dict[str, Evidence] = {}
        self._references: dict[str, Reference] = {}

    def section(self, key: str, title: str, *blocks: Block | None) -> None:
        """Add a section; one without a block is left out."""
        kept = tuple(block for block in blocks if block is not None)
        if kept:
            self.sections.append(Section(key=key, title=title, blocks=kept))

    def record(self, evidence: Evidence) -> Cite:
        """Keep evidence and cite its value. The same id must always be the same evidence."""
        known = self._evidence.setdefault(evidence.id, evidence)
        assert known == evidence, f"{evidence.id} is cited with two values"
        return Cite(id=evidence.id, show="full")

    def number(
        self,
        place: str,
        value: float,
        unit: str,
        kind: Kind,
        source: str,
        interval: Interval | None = None,
    ) -> Cite:
        """A number with its source. `place` is its id: "model.layers"."""
        safe = ".".join(_ID_UNSAFE.sub("-", part).strip("-") or "x" for part in place.split("."))
        metric = safe.rsplit(".", 1)[-1]
        return self.record(
            Evidence(id=safe, metric=metric, value=value, unit=unit, kind=kind, source=source, interval=interval)
        )

    def known(self, place: str, value: float, unit: str, row: Sourced) -> Cite:
        """A number of a row of what is known; its source becomes a reference."""
        self.refer_row(row)
        return self.number(place, value, unit, row.kind, f"{row.source}, as of {row.as_of}")

    def estimate(self, step: str, estimate: Estimate | None, *, kind: bool = True) -> Text:
        """A prediction with its interval and kind of evidence, or that it is unknown."""
        if estimate is None or estimate.value is None:
            return UNKNOWN
        safe = _ID_UNSAFE.sub("-", step).strip("-")
        cited = self.record(_plain(estimate).as_evidence(safe))
        return text_of(cited, f", {estimate.kind}" if kind else None)

    def sentence(self, step: str, text: str, source: str) -> Text:
        """A sentence that another part computed: each number in it becomes evidence with `source`, each name a name."""
        pieces: list[Piece] = []
        at = 0
        for start, end in _names(text):
            pieces += self._numbers(step, text[at:start], source)
            pieces.append(name(text[start:end]))
            at = end
        return (*pieces, *self._numbers(step, text[at:], source))

    def _numbers(self, step: str, text: str, source: str) -> list[Piece]:
        pieces: list[Piece] = []
        at = 0
        for found in numbers_in(text):
            pieces += _worded(text[at : found.start()])
            value = float(found["number"].replace(",", "").replace("_", ""))
            unit = _dimension(found["unit"])
            value *= DIMENSIONS[unit].get(found["unit"] or "", 1.0)
            value = -value if found["sign"] in ("-", "−") else value
            cited = self.number(f"{step}.said-{len(self._evidence)}", value, unit, "computed", source)
            pieces.append(Traced(text=found.group(), source=Cite(id=cited.id)))
            at = found.end()
        return pieces + _worded(text[at:])

    def refer(self, title: str, address: str, as_of: str) -> None:
        """A source for the list at the end."""
        self._references.setdefault(address, Reference(title=title, address=address, as_of=as_of))

    def refer_row(self, row: Sourced) -> None:
        """The source of a row of what is known, where it was read; an assumption has none."""
        if row.kind == "cited":
            self.refer(row.name, row.source, row.as_of)

    def adopt(self, page: Page) -> None:
        """The sections of another page with their evidence; its sources join those of this one."""
        self.sections += [section for section in page.report.sections if section.key != "sources"]
        for evidence in page.evidence:
            self.record(evidence)
        for reference in page.references:
            self.refer(reference.title, reference.address, reference.as_of)

    @staticmethod
    def code(language: str, text: str) -> Code:
        """Text to copy."""
        return Code(language=language, text=text)

    def page(self, title: Text) -> Page:
        """The page with its sources at the end."""
        self._close()
        return Page(
            report=Report(title=title, sections=tuple(self.sections)),
            evidence=tuple(self._evidence.values()),
            brief=self.brief,
            references=tuple(self._references.values()),
            stale=self._stale(),
        )

    def _stale(self) -> tuple[str, ...]:
        """What was read so long ago that it should be read again."""
        old = [r for r in self._references.values() if self.today - date.fromisoformat(r.as_of) > SHELF_LIFE]
        return tuple(f"{r.title} was read on {r.as_of}: check it again before you rely on it" for r in old)

    def _close(self) -> None:
        if not self._references:
            return
        listed = tuple(
            text_of(name(f"{r.title}: {r.address}"), ", as of ", Verbatim(role="date", text=r.as_of))
            for r in self._references.values()
        )
        fast = note(
            "Number formats, engines and architectures move fast: check what matters against the latest releases and papers "
            "before you spend money on it."
        )
        stale = [text_of(name(sentence)) for sentence in self._stale()]
        again = Items(items=tuple(stale)) if stale else None
        self.section("sources", "Sources", Items(items=listed), fast, again)


def _plain(estimate: Estimate) -> Estimate:
    """The estimate with a source line that is never empty."""
    return estimate if estimate.formula else estimate.model_copy(update={"formula": estimate.metric})


def _names(text: str) -> list[tuple[int, int]]:
    """Where options and devices are named, without overlap."""
    spans = [match.span() for match in _OPTION.finditer(text)]
    known = "|".join(map(re.escape, sorted(devices(), key=len, reverse=True)))
    for pattern in (rf"(?<![\w-])(?:{known})(?![\w-])", _MODEL):
        for match in re.finditer(pattern, text):
            if not any(start < match.end() and match.start() < end for start, end in spans):
                spans.append(match.span())
    return sorted(spans)


def _dimension(spelled: str | None) -> str:
    """The canonical unit that a spelling belongs to; none: a count."""
    if spelled is None:
        return "count"
    return next(unit for unit, table in DIMENSIONS.items() if spelled in table)


def _worded(text: str) -> list[Piece]:
    """Words, with what is a name for having digits in it (fp8-kv8, ttft_p99) as names."""
    if not _named(text):
        return [Words(text=text)] if text else []
    pieces: list[Piece] = []
    for part in re.split(r"(\s+)", text):
        if part and _named(part):
            pieces.append(name(part))
        elif part and pieces and isinstance(pieces[-1], Words):
            pieces[-1] = Words(text=pieces[-1].text + part)
        elif part:
            pieces.append(Words(text=part))
    return pieces


def _named(text: str) -> bool:
    """Whether it holds digits that are no number: Markdown would part a name with an underscore, too."""
    return bool(bare_numbers(text)) or re.search(r"_\w*\d", text) is not None
