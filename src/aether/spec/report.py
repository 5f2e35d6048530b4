"""The story of a run as data: sections of blocks, whose text is made of pieces. A number can only be a piece that names its source.

`Words` refuses digits when it is made, so a report with an unsourced number cannot even be written down; the renderers
scan what they rendered once more (`aether.report.guard`). Names such as p99, int8 or UTF-8 are words.
Does not hold any formatted number: renderers look each one up at the moment of rendering.
"""

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from aether.spec.base import Noun
from aether.spec.errors import UnsourcedNumber
from aether.spec.evidence import Artefact

_WORD = re.compile(r"[\w.,%+/\-−]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z_]*\d{1,4}(?:[A-Za-z_]+\d{0,4})*")
_KNOWN = frozenset({"UTF-8", "utf-8", "SHA-256", "GPT-2", "5-gram", "13-gram", "4-bit", "8-bit", "16-bit", "n-gram"})


def bare_numbers(text: str) -> tuple[str, ...]:
    """The words of `text` that are or hold a number, names such as p99 or UTF-8 left out. Any script's digits count."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group().strip(".,/-−+")
        found += [p for p in word.split("/") if _has_digit(p) and p not in _KNOWN and not _NAME.fullmatch(p)]
    lone = [c for c in text if _has_digit(c) and not _WORD.match(c)]
    return tuple(found + lone)


def _has_digit(word: str) -> bool:
    return any(unicodedata.numeric(c, None) is not None and not _is_ideograph(c) for c in word)


def _is_ideograph(character: str) -> bool:
    """Han characters for one, two, three are parts of ordinary words."""
    return unicodedata.name(character, "").startswith("CJK")


class Words(Noun):
    """Text of the report's own, without a number in it. Raises UnsourcedNumber for one."""

    kind: Literal["words"] = "words"
    text: str

    @field_validator("text")
    @classmethod
    def _no_number(cls, text: str) -> str:
        if found := bare_numbers(text):
            raise UnsourcedNumber(f"{', '.join(found)} in {text[:120]!r} has no evidence; cite a record", numbers=found)
        return text


class Cite(Noun):
    """A number from the ledger: its value, its interval, both (`full`), or how many units it rests on (`n`)."""

    kind: Literal["cite"] = "cite"
    id: str
    show: Literal["value", "interval", "full", "n", "level"] = "value"


class Setting(Noun):
    """A value that a step's record states: "config.learning_rate", "wall_s", "provenance.cores", "threads"."""

    kind: Literal["setting"] = "setting"
    step: str
    path: str


class Bound(Noun):
    """A value that the person asked for: "targets.<metric>", or a field of the brief such as "load.requests_per_s"."""

    kind: Literal["bound"] = "bound"
    path: str


class Planned(Noun):
    """The plan's own sentence at `path` ("because", "would_change.0", "options.2.summary"): written before the run."""

    kind: Literal["planned"] = "planned"
    path: str


class Verbatim(Noun):
    """Text that is not ours to say differently, shown as it is and escaped. `role` says what kind of literal it is."""

    kind: Literal["verbatim"] = "verbatim"
    role: Literal["user", "name", "path", "hash", "date", "version", "command"]
    text: str


class Traced(Noun):
    """A number as someone else's sentence wrote it, checked against the source that it was traced to."""

    kind: Literal["traced"] = "traced"
    text: str
    source: Annotated[Cite | Setting | Bound | Planned, Field(discriminator="kind")]


class Badge(Noun):
    """A verdict as a coloured word."""

    kind: Literal["badge"] = "badge"
    status: Literal["met", "missed", "unproven", "kept", "chosen", "refused", "same", "better", "worse", "changed"]


class Gauge(Noun):
    """A strip that shows prediction and measurement against the bound of a target, without a word."""

    kind: Literal["gauge"] = "gauge"
    metric: str
    predicted: str | None
    measured: str | None


Piece = Annotated[Words | Cite | Setting | Bound | Verbatim | Traced | Badge | Gauge, Field(discriminator="kind")]
Text = tuple[Piece, ...]


class Paragraph(Noun):
    """A paragraph; `note` is a remark in the margin's tone, `warning` must not be overlooked, `decision` is what is decided."""

    block: Literal["paragraph"] = "paragraph"
    text: Text
    tone: Literal["plain", "note", "warning", "decision"] = "plain"


class Items(Noun):
    """A list of short texts."""

    block: Literal["items"] = "items"
    items: tuple[Text, ...]


class Table(Noun):
    """Rows of cells under named columns. `numeric` holds the indexes of the columns that align right."""

    block: Literal["table"] = "table"
    caption: Text = ()
    columns: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]
    numeric: tuple[int, ...] = ()
    role: Literal["plain", "verdicts"] = "plain"

    @field_validator("rows")
    @classmethod
    def _rectangular(cls, rows: tuple[tuple[Text, ...], ...], info: ValidationInfo) -> tuple[tuple[Text, ...], ...]:
        width = len(info.data.get("columns", ()))
        assert all(len(row) == width for row in rows), f"every row needs {width} cells"
        return rows


class Facts(Noun):
    """Names and values side by side; long ones may be folded away until asked for."""

    block: Literal["facts"] = "facts"
    title: str = ""
    facts: tuple[tuple[Text, Text], ...]
    folded: bool = False


class Code(Noun):
    """Commands or a document to copy."""

    block: Literal["code"] = "code"
    language: str
    text: str


class Line(Noun):
    """A curve from a file that a record lists: the file's hash is the source of all its points."""

    name: str
    step: str
    artefact: Artefact
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: Literal["line", "steps", "dots"] = "line"


class Mark(Noun):
    """A point whose coordinates are evidence, with whiskers where that has an interval. `x` None: one row per mark."""

    label: str
    y: str
    x: str | None = None
    role: Literal["measured", "predicted", "chosen", "other"] = "measured"


class Figure(Noun):
    """A plot as data. `curve`: lines and marks over x; `intervals`: one row per mark; `scatter`: marks at (x, y)."""

    block: Literal["figure"] = "figure"
    name: str = Field(pattern=r"^[a-z][a-z-]*$")
    form: Literal["curve", "intervals", "scatter"]
    title: str
    x_label: str
    y_label: str = ""
    caption: Text = ()
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    log_x: bool = False
    log_y: bool = False


Block = Annotated[Paragraph | Items | Table | Facts | Code | Figure, Field(discriminator="block")]


class Section(Noun):
    """A titled part of the report."""

    key: str = Field(pattern=r"^[a-z][a-z-]*$")
    title: str
    blocks: tuple[Block, ...]


class Report(Noun):
    """The story of a run for a person, from records alone."""

    schema_version: Literal[1] = 1
    title: Text
    subtitle: Text = ()
    sections: tuple[Section, ...]
    withheld: tuple[str, ...] = ()
    """Why a sentence of the plan was left out: it holds a number that cannot be traced."""


def text_of(*parts: "str | Piece | None") -> Text:
    """Pieces in a row: strings become `Words`, None is left out."""
    return tuple(Words(text=p) if isinstance(p, str) else p for p in parts if p is not None)


def heads(*columns: "str | Text") -> tuple[Text, ...]:
    """The heads of a table's columns: strings become `Words`."""
    return tuple((Words(text=c),) if isinstance(c, str) else c for c in columns)
