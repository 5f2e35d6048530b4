"""What a reply may rest on: numbers with what they are of, sentences that tools said, sources that may be cited.

From evidence records, from the text of tools, from what the person wrote, from the tables of `knowledge`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aether.counsel.claims.conditions import Condition, conditions_in, of_record, of_unit
from aether.counsel.claims.labels import Siblings, label_words
from aether.counsel.claims.names import benchmarks_in, models_in, names_of_runs, run_of, without_names
from aether.counsel.claims.normal import Unit, plain, units
from aether.counsel.claims.numbers import Said, numbers_of
from aether.counsel.claims.rows import Table
from aether.counsel.claims.subjects import NAMELESS, Subject, by_unit, of_metric, subject_of, traits_of
from aether.counsel.claims.words import content_words, squeezed, stem
from aether.counsel.reply import Reply
from aether.spec.answer import Reference
from aether.spec.evidence import Evidence

_SAME = {
    "ttft": {"ttft", "first"}, "itl": {"itl", "inter", "between", "gap"}, "tpot": {"tpot", "output", "token"}, "e2e": {"e2e", "end", "request", "whole", "latency"},
    "wall": {"time", "took", "takes", "take", "long", "training", "run", "hours"}, "throughput": {"throughput", "tokens"}, "memory": {"memory", "peaked", "gb", "holds", "hold", "fit", "fits", "vram", "weights", "hbm"}, "cost": {"cost", "costs", "price", "usd", "dollar", "dollars", "spend"},
    "time": {"time", "takes", "take", "long", "hours", "days", "minutes", "duration"}, "loss": {"loss", "losses"}, "mfu": {"mfu", "utilisation", "utilization"},
    "difference": {"difference", "gain", "better", "improvement", "lead", "gap", "rise", "improved", "delta", "worse", "higher", "lower", "point", "pt"},
    "accuracy": {"accuracy", "correct", "correctly", "right", "accurate"},
    "p_value": {"pvalue", "significance", "significant", "permutation", "probability"},
    "size_on_disk": {"file", "files", "disk", "size", "checkpoint", "download", "smaller", "bigger", "gb"}, "parameters": {"parameters", "params", "size", "weights"}, "quality_loss": {"quality", "loss", "perplexity", "accuracy"}, "devices": {"devices", "gpus", "accelerators"},
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A number and what it is of. `mine` is false for what the person wrote: that is a wish or their data, not a result."""

    value: float
    unit: str
    words: frozenset[str]
    """Words one of which a sentence must share, for a record; two, for a sentence of a tool."""
    names: frozenset[str]
    benchmarks: frozenset[str]
    needed: int = 1
    kind: str = "record"
    source: str = ""
    subject: Subject = NAMELESS
    noun: str = ""
    """The word after the number, which says what it counts."""
    end: bool = False
    """An end of an interval: it may be said as one, not as the value."""
    seen: bool = True
    """Measured or published, not computed."""
    one_of: frozenset[str] = frozenset()
    """Where any are given, a sentence must share one of these: what a topic is called."""
    asked: bool = False
    """The person's own words, not a tool's account of them."""
    ran: bool = False
    """Measured here, not published."""
    group: str = ""
    """What it has siblings of: a metric, a column."""
    labels: frozenset[str] = frozenset()
    """What sets it apart from them."""
    conditions: frozenset[Condition] = frozenset()
    """At which load and size it holds, and whether it says faster or slower."""


@dataclass
class Ground:
    """All that one conversation may rest on. Grows with every tool's reply."""

    facts: list[Fact] = field(default_factory=list)
    statements: set[str] = field(default_factory=set)
    """Sentences of tools, in plain words: a reply may repeat them."""
    names: set[str] = field(default_factory=set)
    """Models and devices that the conversation speaks of."""
    main: set[str] = field(default_factory=set)
    """Those that the person named: what "it" is."""
    options: dict[str, frozenset[str]] = field(default_factory=dict)
    """Traits of the options that a tool numbered, by "option3"."""
    layouts: set[int] = field(default_factory=set)
    """How many devices the options of a tool's table take."""
    device_counts: set[int] = field(default_factory=set)
    """How many devices the conversation speaks of."""
    verdicts: dict[frozenset[str], str] = field(default_factory=dict)
    """What a tool said of an option's targets, by its traits: met, at risk, missed."""
    decided: frozenset[str] = frozenset()
    """Traits of the option that was decided: what is said without naming an option is of that one."""
    alone: set[frozenset[str]] = field(default_factory=set)
    """Traits of what a tool spoke of alone: its numbers need no trait beside them."""
    chosen: frozenset[str] = frozenset()
    """Traits of the option that the newest answer chose: what another is compared with where nothing else is named."""
    sources: list[str] = field(default_factory=list)
    """Titles and addresses that tools cited."""
    literals: set[str] = field(default_factory=set)
    """Numbers as they stand in tools' texts and in what the person wrote: code may use them."""
    siblings: Siblings = field(default_factory=Siblings)
    """Which numbers are of the same kind, and by what they differ."""
    tools: set[str] = field(default_factory=set)
    """Those that were called."""
    said_before: tuple[Said, ...] = ()
    """Numbers of the reply before that stood."""
    implied: tuple[int, tuple[Fact, ...]] | None = None  # what follows from so many facts (`identities`)
    of_value: tuple[int, dict[tuple[object, ...], tuple[Fact, ...]]] | None = None
    """The facts of so many that have a value, by the value and its unit (`support`)."""
    _about: frozenset[str] = frozenset()
    """Traits of the option that the tool's text which is being read is about."""
    heard: str = ""
    """All that tools and the person said, without marks, case and spaces: a reply may quote from it."""

    def was_said(self, words: str) -> bool:
        """Whether the person or a tool said these very words."""
        flat = squeezed(words)
        return len(flat) >= 6 and flat in self.heard

    def names_it(self, text: str, number: Said) -> bool:
        """Whether a tool said this bare number right after the same word: "llmcompressor 0.14"."""
        before = re.search(r"([A-Za-z][\w-]{5,})\s+$", text[: number.start])
        return number.unit == "count" and before is not None and squeezed(before[1] + number.words) in self.heard

    def add_evidence(self, records: Sequence[Evidence], option: str = "") -> None:
        """Records of a tool's reply: value, ends of the interval, level, n. `option` is what they are of, where there are several."""
        ends_known = {
            (f"{end:.3g}", r.unit) for r in records if r.interval for end in (r.interval.low, r.interval.high)
        }
        here = names_of_runs(records)
        for one in records:
            if ".said-" in one.id and (f"{one.value:.3g}", one.unit) in ends_known:
                continue  # the end of another's interval, as it was said
            words = content_words(f"{one.metric} {one.id}") | _synonyms(one.metric)
            about = " ".join([one.metric, one.id, one.source, *map(str, one.conditions.values())])
            names, benches = models_in(about) or here.get(run_of(one), frozenset()), benchmarks_in(about)
            values = [(one.value, one.unit)]
            if one.interval is not None:
                values += [
                    (one.interval.low, one.unit),
                    (one.interval.high, one.unit),
                    (one.interval.level, "level"),
                    (1 - one.interval.level, "outside"),
                    ((1 - one.interval.level) / 2, "tail"),
                ]
            if one.n is not None:
                values.append((float(one.n), "n"))
                if one.unit == "fraction" and 0 < one.value < 1:
                    values += [(round(one.value * one.n), "count"), (round((1 - one.value) * one.n), "missed")]
            subject = of_metric(one.metric, option or re.sub(r"[._]", " ", one.id))
            ends = {one.interval.low, one.interval.high} - {one.value} if one.interval is not None else set()
            labels = label_words(" ".join([re.sub(r"[._-]", " ", one.id), one.id, *map(str, one.conditions.values())]))
            labels -= content_words(one.metric)
            self.siblings.add(one.metric, labels)
            self.facts += [
                Fact(
                    v,
                    u,
                    words,
                    names,
                    benches,
                    source=one.id,
                    subject=subject,
                    end=v in ends,
                    seen=one.kind in ("measured", "cited"),
                    ran=one.kind == "measured",
                    group=one.metric,
                    labels=labels,
                    conditions=of_unit(u) | of_record(one.conditions),
                )
                for v, u in values
            ]
            self.sources.append(one.source)
            self.names |= models_in(one.source)
            self._count_devices(one.source)
            self._add_numbers(one.source, " ".join([one.metric, *map(str, one.conditions.values())]), "tool", 1)

    def add_reply(self, reply: Reply[Any]) -> None:
        """A tool's whole reply."""
        self.add_told(reply.text, reply.evidence, getattr(reply.data, "references", ()))

    def add_told(self, text: str, records: Sequence[Evidence], references: Iterable[Reference] = ()) -> None:
        """What a tool told, in words and in records: of the option that it decided, or that its first line names."""
        decided = _DECIDED.search(text)
        first = re.match(r"\*\*(.+?)\*\*", text)  # "**llama-3.1-70b on 8 x H100, bf16, tp8, 32 clients**"
        option = (decided[1] or "") if decided else first[1] if first else ""
        if decided and decided[1]:
            self.decided = traits_of(option)
        if decided and (traits := traits_of(decided[1] or decided[2])):
            self.chosen = traits
        start = len(self.facts)
        before = start if not decided and option else None
        if before is not None:
            self.alone.add(traits_of(option))
        self.add_evidence(records, option)
        self.add_tool_text(text, references, traits_of(option))
        if all(one.kind == "cited" for one in records):  # the page says its published numbers again
            published = {f"{one.value:.3g}" for one in records}
            self.facts[start:] = [replace(f, seen=f.seen or f"{f.value:.3g}" in published) for f in self.facts[start:]]
        if before is not None and (held := conditions_in(option)):
            self.facts[before:] = [replace(fact, conditions=fact.conditions | held) for fact in self.facts[before:]]

    def add_tool_text(
        self, text: str, references: Iterable[Reference] = (), option: frozenset[str] = frozenset()
    ) -> None:
        """What a tool said for reading: its sentences may be repeated, its numbers used where they are about the same.

        `option`: the traits of the one that the text is about, which its numbers are of where it names no other.
        """
        self._about = option
        text = _MARK.sub("", text)
        self.names |= models_in(plain(text))
        self.heard += "\n" + squeezed(plain(text))
        table = Table()
        for unit in units(text):
            self.statements.add(squeezed(unit.plain))
            if re.match(r"\[\^\d+\]:", unit.plain):
                continue  # a footnote: it repeats a record
            if unit.kind == "row":
                self._add_row(unit, table)
            elif unit.kind == "sentence":
                self._add_numbers(unit.plain, unit.context, "tool", 1 if _KEYED.match(unit.plain) else 2)
            else:
                self.facts += _settings(unit.plain)
        self.literals |= set(_LITERAL.findall(text))
        self.sources += [f"{r.title} {r.address}" for r in references]

    def add_person(self, text: str) -> None:
        """What the person wrote."""
        simple = plain(text)
        self.heard += "\n" + squeezed(simple)
        self._count_devices(simple)
        self.names |= models_in(simple)
        self.main |= models_in(simple)
        for unit in units(text):
            self._add_numbers(unit.plain, unit.context, "person", 0)
        self.literals |= set(_LITERAL.findall(text))

    def _count_devices(self, text: str) -> None:
        for match in _DEVICES_COUNTED.finditer(text):
            if models_in(match[2]) or re.match(
                r"(?:gpu|device|card|accelerator|[ahbltv]\d{1,3}\w*)s?\b", match[2], re.IGNORECASE
            ):
                self.device_counts.add(int(match[1]) if match[1].isdigit() else 1)

    def _add_row(self, unit: Unit, table: Table) -> None:
        for cell in table.cells(unit):
            named = re.search(r"\boption (\d+)$", cell.name)
            if named:
                self.options[f"option{named[1]}"] = traits_of(cell.name)
                self.layouts |= devices_of(cell.name)
            if cell.text.strip() in ("met", "at risk", "missed") and (traits := traits_of(cell.name)):
                own = frozenset({f"option{named[1]}"}) if named else frozenset()
                self.verdicts[traits | own] = cell.text.strip()
            self.siblings.add(cell.group, cell.labels)
            before = len(self.facts)
            self._add_numbers(cell.text, cell.context, "tool", 1, unit.plain)
            self.facts[before:] = [
                replace(
                    f,
                    group=cell.group,
                    labels=cell.labels,
                    subject=_of_option(f.subject, cell.name),
                    conditions=f.conditions | cell.conditions,
                )
                for f in self.facts[before:]
            ]

    def _add_numbers(self, sentence: str, context: str, kind: str, needed: int, row: str = "") -> None:
        """`row`: all of a table's row, whose other cells say which benchmark and which unit."""
        around = f"{context} {sentence}"
        words, names, benches = (
            content_words(f"{around} {'percent' if 'percent' in row else ''}"),
            models_in(around),
            benchmarks_in(f"{around} {row}"),
        )
        asked = {(fact.value, fact.unit) for fact in self.facts if fact.kind == "person"}
        for number in numbers_of(without_names(sentence)):
            part = number.ratio and number.spelled and number.high < 1
            if number.ratio and not part and not re.search(r"fast|slow|speed|times|more|less|cheap", sentence):
                continue  # "2x tp4" counts replicas
            if kind == "tool" and re.search(r"[A-Za-z]-$", sentence[: number.start]):
                continue  # a part of a name: "wanda-50%"
            condition = _CONDITION.match(sentence) is not None and number.start < (
                sentence.find(",") if "," in sentence else len(sentence)
            )
            for value in {number.low, number.high}:
                # A bound that a tool repeats is still the person's wish, not a result.
                of = (
                    "person"
                    if (value, number.unit) in asked or condition or _BOUNDING.search(sentence[: number.start])
                    else kind
                )
                subject = by_unit(number, subject_of(sentence, number.start, number.start + len(number.words), context))
                if of == "tool" and not subject.traits and number.unit != "count":
                    subject = replace(subject, traits=self._about)
                self.facts += [
                    Fact(
                        value,
                        unit,
                        words,
                        names,
                        benches,
                        needed,
                        of,
                        sentence[:120],
                        subject,
                        noun_after(sentence, number),
                        of == "tool"
                        and (
                            number.low != number.high
                            or any(m.start() <= number.start < m.end() for m in _INTERVAL.finditer(sentence))
                        ),
                        of == "tool" and re.search(r"\bmeasured\b", sentence) is not None,
                        asked=kind == "person",
                        conditions=_conditions_beside(sentence, number) if kind == "tool" else frozenset(),
                    )
                    for unit in (("fraction", "times") if part else ("times" if number.ratio else number.unit,))
                ]


def _conditions_beside(sentence: str, number: Said) -> frozenset[Condition]:
    """Those of its part of the sentence: up to the next comma or semicolon."""
    start = max(sentence.rfind(mark, 0, number.start) for mark in (", ", "; ")) + 1
    end = re.search(r"[,;]\s", sentence[number.start + len(number.words) :])
    part = sentence[max(0, start) : number.start + len(number.words) + end.start() if end else len(sentence)]
    return conditions_in(part.replace(number.words, " ", 1))


_MARK = re.compile(r"(?<=[^\n])\[\^\d+\]")
"""A footnote's mark: its number is none of what is said."""
_LAYOUT = re.compile(r"^\s*(\d+)x((?: ?(?:tp|pp|ep|dp)\d+)*)")


def devices_of(option: str) -> frozenset[int]:
    """How many devices "2x tp2 pp2 bf16 …" takes: eight."""
    match = _LAYOUT.match(option)
    return frozenset({math.prod(map(int, re.findall(r"\d+", match[0])))}) if match else frozenset()


def _of_option(subject: Subject, name: str) -> Subject:
    return replace(subject, traits=traits_of(name) or subject.traits) if name else subject


_INTERVAL = re.compile(r"(?<=\d)[^()\d]{0,24}\([^()\d]{0,3}\d[^()]{0,24}?(?:\bto\b|[–-])\s*\$?\d[^()]{0,16}\)")
""" "4.08 USD (3.71 USD to 4.49 USD)": the ends stand in brackets."""
_DEVICES_COUNTED = re.compile(
    r"\b(\d+|one|a single)\s*(?:x|×)?\s*(?=[A-Za-z])(?![\w-]+[ -]hours?\b)([\w-]+(?:[ -]\w+)?)", re.IGNORECASE
)
_DECIDED = re.compile(r"^\*\*Decision: (.+?)\.\*\*|^## Decision\s+\*\*(.+?)\*\*", re.MULTILINE)
_BOUNDING = re.compile(
    r"\b(?:bounds?|targets?|limit|asked|at most|no more than)\b(?:\s+(?:of|is|was|:|=))?\s*$|(?:≤|<=)\s*$",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"\d+(?:\.\d+){2,}\w*|\d+(?:\.\d+)?(?:e-?\d+)?")
_KEYED = re.compile(r"\s*(?:[-*+]\s*)?[^:.|]{2,40}:\s")
""" "gradient clipping: 1": a name and its value."""
_SETTING = re.compile(
    r"^[ \t-]*[\"']?(?P<key>[A-Za-z][\w.-]*)[\"']?\s*[:=]\s*(?P<value>-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*(?:[,#].*)?$",
    re.MULTILINE,
)


def _settings(code: str) -> list[Fact]:
    """The settings of a file that a tool wrote: `max_steps: 191` is 191 steps."""
    return [
        Fact(
            float(m["value"]),
            "count",
            content_words(re.sub(r"[_.-]", " ", m["key"])),
            frozenset(),
            frozenset(),
            1,
            "tool",
            m[0].strip(),
        )
        for m in _SETTING.finditer(code)
    ]


_CONDITION = re.compile(r"\s*(?:[-*+]\s*)?(?:if|unless|once|as soon as)\b", re.IGNORECASE)
"""What a tool sets as a condition is no result."""


def noun_after(sentence: str, number: Said) -> str:
    """The word that follows a number."""
    own = None if number.spelled else re.search(r"([A-Za-z]{3,})\s*$", number.words)
    after = re.match(r"[\s-]*([A-Za-z]+)", sentence[number.start + len(number.words) :])
    return stem((own[1] if own else after[1] if after else "").lower())


def _synonyms(metric: str) -> frozenset[str]:
    found: set[str] = set()
    for part, words in _SAME.items():
        if part in metric.lower():
            found |= words
    return frozenset(map(stem, found))


def said_again(unit: str, ground: Ground) -> bool:
    """Whether a tool said this very sentence."""
    flat = squeezed(unit)
    return len(flat) >= 12 and flat in ground.statements
