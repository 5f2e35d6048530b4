"""What no field took: numbers with their units, names that look like models or hardware, wishes without a field. Said, never dropped."""

import re

from aether.counsel.reading.constraints import constraints
from aether.counsel.reading.findings import Findings
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.text import Span
from aether.knowledge.training_symptoms import clues

_WORD = Lazy(r"[\w.%$€/-]*")
_DEVICE_LIKE = Lazy(r"(?<![\w.-])(?:[A-Z]{1,3}\d{2,4}[A-Z]{0,2}|RTX\s?\d{4}|GTX\s?\d{4}|TPU\s?v?\d\w?)(?![\w.])")
_SMALL = Lazy(r"^(?:one|two|half|a|an|couple|pair)\b|^[01]$")


def unread(found: Findings) -> list[str]:
    """The person's own words for each."""
    text, said = found.text, []
    clued = _clues(found)
    for span in found.models.unknown:
        said.append((span.start, text.words(span)))
    for quantity in found.rest:
        words = text.words(quantity.span).strip()
        if not text.is_free(quantity.span) or (quantity.dimension == "none" and _SMALL.match(words.lower())):
            continue
        if _in_method(found, quantity.span) or any(quantity.span.overlaps(clue) for clue in clued):
            continue
        said.append((quantity.span.start, _with_neighbour(found, quantity)))
    for match in _DEVICE_LIKE.finditer(text.original):
        start = next((i for i, place in enumerate(text.origin) if place >= match.start()), None)
        if start is not None and text.is_free(Span(start, start + 1)) and not _in_method(found, Span(start, start + 1)):
            said.append((start, match[0]))
    wishes = constraints(text)
    said = [one for one in said if not any(at <= one[0] < at + len(words) for at, words in wishes)]
    return [words for _, words in sorted([*said, *wishes]) if words]


def _clues(found: Findings) -> list[Span]:
    """Of a training that goes wrong: what the causes are weighed by, as its learning rate."""
    if found.wanted.intent != "diagnose":
        return []
    return [Span(*match.span()) for clue in clues() for match in clue.said.finditer(found.text.plain)]


def _in_method(found: Findings, span: Span) -> bool:
    """Whether it is a part of a technique's own name ("int4"), and not only stands among the words that told of it."""
    plain = found.text.plain
    return any(
        span.overlaps(named.span)
        and any(re.search(r"\d", words) for words in (*named.method.spellings, *named.method.short))
        and re.sub(r"[\s_-]+", " ", plain[named.span.start : named.span.end])
        in {re.sub(r"[\s_-]+", " ", words) for words in (*named.method.spellings, *named.method.short)}
        for named in found.methods
    )


def _with_neighbour(found: Findings, quantity: Quantity) -> str:
    """The quantity, and where it has no unit the word beside it that says what it counts."""
    text, span = found.text, quantity.span
    if quantity.dimension in ("none", "parameters"):
        tail = re.match(
            r"[\s-]*(?!(?:and|with|or|to|in|for|on|at|of|the|then|from|so|that|is|by|per|as|but|if|we|i)\b)[A-Za-z%][\w/-]*",
            text.plain[span.end :],
        )
        if tail and text.is_free(Span(span.end, span.end + tail.end())) and "\n" not in tail[0]:
            return text.words(Span(span.start, span.end + tail.end())).strip()
        if head := re.search(r"[A-Za-z][\w-]*\s*$", text.plain[: span.start]):
            return text.words(Span(head.start(), span.end)).strip()
    return text.words(span).strip()
