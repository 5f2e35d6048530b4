"""Numbers that follow from others which a sentence says: a difference, a sum, a product, a quotient, a change in percent, what is left of a whole.

Only from numbers that stand in the same sentence (or, where the sentence says that it concludes, shortly before it) and are supported, and
only by the operation that its words name: "142 ms below", "22 GB on each of eight, 176 GB in all", "7.3 % more". Dimensions must agree.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aether.counsel.claims.numbers import Said

DIMENSIONS: dict[str, tuple[int, ...]] = {
    "s": (1, 0, 0, 0), "byte": (0, 1, 0, 0), "USD": (0, 0, 1, 0), "USD per million": (0, 0, 1, 0), "USD per hour": (-1, 0, 1, 0),
    "FLOP/s": (-1, 0, 0, 1), "token/s": (-1, 0, 0, 0), "request/s": (-1, 0, 0, 0), "per second": (-1, 0, 0, 0), "byte/s": (-1, 1, 0, 0),
}  # fmt: skip
"""Exponents of seconds, bytes, dollars and operations. What is counted has none."""
_FACTORS = {"USD per hour": 1 / 3600.0, "USD per million": 1e-6}
_PURE = (0, 0, 0, 0)
LESS = re.compile(
    r"\b(?:more|less|fewer|above|below|under|over|gap|differ\w*|margin|headroom|slack|left|lea(?:ve|ves|ving)|remain\w*|spare|room|gains?|gained|ris(?:e|es|en|ing)|rose|drop\w*|f[ae]ll\w*|"
    r"sav(?:es?|ed|ing|ings)|reduc\w+|cut\w*|lower\w*|higher|cheaper|shorter|longer|faster|slower|better|worse|improv\w+|increas\w+|decreas\w+|grow\w*|grew|shrink\w*|shrank|up|down|extra|short of|beyond|points?|free|frees|wide|width|spread|spans?|change\w*|delta|diff|unspent|unused|lift\w*|lost|loses?)\b",
    re.IGNORECASE,
)
ALL = re.compile(
    r"\b(?:total\w*|together|altogether|across|all|in sum|sum|overall|combined|makes?|making|comes? to|adds? up|i\.e|that(?:'s| is)|gives?|so|hence|thus|which is|means?|an? (?:hour|day|month)|per (?:hour|day|month|minute|second)|"
    r"(?:both|each|every|per) (?:device|gpu|card|replica|node)s?|times|generat\w+|need\w*|equals?|works? out)\b|[=×→]|%\s+of\b|\bper ?cent of\b",
    re.IGNORECASE,
)
EACH = re.compile(r"\b(?:per|an?|each|every|average|apiece|on average|divided|split|over)\b|[=÷/]", re.IGNORECASE)
RATIO = re.compile(
    r"\b(?:times|x|fold|factor|ratio|twice|double[sd]?|doubling|triple[sd]?|quadrupled?|half|halves|halved|third|quarter|as (?:much|many|fast|long|big|large|small|slow|high|low))\b|×|\dx\b",
    re.IGNORECASE,
)
_WRONG = re.compile(
    r"\b(?:errors?|unused|idle|wasted|unspent|free|wrong\w*|fail\w*|miss\w*|incorrect\w*|remain\w*|rest|others?|left|lost|loses?|loss|drop\w*|below)\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(r"(?:^|[.;:,(]\s*)(?:so|that(?:'s| is| leaves| makes| means)|this (?:is|leaves|makes|means)|hence|thus|therefore|which|together|in (?:total|all|sum|relative)|i\.e\.|both|the (?:difference|gap|rest|total|sum|ratio))\b", re.IGNORECASE)  # fmt: skip
_ABOUT = re.compile(r"\b(?:about|around|roughly|approximately|nearly|almost|some|close to|a (?:bit|little|touch) (?:more than|less than|over|under|above|below)|(?:just|slightly|a little) (?:over|under|above|below)|more than|less than)\b|[~≈]", re.IGNORECASE)  # fmt: skip
_MIDDLE = re.compile(r"±|\+/-|\b(?:midpoint|middle|cent(?:re|er)d?|halfway|half of (?:the|its) (?:width|range))\b", re.IGNORECASE)  # fmt: skip
_THAN_ASKED = re.compile(r"\b(?:than|of|over|above|below|under|beyond) (?:what )?you(?: \w+)? (?:asked|need|want|set|allow|have|gave)", re.IGNORECASE)  # fmt: skip
_EXPONENT = re.compile(r"\^\s*$")


@dataclass(frozen=True)
class Operand:
    """A supported number: its value in canonical units, its dimensions, and half of what its rounding hides."""

    value: float
    dimensions: tuple[int, ...]
    slack: float
    unit: str
    start: int = -1


def operand(number: Said) -> Operand:
    """A number that was said, to be computed with. A point is a hundredth, like a percent."""
    scale = 0.01 if number.unit == "point" else _FACTORS.get(number.unit, 1.0)
    return Operand(
        number.high * scale, DIMENSIONS.get(number.unit, _PURE), 0.5 * number.step * scale, number.unit, number.start
    )


def follows(number: Said, sentence: str, operands: list[Operand]) -> bool:
    """Whether one operation, that the sentence names, leads from two of the operands to this number."""
    asked = operand(number)
    slack = asked.slack
    near = sentence[max(0, number.start - 24) : number.start + 4]
    if _ABOUT.search(near):
        slack = max(slack, 0.02 * abs(asked.value))
    others = [o for o in operands if o.start != number.start or o.start < 0]
    over, beneath = _MORE_THAN.search(near), _LESS_THAN.search(near)
    for value, dimensions, hidden, unit in _results(sentence, number, others):
        if dimensions != asked.dimensions or not _same_kind(unit, number):
            continue
        if number.ratio and (
            (over and 1 <= value / asked.value <= _LOOSE)
            or (beneath and 1 <= asked.value / max(value, 1e-12) <= _LOOSE)
        ):
            return True
        allowed = slack + min(hidden, max(slack, 0.5 * number.step))
        if abs(abs(value) - abs(asked.value)) <= allowed * (1 + 1e-6) + 1e-12:
            return True
    return False


_MORE_THAN = re.compile(
    r"\b(?:more than|over|at least|well over|above)\s*$|\b(?:more than|over|at least) \w*$", re.IGNORECASE
)
_LESS_THAN = re.compile(r"\b(?:less than|under|at most|below|not quite|nearly|almost)\s*\w*$", re.IGNORECASE)
_LOOSE = 1.35
"""How far "more than twice" may be from twice: assumed."""


def concludes(sentence: str) -> bool:
    """Whether a sentence says that it goes on from what was said before."""
    return _CONCLUDES.search(sentence) is not None


_NAMED = frozenset({"token", "parameter", "request", "document"})
_COUNTED = frozenset({"count", "token", "parameter", "n", "request", "document", "step"})


def _same_kind(unit: str, number: Said) -> bool:
    """Whether a result of this kind may be said with this unit: a ratio is no count, a share is no number of tokens."""
    if unit == "ratio":
        return number.ratio or number.unit in ("ratio", "fraction") or (number.unit == "count" and number.high < 100)
    if unit == "share":
        part = number.ratio and number.spelled and number.high < 1  # "two thirds"
        return part or (number.unit == "fraction" and not number.ratio)
    if unit == "points":
        return number.unit in ("point", "fraction")
    if unit == "count":
        return number.unit not in ("fraction", "point") and not number.ratio
    return not number.ratio


ELSEWHERE = -1000
"""Where what only the person said starts: one number of the sentence at least goes into what follows."""
_TELLING = 3
"""Digits, zeros at the end left out: assumed."""


def _digits(number: Said) -> int:
    shown = re.search(r"\d[\d,]*(?:\.\d+)?", number.words)
    return len(re.sub(r"\D", "", shown[0]).strip("0")) if shown else 0


def restated(number: Said, other: Said, sentence: str) -> bool:
    """Whether a number says another of the sentence again, more roughly: "roughly three in four: 76.4 %"."""
    a, b = operand(number), operand(other)
    rough = number.spelled or _ABOUT.search(sentence[max(0, number.start - 24) : number.start + 4])
    over = number.ratio and bool(_MORE_THAN.search(sentence[max(0, number.start - 24) : number.start + 4]))
    near = abs(a.value - b.value) <= _ROUGHLY * abs(b.value) or (over and 1 <= b.value / a.value <= _LOOSE)
    return bool(rough) and near and a.dimensions == b.dimensions and number.unit == other.unit


_ROUGHLY = 0.03
Result = tuple[float, tuple[int, ...], float, str]


def _results(sentence: str, number: Said, operands: list[Operand]) -> Iterator[Result]:
    less, whole, each = LESS.search(sentence), ALL.search(sentence), EACH.search(sentence)
    ratio = number.ratio or RATIO.search(sentence)
    middle = _MIDDLE.search(sentence)
    if _digits(number) >= _TELLING:  # so many digits do not agree by chance
        less = whole = each = True
    for a in operands:
        if _EXPONENT.search(sentence[: number.start]) and 0 < a.value < 1 and a.start >= 0:
            yield 1 - a.value, _PURE, a.slack, "count"  # what grows as C^0.47 leaves C^0.53
        if a.unit == "fraction" and a.value <= 1 and _WRONG.search(sentence):
            yield 1 - a.value, _PURE, a.slack, "share"
        if a.dimensions == (1, 0, 0, 0) and a.value and number.unit == "token/s" and a.start >= 0:
            yield 1 / a.value, (-1, 0, 0, 0), a.slack / a.value**2, "count"  # 44.7 ms a token are 22 tokens a second
        for b in operands:
            apart = (
                max(a.start, b.start) <= ELSEWHERE
                and a.dimensions == b.dimensions
                and not (number.unit == "token" and {a.unit, b.unit} <= {"token", "count"})
            )
            near = _THAN_ASKED.search(sentence) is not None or number.ratio
            far = min(a.start, b.start) <= ELSEWHERE and _digits(number) < 2 and not near
            if a is b or (a.start == b.start and a.start >= 0) or apart or far:
                continue
            yield from _of_two(a, b, bool(less), bool(whole), bool(each), bool(ratio))
            if middle and a.dimensions == b.dimensions and a.unit == b.unit and a.value > b.value:
                yield (a.value + b.value) / 2, a.dimensions, (a.slack + b.slack) / 2, "count"
                yield (a.value - b.value) / 2, a.dimensions, (a.slack + b.slack) / 2, "count"


def _of_two(a: Operand, b: Operand, less: bool, whole: bool, each: bool, ratio: bool) -> Iterator[Result]:
    both = a.slack + b.slack
    alike = a.dimensions == b.dimensions and (
        a.unit == b.unit or {a.unit, b.unit} <= {"point", "fraction"} or {a.unit, b.unit} <= _COUNTED
    )
    kind = "points" if a.unit in ("fraction", "point") else "count"
    if alike and less and a.value > b.value:
        yield a.value - b.value, a.dimensions, both, kind
    if alike and whole and a.start < b.start:
        yield a.value + b.value, a.dimensions, both, kind
    times = a.value * b.value
    squared = a.unit == b.unit and a.unit in _NAMED  # tokens times tokens are nothing
    if (whole or "ratio" in (a.unit, b.unit)) and not squared and a.start < b.start and a.value and b.value:
        dims = tuple(x + y for x, y in zip(a.dimensions, b.dimensions, strict=True))
        yield (
            times,
            dims,
            times * (a.slack / a.value + b.slack / b.value),
            "share" if {a.unit, b.unit} <= {"fraction", "point"} else "count",
        )
    if not b.value or not a.value:
        return
    share = a.value / b.value
    hidden = share * (a.slack / abs(a.value) + b.slack / abs(b.value))
    if a.unit == b.unit == "ratio" and a.start < b.start:
        yield times, _PURE, hidden, "ratio"  # twice the parameters and twice the tokens: four times
    if alike and ratio:
        yield share, _PURE, hidden, "ratio"
    if alike and (less or whole or each):
        yield share, _PURE, hidden, "share"
        yield share - 1, _PURE, hidden, "share"
    if (each or whole) and not alike:
        dims = tuple(x - y for x, y in zip(a.dimensions, b.dimensions, strict=True))
        yield share, dims, hidden, "count"
        if b.unit == "point":
            yield share / 100, dims, hidden / 100, "count"
    if each and a.unit in _COUNTED and b.unit in _COUNTED:
        yield share, _PURE, hidden, "count"


_SPANS = (("hour", 3600.0), ("day", 86400.0), ("week", 604800.0), ("month", 2592000.0), ("minute", 60.0))
SPELLED = {
    w: float(i)
    for i, w in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
    if i > 1
} | {"both": 2.0, "dozen": 12.0, "hundred": 100.0}
_SPELLED = re.compile(r"\b(" + "|".join(SPELLED) + r")\b", re.IGNORECASE)


def spelled_operands(sentence: str) -> list[Operand]:
    """Small counts in words, which are no claims themselves: "all eight"."""
    spans = [
        Operand(seconds, (1, 0, 0, 0), 0.0, "s", m.start())
        for word, seconds in _SPANS
        for m in re.finditer(rf"\b(?:an?|per|one|each|every) {word}\b", sentence)
    ]
    return spans + [Operand(SPELLED[m[1].lower()], _PURE, 0.0, "count", m.start()) for m in _SPELLED.finditer(sentence)]
