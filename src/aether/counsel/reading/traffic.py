"""The traffic and the training tokens of a text: requests per second, lengths of prompts and answers, tokens to learn from, prices."""

import re
from dataclasses import dataclass

from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.targets import near
from aether.counsel.reading.text import Span, Text

_IN = r"(?:in(?:put)?s?|prompts?|context|isl|prefill|contexts?)"
_OUT = r"(?:out(?:put)?s?|generat(?:ed|ion|e|ions)|completions?|answers?|responses?|replies|reply|osl|decode|new tokens|summary|summaries)"
_NO_NUMBER = r"(?!\s*(?:length|tokens?|size)?\s*(?:of|:|=|is|are)?\s*~?\d)"
"""A word with a number of its own after it says what that one is."""
_PAIR = re.compile(
    r"(?<![\w.,/])(\d[\d,]*(?:\.\d+)?k?)\s*(?:/|->|→|:)\s*(\d[\d,]*(?:\.\d+)?k?)(?:\s*(?:tokens?|toks?|in/out|isl/osl))"
)
_PREFIXED = re.compile(
    r"(?<![\w-])in(?:put)?\s*[:=]?\s*(\d[\d,]*(?:\.\d+)?k?)\s*(?:tokens?|toks?)?\s*[,;/]?\s*(?:and\s+)?out(?:put)?\s*[:=]?\s*(\d[\d,]*(?:\.\d+)?k?)(?![\w.])"
)
_SEQUENCE = re.compile(r"sequence|seq\s?len|context (?:length|window|of)|ctx|seq_len|packed to|max_length|block size")
TRAINING_TOKENS = 1e6
"""From here on, a number of tokens is a corpus and not a prompt (assumed)."""


@dataclass(frozen=True)
class Field:
    """A field of the brief with its value, and where it was read."""

    field: str
    value: float
    span: Span
    said: str
    """The value with its unit."""


def find_traffic(text: Text, found: list[Quantity], training: bool) -> tuple[list[Field], list[Quantity]]:
    """Fields of load, model and hardware; the quantities that are left."""
    fields = _pairs(text)
    rest: list[Quantity] = []
    for quantity in found:
        if not text.is_free(quantity.span):
            continue
        field = _field(text, quantity, training)
        if field is None:
            rest.append(quantity)
        else:
            fields.append(field)
            text.take(field.span)
    return fields, rest


def _pairs(text: Text) -> list[Field]:
    fields = []
    for match in [*text.search(_PAIR), *text.search(_PREFIXED)]:
        first, second = (_tokens(part) for part in match.groups())
        fields += [_length("prompt", first, Span(*match.span(1))), _length("output", second, Span(*match.span(2)))]
        text.take(Span(*match.span()))
    return fields


def _tokens(words: str) -> float:
    plain = words.replace(",", "")
    return float(plain[:-1]) * 1e3 if plain.endswith("k") else float(plain)


def _length(which: str, value: float, span: Span) -> Field:
    return Field(f"load.{which}_tokens", round(value), span, f"{round(value):,} tokens")


def _field(text: Text, quantity: Quantity, training: bool) -> Field | None:
    match quantity.dimension:
        case "request rate" if quantity.high > 0:
            return Field("load.requests_per_s", quantity.high, quantity.span, f"{quantity.high:.6g} requests/s")
        case "money per hour" if not quantity.note:
            return Field("hardware.price_usd_per_hour", quantity.high, quantity.span, f"{quantity.high:.6g} USD/h")
        case "tokens" | "none":
            return _lengths(text, quantity, training)
        case "parameters" if re.match(r"\s*(?:training\s+)?(?:tokens?|toks?)\b", text.plain[quantity.span.end :]):
            return Field("model.tokens", quantity.high, quantity.span, f"{quantity.high:.4g} tokens")
    return None


def _lengths(text: Text, quantity: Quantity, training: bool) -> Field | None:
    value = quantity.high
    if value < 1 or value != round(value):
        return None
    around = near(text, quantity, 28)
    left, _, right = around.partition("|")
    left = re.split(r"[,;]|\band\b", left)[-1]
    per_step = re.search(r"batch|\bbsz?\b|\bgbs\b", left) or re.match(
        r"\s*(?:per|a|in a|each)?\s*(?:global\s*)?(?:batch|step)\b", right
    )
    if quantity.dimension == "tokens" and training and per_step:
        return Field("model.batch_tokens", value, quantity.span, f"{value:,.0f} tokens a step")
    if quantity.dimension == "tokens" and value >= TRAINING_TOKENS:
        return Field("model.tokens", value, quantity.span, f"{value:.4g} tokens")
    if training and (_SEQUENCE.search(left) or _SEQUENCE.match(right.lstrip(" -"))):
        return Field("model.sequence_tokens", value, quantity.span, f"{value:,.0f} tokens")
    own = (
        {"input": "prompt", "prompt": "prompt", "context": "prompt"}.get(quantity.note, "output")
        if quantity.note
        else None
    )
    if which := own or _which(left, right):
        return _length(which, value, quantity.span)
    return None


def _which(left: str, right: str) -> str | None:
    """Whether the words around a number make it a prompt's or an answer's length."""
    joint = r"[\s-]*(?:tokens?[\s-]*)?(?:of\s+|for\s+(?:the\s+)?|long\s+|per\s+)?"
    if plain := re.match(
        r"\s*(?:(?:tokens?|toks?|ctx|context|length)\s+)?(in|out)\b(?!\s+(?:the|a|an|my|our|total|\d+\s*(?:days?|weeks?|hours?|minutes?|months?|ms|s)\b))",
        right,
    ):
        return "prompt" if plain[1] == "in" else "output"
    if re.match(rf"{joint}(?:{_OUT})\b{_NO_NUMBER}", right):
        return "output"
    if re.match(rf"{joint}(?:{_IN})\b(?!\s*(?:to|for|over)\s+\d){_NO_NUMBER}", right):
        return "prompt"
    tail = r"(?:\s+tokens?)?(?:\s*(?:length|size|len|tokens))?\s*(?:\s*(?:more like|rather|closer to|now|of|is|are|:|=|~|about|around|roughly|averag\w*|approximately|approx\.?|ca\.?|up to|under|at most|max|at|with))*\s*$"
    if re.search(rf"\b{_OUT}{tail}", left):
        return "output"
    if re.search(rf"\b{_IN}{tail}", left):
        return "prompt"
    return None
