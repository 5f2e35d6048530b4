"""A report as Markdown: the same sections and tables, each number followed by a footnote that names its record.

GitHub's flavour (tables, footnotes). Figures are named and left to the HTML report. Text that a person wrote is escaped,
so that it stays text. The result passes `guard.release`.
"""

import re

from aether.report.guard import CLOSE, OPEN, enclose, release
from aether.report.sources import Sources
from aether.spec.report import (
    Badge,
    Block,
    Cite,
    Code,
    Facts,
    Figure,
    Gauge,
    Items,
    Paragraph,
    Piece,
    Report,
    Table,
    Text,
    Traced,
    Verbatim,
    Words,
)

_SPECIAL = re.compile(r"([\\`*_\[\]|#~!])")


def to_markdown(report: Report, sources: Sources) -> str:
    """The report as a Markdown document. Raises UnsourcedNumber when a number in it has no evidence."""
    scribe = Scribe(sources)
    lines = [*_body(report, scribe), "## Evidence", "", *scribe.footnotes()]
    return release("\n".join(lines).rstrip() + "\n")


def cited_in(report: Report, sources: Sources) -> tuple[str, ...]:
    """The records that the document cites: the n-th is footnote n."""
    scribe = Scribe(sources)
    _body(report, scribe)
    return scribe.cited


def _body(report: Report, scribe: "Scribe") -> list[str]:
    lines = [f"# {scribe.text(report.title)}", "", scribe.text(report.subtitle), ""]
    for section in report.sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            lines += [*scribe.block(block), ""]
    return lines


class Scribe:
    """Pieces and blocks as Markdown with sourced parts enclosed; remembers which records were cited, in order."""

    def __init__(self, sources: Sources, *, notes: bool = True) -> None:
        self.sources = sources
        self.notes = notes
        self._cited: dict[str, int] = {}

    @property
    def cited(self) -> tuple[str, ...]:
        """The records that were cited, in the order of citing."""
        return tuple(self._cited)

    def text(self, text: Text) -> str:
        """A text in one line."""
        return "".join(self._piece(piece) for piece in text)

    def block(self, block: Block) -> list[str]:
        """A block's lines."""
        match block:
            case Paragraph():
                text = self.text(block.text)
                return [f"**{text}**" if block.tone == "decision" else f"> {text}" if block.tone == "warning" else text]
            case Items():
                return [f"- {self.text(item)}" for item in block.items]
            case Table():
                return self._table(block)
            case Facts():
                head = [f"### {block.title}", ""] if block.title else []
                return [*head, *(f"- {self.text(key)}: {self.text(value)}" for key, value in block.facts)]
            case Code():
                fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
                return [f"{fence}{block.language}", *(enclose(line) for line in block.text.splitlines()), fence]
            case Figure():
                return [f"*{block.title}* is a figure of the HTML report. {self.text(block.caption)}"]

    def footnotes(self) -> list[str]:
        """One footnote per cited record, in the order of citing."""
        found = []
        for evidence_id, number in self._cited.items():
            words = escape(self.sources.describe(self.sources.ledger[evidence_id]))
            found += [f"[^{enclose(str(number))}]: {enclose(words)}"]
        return found

    def _table(self, table: Table) -> list[str]:
        drawn = {i for row in table.rows for i, cell in enumerate(row) if any(isinstance(p, Gauge) for p in cell)}
        kept = [i for i in range(len(table.columns)) if i not in drawn]
        caption = [self.text(table.caption), ""] if table.caption and not drawn else []
        head = "| " + " | ".join(self.text(table.columns[i]) or " " for i in kept) + " |"
        rule = "| " + " | ".join("---:" if i in table.numeric else "---" for i in kept) + " |"
        rows = ["| " + " | ".join(self.text(row[i]) for i in kept) + " |" for row in table.rows]
        return [*caption, head, rule, *rows]

    def _piece(self, piece: Piece) -> str:
        match piece:
            case Words():
                return escape(piece.text)
            case Gauge():
                return ""
            case Badge():
                return f"**{piece.status}**"
            case Verbatim(role="hash" | "path" | "command"):
                return enclose("`" + piece.text.replace("`", "'") + "`")
            case Cite():
                return enclose(escape(self.sources.show(piece).text)) + self._note(piece.id)
            case Traced(source=Cite() as source):
                return enclose(escape(self.sources.show(piece).text)) + self._note(source.id)
            case _:
                return enclose(escape(self.sources.show(piece).text))

    def _note(self, evidence_id: str) -> str:
        if not self.notes:
            return ""
        number = self._cited.setdefault(evidence_id, len(self._cited) + 1)
        return f"[^{enclose(str(number))}]"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = " ".join(text.replace(OPEN, "").replace(CLOSE, "").split())
    lead = " " if text[:1].isspace() else ""
    trail = " " if flat and text[-1:].isspace() else ""
    inert = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return lead + _SPECIAL.sub(r"\\\1", inert) + trail
