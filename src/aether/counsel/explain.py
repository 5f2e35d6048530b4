"""Explains one topic: a `Page` from the rows of `knowledge`, each number with its source, old facts marked as of a given day.

Composes only: every sentence and number stands in the data, and the report's guard holds for the page as for any other.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from aether.knowledge.topic_lookup import find
from aether.knowledge.topics import TAG, Number, Topic, groups, heads, shelf_life, topic
from aether.spec.answer import Page, Reference
from aether.spec.evidence import Evidence
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
    Verbatim,
    Words,
    text_of,
)
from aether.spec.report import heads as columns

_UNMEASURED = (
    "No published number was read for this topic. Measure it on your own model: the same recipe with and without, "
    "several seeds each, and compare the runs with their intervals (`aether compare`)."
)


_UNTRIED = "No command of Aether tries this alone: an implementation or a measurement of your own is the way to try it."


def _try(about: Topic) -> Block:
    return Code(language="console", text=about.command) if about.command else Paragraph(text=text_of(_UNTRIED))


def explain(words: str, today: date) -> Page:
    """The page of the topic that `words` name, with what is old on `today`. Raises InputError for an unknown topic."""
    return page_of(topic(find(words)), today)


def page_of(about: Topic, today: date) -> Page:
    """A topic's page, with what is old on `today`."""
    stale = tuple(_stale(about, today))
    sections = (
        _section("what", "What it is", _paragraph(about, about.what), _paragraph(about, about.why)),
        _section("when", "When to use it", _list(about, about.use_when)),
        _section("when-not", "When not", _list(about, about.avoid_when)),
        _section("trade-offs", "Trade-offs", _trade_offs(about)),
        _section("numbers", "Published numbers", *_numbers(about)),
        _section("implementations", "Implementations", *_implementations(about)),
        _section("failures", "Known failures", *_failures(about)),
        _section("try", "Try it", _try(about)),
        _section("check-again", "Check again", *_check_again(stale)),
        _section("related", "Related", *_related(about)),
        _section("sources", "Sources", _sources(about)),
    )
    return Page(
        report=Report(
            title=(_name(about.title),),
            subtitle=text_of("Topic ", _name(about.name), f" of {groups()[about.group].title.lower()}."),
            sections=tuple(section for section in sections if section.blocks),
        ),
        evidence=tuple(number_evidence(about, number) for number in about.number),
        references=tuple(Reference(title=s.title, address=s.address, as_of=s.as_of.isoformat()) for s in about.source),
        stale=tuple("".join(_plain(piece) for piece in text) for text in stale),
    )


def listing() -> dict[str, list[str]]:
    """Group title -> names of its topics, in the order of the groups."""
    found: dict[str, list[str]] = {}
    for name, group in groups().items():
        if members := sorted(head.name for head in heads().values() if head.group == name):
            found[group.title] = members
    return found


def _section(key: str, title: str, *blocks: Block) -> Section:
    return Section(key=key, title=title, blocks=blocks)


def _name(text: str) -> Verbatim:
    return Verbatim(role="name", text=text)


def _day(day: date) -> Verbatim:
    return Verbatim(role="date", text=day.isoformat())


def cited_text(about: Topic, sentence: str) -> Text:
    """A sentence as pieces: backticks become names, `{key}` the number's value with its source."""
    pieces: list[Piece] = []
    at = 0
    for match in TAG.finditer(sentence):
        if match.start() > at:
            pieces.append(Words(text=sentence[at : match.start()]))
        pieces.append(_name(match["name"]) if match["name"] else Cite(id=f"{about.name}.{match['key']}"))
        at = match.end()
    return (*pieces, Words(text=sentence[at:])) if at < len(sentence) else tuple(pieces)


def _paragraph(about: Topic, sentence: str) -> Paragraph:
    return Paragraph(text=cited_text(about, sentence))


def _list(about: Topic, sentences: Iterable[str]) -> Items:
    return Items(items=tuple(cited_text(about, sentence) for sentence in sentences))


def _trade_offs(about: Topic) -> Table:
    fields = ("option", "accuracy", "speed", "memory", "training_cost", "complexity")
    return Table(
        columns=columns(*(field.replace("_", " ") for field in fields)),
        rows=tuple(tuple(cited_text(about, getattr(row, field)) for field in fields) for row in about.trade_off),
    )


def number_evidence(about: Topic, number: Number) -> Evidence:
    """A number of a topic with its source; `cited_text` cites it."""
    source = next(s for s in about.source if s.key == number.source)
    return Evidence(
        id=f"{about.name}.{number.key}",
        metric=number.key,
        value=number.value,
        unit=number.unit,
        kind=number.kind,
        source=f"{number.where}, {source.title}, {source.address}, as of {number.as_of.isoformat()}",
    )


def _numbers(about: Topic) -> list[Block]:
    if not about.number:
        how = about.measure or _UNMEASURED
        return [_paragraph(about, how)]
    titles = {source.key: source.title for source in about.source}
    rows = tuple(
        (
            cited_text(about, number.claim),
            (Cite(id=f"{about.name}.{number.key}"),),
            text_of(_name(f"{titles[number.source]}, {number.where}")),
            (_day(number.as_of),),
            (Words(text=number.kind),),
        )
        for number in about.number
    )
    table = Table(columns=columns("what", "value", "where", "as of", "kind"), rows=rows, numeric=(1,))
    return [table, *([_paragraph(about, about.measure)] if about.measure else [])]


def _implementations(about: Topic) -> list[Block]:
    if not about.implementation:
        return []
    rows = tuple(
        (
            (_name(one.name),),
            (Verbatim(role="version", text=one.version),),
            (_day(one.checked),),
            (_name(one.address),),
            cited_text(about, one.note),
        )
        for one in about.implementation
    )
    return [Table(columns=columns("name", "version", "checked", "address", "note"), rows=rows)]


def _failures(about: Topic) -> list[Block]:
    if not about.failure:
        return []
    titles = {source.key: source.title for source in about.source}
    rows = tuple(
        (
            cited_text(about, one.symptom),
            cited_text(about, one.cause),
            cited_text(about, one.mend),
            (_name(titles[one.source]),),
        )
        for one in about.failure
    )
    return [Table(columns=columns("symptom", "cause", "mend", "source"), rows=rows)]


def _related(about: Topic) -> list[Block]:
    found = [text_of(_name(name), ": ", _name(heads()[name].title)) for name in about.related if name in heads()]
    return [Items(items=tuple(found))] if found else []


def _sources(about: Topic) -> Items:
    return Items(
        items=tuple(
            text_of(
                _name(source.title),
                ", ",
                _name(source.address),
                ", as of ",
                _day(source.as_of),
                *([", read ", _day(source.read)] if source.read else [", not read: from memory"]),
                f" ({source.kind})",
            )
            for source in about.source
        )
    )


def _stale(about: Topic, today: date) -> list[Text]:
    """What is old on `today`, as sentences that name what to look up or measure again."""
    checked_before, numbers_before = (today - timedelta(days=days) for days in shelf_life(about))
    found = [
        text_of(
            _name(one.name), " ", Verbatim(role="version", text=one.version), " was looked up on ", _day(one.checked)
        )
        + text_of(": look for a newer release, and read its notes for what this page says of it.")
        for one in about.implementation
        if one.checked < checked_before
    ]
    found += [
        text_of(
            _name(source.title), " was read on ", _day(source.read), ": read it again, and what has replaced it since."
        )
        for source in about.source
        if source.read is not None and source.read < checked_before
    ]
    found += [
        text_of(
            *cited_text(about, number.claim),
            " (",
            Cite(id=f"{about.name}.{number.key}"),
            ") is of ",
            _day(number.as_of),
        )
        + text_of(": measure it again with the software and hardware of today before a decision rests on it.")
        for number in about.number
        if number.as_of < numbers_before
    ]
    return found


def _check_again(stale: tuple[Text, ...]) -> list[Block]:
    if not stale:
        return []
    warning = Paragraph(text=text_of("Facts on this page that are older than they are trusted for:"), tone="warning")
    return [warning, Items(items=stale)]


def _plain(piece: Piece) -> str:
    """A piece of a sentence about age; a cited number is left to the page, which shows it with its source."""
    assert isinstance(piece, Words | Verbatim | Cite)
    return piece.id if isinstance(piece, Cite) else piece.text
