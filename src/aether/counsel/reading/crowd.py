"""Amounts that are said of one of many: users with a rate each ("50 agents, each asking 6 times a minute"), examples with a length each
("60,000 pairs of 700 tokens"). The product is the field, and the reading says of what.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aether.counsel.reading.groups import PRODUCT, WHO, products
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import EACH, REQUEST, Quantity, lasts
from aether.counsel.reading.text import Span, Text
from aether.counsel.reading.traffic import TRAINING_TOKENS, Field
from aether.spec.units import humanize

_MANY = Lazy(rf"\s*(?:[a-z][a-z-]*\s+){{0,2}}?{WHO}\b")
_OF_THEM = Lazy(r"\s*(?:of (?:them|us|those|these)\b|\))")
_NAMED_BEFORE = Lazy(
    rf"\b{WHO}\s*(?:\(|,|:|=|-)?\s*(?:about|around|roughly|approx\.?|ca\.?|some|~|there are|we have|all)*\s*$"
)
"""Before a number: "doctors (about 120 of them)"."""
_GROUP_OF = Lazy(
    r"\b(?:teams?|groups?|staff|compan(?:y|ies)|firms?|offices?|departments?|class|crowd|crew)\s+of\s+(?:about|around|roughly|some|~)?\s*$"
)
"""Before a number: "a team of 15"."""
_THEN = Lazy(
    r"[\s,.;:(-]*(?:(?:and|sending|sends?|at|with|producing|making|which|that|are|is|send|make|do|ask|asking|firing|fires?|gives?|giving)\s+)*(?:around|about|roughly|some|up to|an?)?\s*"
)
"""From a number of devices in places to the rate of one."""
_TIMES = Lazy(rf"\s*(?:times|x){EACH.pattern}")
_PER_ONE = Lazy(
    rf"\s*(?:[a-z]+\s+){{0,2}}?[a-z]+\s*(?:/|\b(?:per|for each|each|a)\b)\s*{WHO}\s*,?\s*(?:{EACH.pattern})"
)
"""After a number: "2 requests per user per minute"."""
_ONCE = Lazy(rf"\b(?P<times>once|twice)(?:{EACH.pattern})")
_OF_EACH = Lazy(
    rf"[\s,]*(?:each(?! with)|apiece|every one|(?:per|by|from each|for each|for every|/)\s*{WHO})\b|\s*/\s*{WHO}\b"
)
_AT_ONCE = r"(?:\s+(?:(?:in|at) (?:the )?same time|at once|concurrently|simultaneously|in parallel))?"
_BETWEEN = Lazy(
    rf"{_AT_ONCE}[\s,.(]*(?:who |that |of whom |and |where |with )*(?:each|every one(?: of them)?)\b[^;\n\d]{{0,40}}|\s*[x*]\s*"
)
"""From the many to the rate of one."""
_EACH_OF_THEM = Lazy(
    rf"{_AT_ONCE}[\s,.(]*(?:who |that |of whom |and |where )*(?:each|every one(?: of them)?)\b[^;\n]{{0,60}}"
)
"""The same before a rate that can only be of one."""
_PLAIN = Lazy(r"[^;\n\d.]{0,45}")
_OUT_OF = Lazy(r"\b(?:each of|per|from each of|every one of)\s+(?:our|the|my|these|those|about|some)?\s*$")
_FROM = Lazy(r"\s*(?:from|by|for|per|with|x|\*|times)\s+(?:each of\s+|every one of\s+)?(?:our|the|my|some|about)?\s*")


@dataclass(frozen=True)
class _Rate:
    """How often one asks. `sure`: the words are of one and need no "each"."""

    value: float
    span: Span
    sure: bool


def find_crowd(text: Text, found: list[Quantity]) -> tuple[list[Field], list[Quantity]]:
    """The rate of many who ask so often each, at most one; the quantities that are left."""
    for many in products(text, found):
        who = _who(text, many)
        if (
            many.dimension not in ("users", "none")
            or many.high <= 1
            or not (many.dimension == "users" or who is not None)
        ):
            continue
        span = Span(many.span.start, max(many.span.end, who or 0))
        for rate in _rates(text, [one for one in found if not one.span.overlaps(many.span)]):
            apart = many.note == PRODUCT and _THEN.fullmatch(text.plain, span.end, rate.span.start)
            if not rate.span.overlaps(span) and (apart or _belong(text, span, rate)):
                said = f"{many.high:,.6g} x {rate.value:.4g} = {many.high * rate.value:.6g} requests/s"
                field = Field("load.requests_per_s", many.high * rate.value, _around(span, rate.span), said)
                text.take(span)
                text.take(rate.span)
                return [field], [one for one in found if text.is_free(one.span)]
    return [], found


def _who(text: Text, many: Quantity) -> int | None:
    """Where the words end that say of whom a number is; None where they say nothing."""
    if who := _MANY.match(text.plain, many.span.end):
        return who.end()
    if _GROUP_OF.search(text.plain, 0, many.span.start):
        return many.span.end
    told = _OF_THEM.match(text.plain, many.span.end)
    return told.end() if told and _NAMED_BEFORE.search(text.plain, 0, many.span.start) else None


def _rates(text: Text, found: list[Quantity]) -> Iterator[_Rate]:
    for one in found:
        if one.dimension == "request rate":
            yield _Rate(one.high, one.span, False)
        elif (one.dimension == "none" and (match := _TIMES.match(text.plain, one.span.end))) or (
            match := _PER_ONE.match(text.plain, one.span.end)
        ):
            yield _Rate(one.high / lasts(match), Span(one.span.start, match.end()), True)
    for match in text.search(_ONCE):
        yield _Rate({"once": 1, "twice": 2}[match["times"]] / lasts(match), Span(*match.span()), True)
    for match in text.search(EACH):
        if match[0].lstrip().startswith("every"):
            yield _Rate(1 / lasts(match), Span(*match.span()), True)


def _belong(text: Text, many: Span, rate: _Rate) -> bool:
    """Whether a rate is that of each of the many, and not of all."""
    plain, first = text.plain, many.start < rate.span.start
    between = plain[many.end : rate.span.start] if first else plain[rate.span.end : many.start]
    if "\n" in between or len(between) > 60:
        return False
    if first and (_BETWEEN.fullmatch(between) or _OUT_OF.search(plain, 0, many.start)):
        return True
    if first and rate.sure and _EACH_OF_THEM.fullmatch(between):
        return True
    if _OF_EACH.match(plain, rate.span.end):
        return True
    if not first and re.search(r"\beach of\b|\bper\b|\bfrom each\b", between) and _FROM.fullmatch(between):
        return True
    return rate.sure and bool(_PLAIN.fullmatch(between))


def _around(one: Span, other: Span) -> Span:
    return Span(min(one.start, other.start), max(one.end, other.end))


_WORK = r"(?:sentences?|reviews?|articles?|pages?|reports?|invoices?|transcripts?|posts?|products?|files?|claims?|comments?|descriptions?|letters?|abstracts?|papers?|items?|paragraphs?|cases?)"
_BATCH = Lazy(
    rf"\s*(?:[a-z][a-z-]*\s+){{0,2}}?(?:{REQUEST}|{_WORK})\b(?P<rest>[^;\n.\d]{{0,40}}?)(?:\b(?:in|within|over|inside|every)\s+(?:the\s+|about\s+|under\s+|less than\s+)?|(?<=\s))$"
)


def find_batch(text: Text, found: list[Quantity]) -> tuple[list[Field], list[Quantity]]:
    """The rate of so many requests that are to be done in a time ("50k documents in 8 hours"); the quantities that are left."""
    if any(one.dimension == "request rate" for one in found):
        return [], found
    for many in found:
        for time in found:
            if many.dimension not in ("none", "users", "parameters") or time.dimension != "time" or time.high < 60.0:
                continue
            if many.span.end < time.span.start and _BATCH.fullmatch(text.plain, many.span.end, time.span.start):
                said = f"{many.high:,.6g} in {time.high:,.6g} s = {many.high / time.high:.6g} requests/s"
                span = _around(many.span, time.span)
                text.take(span)
                field = Field("load.requests_per_s", many.high / time.high, span, said)
                return [field], [one for one in found if one not in (many, time)]
    return [], found


_EXAMPLE = r"(?:examples?|samples?|pairs?|conversations?|dialog(?:ue)?s?|documents?|docs|tickets?|e?-?mails?|rows?|records?|instructions?|transcripts?|articles?|answers?|messages?|chats?|posts?|reports?|prompts?|comparisons?|preferences?|notes?|files|functions?|snippets?|items|lines|pages|questions?|(?:pull |merge )?requests|prs|reviews?|memos?|commits?|issues?|threads?|contracts?|invoices?|cases?|paragraphs?|stories|descriptions?|ex|exs)"
_EXAMPLES = Lazy(rf"\s*(?:(?!(?:and|or|of|with|for|in|at|on)\b)[a-z][a-z/-]*\s+){{0,3}}?{_EXAMPLE}\b")
_EACH_LONG = Lazy(
    rf"\s*(?:each|apiece|(?:long\s+)?on average|long|avg|in (?:the )?(?:mean|median)|per {_EXAMPLE}|an? {_EXAMPLE}|ex\b|/\s*{_EXAMPLE})\b"
)
_LENGTH = Lazy(
    r"\b(?:of|at|with|averag\w*|avg|mean|median|about|around|roughly|~|each|long|are|is|x)\s*[:=]?\s*(?:about|around|roughly|some|up to|~|on average|each|average|avg)?\s*~?\s*$|[*x~(]\s*$"
)
_SEQUENCE = Lazy(r"\b(?:context|ctx|sequence|seq\w*|window|max\w*|packed|length)\b[^,;.]{0,15}$")
_PASSES = Lazy(r"\s*(?:full\s+)?(?:epochs?|passes|eps?)\b")


def find_corpus(text: Text, found: list[Quantity]) -> tuple[list[Field], list[Quantity]]:
    """The tokens of so many examples of a length each, over so many passes; the quantities that are left."""
    if any(one.dimension == "tokens" and one.high >= TRAINING_TOKENS for one in found):
        return [], found
    counted = [one for one in found if one.dimension in ("none", "users", "parameters") and one.high >= 10]
    many = [(one, match) for one in counted if (match := _examples(text, one))]
    lengths = [one for one in found if one.dimension == "tokens" and not one.note and _is_length(text, one)]
    if len(many) != 1 or len(lengths) != 1:
        return [], found
    (examples, end), length = many[0], lengths[0]
    passes = next((one for one in found if one.dimension == "none" and _PASSES.match(text.plain, one.span.end)), None)
    times = passes.high if passes is not None else 1.0
    tokens = examples.high * length.high * times
    said = f"{examples.high:,.0f} x {length.high:,.0f} tokens" + (f" x {times:g} passes" if times != 1 else "")
    field = Field("model.tokens", tokens, length.span, f"{humanize(tokens, 'token')}: {said}")
    for one in (Span(examples.span.start, end), length.span, *((passes.span,) if passes else ())):
        text.take(one)
    return [field], [one for one in found if text.is_free(one.span)]


def _examples(text: Text, one: Quantity) -> int | None:
    if one.dimension == "users":
        return one.span.end if re.search(r"(?:conversations?|sessions?)$", text.plain[: one.span.end]) else None
    match = _EXAMPLES.match(text.plain, one.span.end)
    return match.end() if match else None


def _is_length(text: Text, one: Quantity) -> bool:
    left = text.plain[max(0, one.span.start - 30) : one.span.start]
    if _SEQUENCE.search(left) or re.match(r"\s*(?:context|ctx|window|sequence|max)", text.plain[one.span.end :]):
        return False
    return bool(_EACH_LONG.match(text.plain, one.span.end) or _LENGTH.search(left))
