"""Topics that can be explained: what a technique is, its trade-offs, published numbers, implementations and known failures.

Reads `topics/*.toml` beside it, and `topic_groups.toml`; `topic_lookup` finds a topic by a person's words. A number stands in a
table of its own with its source and is named `{key}` in the sentences, which hold no digits but in names in backticks. One
topic is read without parsing the others: a whole library takes longer to parse than a page may take to appear.
"""

import functools
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from aether.knowledge.addresses import has_address
from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import table
from aether.spec.base import Noun
from aether.spec.report import bare_numbers

TAG = re.compile(r"`(?P<name>[^`]+)`|\{(?P<key>[a-z0-9-]+)\}")
"""What a sentence holds besides words: a name in backticks, or the key of a number in braces."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Day = Annotated[date, Field(ge=date(1950, 1, 1))]
Said = Literal["cited", "assumed"]


class Group(Sourced):
    """Topics that belong together, and for how many days their facts are trusted."""

    title: str
    checked_days: int = Field(gt=0)
    """After a source was read or a release was looked up."""
    numbers_days: int = Field(gt=0)
    """After the date of a published number."""


class TradeOff(Noun):
    """One option against the others, in words; a cell may name a number."""

    option: str
    accuracy: str
    speed: str
    memory: str
    training_cost: str
    complexity: str


class Number(Noun):
    """A published number: what it says, and where in which source it stands."""

    key: Name
    claim: str
    value: float
    unit: str
    where: str = Field(min_length=3)
    source: str
    as_of: Day
    kind: Said


class Implementation(Noun):
    """Maintained software that does it: the release that was there on the day it was looked up."""

    name: str
    package: str = ""
    """As the package index spells it; empty for what is not published there."""
    version: str
    checked: Day
    address: str
    note: str = ""


class KnownFailure(Noun):
    """How it goes wrong."""

    symptom: str
    cause: str
    mend: str
    source: str


class TopicSource(Noun):
    """What a topic rests on. Cited: it was really read, on the day `read`."""

    key: Name
    title: str
    address: str
    read: Day | None = None
    as_of: Day
    kind: Said

    @model_validator(mode="after")
    def _cited_can_be_opened(self) -> "TopicSource":
        if self.kind == "cited" and not (self.read and has_address(self.address)):
            raise ValueError(
                f"source {self.key}: cited, so it needs the day on which it was read and an address to open"
            )
        return self


class Topic(Noun):
    """A page of `aether explain` as data."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Name
    title: str
    aliases: tuple[str, ...] = ()
    group: str
    what: str = Field(min_length=40)
    why: str = Field(min_length=20)
    use_when: tuple[str, ...] = Field(min_length=1)
    avoid_when: tuple[str, ...] = Field(min_length=1)
    related: tuple[str, ...] = ()
    fast_moving: bool = False
    measure: str = ""
    """How to get a number where none was read."""
    command: str = Field(default="", alias="try")
    trade_off: tuple[TradeOff, ...] = Field(min_length=1)
    number: tuple[Number, ...] = ()
    implementation: tuple[Implementation, ...] = ()
    failure: tuple[KnownFailure, ...] = ()
    source: tuple[TopicSource, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> "Topic":
        problems = [*_twice("number", [n.key for n in self.number]), *_twice("source", [s.key for s in self.source])]
        kinds = {source.key: source.kind for source in self.source}
        for what, key in [*(("number", n.source) for n in self.number), *(("failure", f.source) for f in self.failure)]:
            if key not in kinds:
                problems.append(f"a {what} names the source {key!r}, which is not there")
        problems += [
            f"number {n.key} is cited from a source that is assumed"
            for n in self.number
            if n.kind == "cited" and kinds.get(n.source) == "assumed"
        ]
        problems += self._of_sentences()
        if problems:
            raise ValueError(f"topic {self.name}: {'; '.join(problems)}")
        return self

    def _of_sentences(self) -> Iterator[str]:
        known = {number.key for number in self.number}
        for sentence in self.sentences():
            keys = {match["key"] for match in TAG.finditer(sentence) if match["key"]}
            if lost := keys - known:
                yield f"{', '.join(sorted(lost))} is no number of the topic, in {sentence!r}"
            rest = TAG.sub(" ", sentence)
            if found := bare_numbers(rest):
                yield f"{', '.join(found)} is a number or name without braces or backticks, in {sentence!r}"
            if any(mark in rest for mark in "`{}"):
                yield f"a brace or a backtick that closes nothing, in {sentence!r}"

    def sentences(self) -> Iterator[str]:
        """Every text that may hold names and numbers."""
        yield from (self.what, self.why, *self.use_when, *self.avoid_when, self.measure)
        for option in self.trade_off:
            yield from option.model_dump().values()
        for number in self.number:
            yield number.claim
        for one in self.implementation:
            yield one.note
        for failure in self.failure:
            yield from (failure.symptom, failure.cause, failure.mend)


def _twice(what: str, keys: Iterable[str]) -> list[str]:
    return [f"two {what}s are called {key!r}" for key, count in Counter(keys).items() if count > 1]


class Head(Noun):
    """What a topic is found and listed by."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    group: str

    def spellings(self) -> tuple[str, ...]:
        """Every way to call it."""
        return (self.name, self.title, *self.aliases)


_START = re.compile(r"^\[\[topic\]\][ \t]*$", re.MULTILINE)
_PART = re.compile(r"^\[\[topic\.", re.MULTILINE)
_HEAD_LINES = re.compile(r"^(?:name|title|aliases|group)[ \t]*=.*$", re.MULTILINE)


@functools.cache
def _chunks() -> dict[str, tuple[Head, str]]:
    """Topic -> what it is found by, and its lines, unparsed."""
    found: dict[str, tuple[Head, str]] = {}
    folder = files("aether.knowledge").joinpath("topics")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".toml"):
            continue
        for lines in _START.split(file.read_text(encoding="utf-8"))[1:]:
            top = _PART.split(lines, maxsplit=1)[0]
            head = Head.model_validate(tomllib.loads("\n".join(_HEAD_LINES.findall(top))))
            assert head.name not in found, f"two topics are called {head.name}"
            found[head.name] = (head, f"[[topic]]\n{lines}")
    return found


def heads() -> dict[str, Head]:
    """Topic -> what it is found by; nothing else of it is parsed."""
    return {name: head for name, (head, _) in _chunks().items()}


@functools.cache
def topic(name: str) -> Topic:
    """The topic of exactly this name. Raises KeyError for another, ValueError for one that does not hold together."""
    (row,) = tomllib.loads(_chunks()[name][1])["topic"]
    return Topic.model_validate(row)


@functools.cache
def groups() -> dict[str, Group]:
    """Name -> group, in the order in which they are listed; "fast-moving" is a shelf life, not a group of topics."""
    return {row["name"]: Group.model_validate(row) for row in table("topic_groups.toml")["group"]}


def shelf_life(about: Topic) -> tuple[int, int]:
    """(days after a check, days after a number's date) for which facts of this topic are trusted."""
    rows = [groups()[about.group], *([groups()["fast-moving"]] if about.fast_moving else [])]
    return min(row.checked_days for row in rows), min(row.numbers_days for row in rows)


def problems() -> list[str]:
    """What is wrong between topics: unknown groups and relations, one spelling for two topics. Parses every one."""
    found: list[str] = []
    owners: dict[str, str] = {}
    for name, head in heads().items():
        if head.group not in groups() or head.group == "fast-moving":
            found.append(f"{name}: there is no group {head.group!r}")
        found += [f"{name}: no topic {other!r} to relate to" for other in topic(name).related if other not in heads()]
        if name in topic(name).related:
            found.append(f"{name}: related to itself")
        for spelling in head.spellings():
            owner = owners.setdefault(spoken(spelling), name)
            if owner != name:
                found.append(f"{owner} and {name} are both called {spelling!r}")
    return found


def spoken(words: str) -> str:
    """A spelling without case, spaces and punctuation: "Flash Attention-2" and "flashattention2" are one."""
    return "".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", words).casefold()))


def raw_rows() -> list[dict[str, Any]]:
    """Every topic as its file has it, for checks of the reading itself."""
    folder = files("aether.knowledge").joinpath("topics")
    named = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return [row for file in named for row in tomllib.loads(file.read_text(encoding="utf-8"))["topic"]]
