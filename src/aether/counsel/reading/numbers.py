"""Numbers in text: digits with separators, decimals, exponents, fractions, suffixes (2k, 7B), words (two and a half million), ranges.

English words. A number keeps whether it was a range, so that a bound can take the careful end.
"""

import re
from dataclasses import dataclass

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text

_ONES = {w: i for i, w in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"])}  # fmt: skip
_TENS = {
    w: 10 * i for i, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "k": 1e3,
    "million": 1e6,
    "mio": 1e6,
    "mn": 1e6,
    "mil": 1e6,
    "milion": 1e6,
    "millon": 1e6,
    "billion": 1e9,
    "bilion": 1e9,
    "billon": 1e9,
    "trilion": 1e12,
    "bn": 1e9,
    "trillion": 1e12,
    "myriad": 1e4,
    "lakhs": 1e5,
    "lakh": 1e5,
    "crores": 1e7,
    "crore": 1e7,
    "hundredmillion": 1e8,
}
_PARTS = {"half": 0.5, "quarter": 0.25}
_GROUPS = {"couple": 2.0, "dozen": 12.0, "pair": 2.0}
_SUFFIX = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12, "g": 1e9}
_COUNTED = r"requests?|reqs?|users?|tokens?|toks?|queries|calls?|examples?|documents?|gpus?|e?-?mails?|tickets?|messages?|chats?|people|customers?|employees?|students?|samples?|pairs?|rows?|articles?|words?|sentences?|anfragen"
"""Things that come whole: 1.000 of them are a thousand."""
_DIGITS = (
    rf"[1-9]\d{{0,2}}(?:\.\d{{3}})*\.\d00(?![\d.])(?=\s*(?:{_COUNTED})\b)|"
    + r"\d{1,3}(?:[,_ ]\d{3})+(?:\.\d+)?(?!\d)|\d+\.\d+|\d+,\d{1,2}(?![\d,.]|\s*,\s*\d)|\.\d+|\d+"
)
WORDS = "|".join(sorted([*_ONES, *_TENS, *_SCALES, *_GROUPS, *_PARTS], key=len, reverse=True))
_SCALE_WORDS = "|".join(k for k in _SCALES if k != "k")
_NUMERAL = Lazy(
    rf"(?<![\w.])(?P<sign>[-+](?=[\d.]))?(?P<digits>{_DIGITS})(?P<exp>e[-+]?\d+)?"
    rf"(?:(?P<suffix>bn|[kmbtg])(?![a-hj-z0-9]|i(?!sh))|\s*(?P<scale>{_SCALE_WORDS})(?P<many>s(?:\s+of(?=\s+tok))?)?\b)?(?:\+(?![\w.+])|-?ish\b)?"
)
_SPELLED = Lazy(
    rf"(?<![\w-])(?:(?:a|an)\s+)?(?:{WORDS})\b(?:(?:\s+and\s+(?:a\s+)?|[\s-]+(?:a\s+|of\s+(?:a\s+)?)?)(?:{WORDS})\b)*(?:-?ish\b)?"
)
_ONE_OF = Lazy(
    r"\b(?:in|within|under|about|than|only|takes?|over|for|inside|most|least)\s+(?P<one>an?)(?=\s+(?:second|minute|hour|day|week|fortnight|month|year)\b)"
)
"""An article that counts: "within a week"."""
_RANGE = Lazy(r"\s*(?:->|=>|→|-|to|and|or|\.\.\.?)\s*")
_COUNTS = Lazy(rf"\s*(?:concurrent )?(?:{_COUNTED}|rps|qps)\b(?!\s*\?)")
"""After "2 or 3": a range of one thing."""


@dataclass(frozen=True)
class Number:
    """A number at a place. `low` and `high` differ for a range."""

    low: float
    high: float
    span: Span
    suffix: str = ""
    """The letter that multiplied it, as in 7b: that letter may be a unit instead (7 B of memory, 7B parameters)."""

    @property
    def value(self) -> float:
        """The number, or the upper end of a range."""
        return self.high


def numbers(text: Text) -> list[Number]:
    """Every number in the free parts of a text, in order; the two ends of a range are one."""
    found = [n for m in text.search(_NUMERAL) if (n := _numeral(m)) is not None]
    spans = [n.span for n in found]
    for match in text.search(_SPELLED):
        span = Span(*match.span())
        if not any(span.overlaps(other) for other in spans) and (value := spelled(match[0])) is not None:
            found.append(Number(value, value, span))
    for match in text.search(_ONE_OF):
        span = Span(*match.span("one"))
        if not any(span.overlaps(other) for other in spans):
            found.append(Number(1.0, 1.0, span))
    return _ranges(text, sorted(found, key=lambda n: n.span.start))


def _numeral(match: re.Match[str]) -> Number | None:
    digits = match["digits"]
    if re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")  # a decimal comma: groups have three digits
    elif re.fullmatch(r"[1-9]\d{0,2}(?:\.\d{3})+", digits) and re.match(
        rf"\s*(?:{_COUNTED})\b", match.string[match.end() :]
    ):
        digits = digits.replace(".", "")
    digits = re.sub(r"[,_ ]", "", digits)
    value = float(digits + (match["exp"] or ""))
    suffix = match["suffix"] or ""
    value *= _SUFFIX.get(suffix, 1.0) * _SCALES.get(match["scale"] or "", 1.0)
    value = -value if match["sign"] == "-" else value
    return Number(value, value, Span(*match.span()), suffix) if abs(value) < 1e30 else None


def spelled(words: str) -> float | None:
    """ "two and a half million" is 2.5e6; None where the words make no number."""
    total, current, seen = 0.0, 0.0, False
    for word in re.findall(r"[a-z]+", words):
        if word in ("a", "an", "of"):
            if word != "of" and not seen:
                current, seen = 1.0, True
        elif word in _ONES:
            current, seen = current + _ONES[word], True
        elif word in _TENS:
            current, seen = current + _TENS[word], True
        elif word in _PARTS:
            fresh = not seen or (current == 1.0 and words.strip().startswith(("a ", "an ")) and total == 0)
            current, seen = (_PARTS[word] if fresh else current + _PARTS[word]), True
        elif word in _GROUPS:
            current, seen = (current or 1.0) * _GROUPS[word], True
        elif word in _SCALES:
            scale = _SCALES[word]
            current = (current or 1.0) * scale
            seen = True
            if scale >= 1e3:
                total, current = total + current, 0.0
    return total + current if seen else None


def _ranges(text: Text, found: list[Number]) -> list[Number]:
    joined: list[Number] = []
    for number in found:
        if joined and (between := _RANGE.fullmatch(text.plain, joined[-1].span.end, number.span.start)):
            last = joined[-1]
            word = between[0].strip()
            opened = re.search(r"\b(between|from)\s*\$?$", text.plain[: last.span.start]) is not None
            if last.low == last.high and (
                word in ("-", "->", "=>", "→", "..", "...", "to")
                or (word == "and" and opened)
                or (word == "or" and _COUNTS.match(text.plain, number.span.end))
            ):
                low = last.low
                if not last.suffix and number.suffix and low * _SUFFIX[number.suffix] <= number.low:
                    low *= _SUFFIX[number.suffix]  # "2-4k"
                if low <= number.low:
                    joined[-1] = Number(low, number.high, Span(last.span.start, number.span.end), number.suffix)
                    continue
        joined.append(number)
    return joined
