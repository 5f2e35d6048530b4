"""Techniques that a text names, in the tables' own names; those that are not wanted apart."""

import functools
import re
from dataclasses import dataclass

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text, negated
from aether.knowledge.tables import table
from aether.spec.base import Noun


class Method(Noun):
    """A technique and its spellings. `format`: the number format that it stands for."""

    name: str
    family: str
    spellings: tuple[str, ...]
    format: str | None = None
    short: tuple[str, ...] = ()
    """Spellings that are plain words too: they count where one of `beside` stands in the text."""
    beside: tuple[str, ...] = ()
    first: str | None = None
    """A pattern that is looked for before all spellings, where one of `beside` stands: its words count for no other technique."""
    turn: str | None = None
    """A pattern for a paraphrase, which holds other words between its own."""


@dataclass(frozen=True)
class Named:
    """A method at its place. `wanted` is false for "without quantization"."""

    method: Method
    span: Span
    wanted: bool


@functools.cache
def methods() -> dict[str, Method]:
    """Name -> method."""
    rows = table("reading", "methods.toml")["method"]
    return {row["name"]: Method.model_validate(row) for row in rows}


@functools.cache
def _patterns() -> tuple[tuple[str, Method], ...]:
    pairs = [(words, method) for method in methods().values() for words in (*method.spellings, *method.short)]
    return tuple(sorted(pairs, key=lambda p: -len(p[0])))


_OFF = Lazy(r"\s*[:=]\s*(?:false|no|none|off|0)\b")
"""After a method in a list of settings: "lora: false"."""


def is_technique(word: str) -> bool:
    """Whether a word is a technique's own name, and so no model's."""
    return any(word == words for words, _ in _patterns())


def find_methods(text: Text) -> list[Named]:
    """Every method of a text, in order. Words of an intent ("quantize") are read and left free for it."""
    found = [
        Named(method, Span(*match.span()), not negated(text, match.start()))
        for method in methods().values()
        if method.first and any(words in text.plain for words in method.beside)
        for match in text.search(re.compile(method.first))
    ]
    spans = [named.span for named in found]
    for words, method in _patterns():
        if words in method.short and not any(re.search(rf"\b{other}\b", text.plain) for other in method.beside):
            continue
        for match in text.phrases(words):
            span = Span(*match.span())
            if text.is_free(span) and not any(span.overlaps(other) for other in spans):
                spans.append(span)
                found.append(
                    Named(method, span, not negated(text, span.start) and not _OFF.match(text.plain, span.end))
                )
    for method in methods().values():
        if (
            method.turn
            and not any(named.method == method for named in found)
            and (match := re.search(method.turn, text.plain))
        ):
            found.append(Named(method, Span(*match.span()), True))
    return sorted(found, key=lambda n: n.span.start)
