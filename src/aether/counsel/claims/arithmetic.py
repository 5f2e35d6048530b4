"""Numbers that a sentence computes in plain sight from supported ones: sums, products, quotients, and a ratio to the decided option."""

import itertools
import math
import re
from dataclasses import replace
from functools import reduce

from aether.counsel.claims.around import FORMATS
from aether.counsel.claims.facts import Ground
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import Subject, subject_of
from aether.counsel.claims.support import supported
from aether.counsel.claims.values import close

_ONE = r"\$?\d[\d.,]*"
_GAP = r"[^\d=;|]{0,28}?"
_SIGNS = {
    "x": "*", "×": "*", "*": "*", "times": "*", "by": "*", "/": "/", "÷": "/", "divided by": "/", "+": "+", "plus": "+", "and": "+", "-": "-", "minus": "-",
}  # fmt: skip
_EQUATION = re.compile(
    rf"(?<![\d.,])(?P<left>{_ONE}(?:{_GAP}\s*(?:[x×*/÷+-]|\b(?:times|by|divided by|plus|and|minus)\b)\s*{_ONE})+)[^=\d]{{0,32}}?"
    rf"(?P<is>=|\b(?:equals|is|are|makes?|gives?|comes? to|adds? up to|sums? to|totals?)\b)\s*(?:about\s+|roughly\s+|~\s*)?(?P<c>{_ONE})",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(
    rf"(?<![\d.,])(?P<c>{_ONE})[^\d().;]{{0,48}}\((?:[^()\d]{{0,16}})?(?P<left>{_ONE}(?:{_GAP}\s*(?:[x×*/÷+-]|\b(?:times|by|divided by|plus|minus)\b)\s*{_ONE})+)[^()]{{0,24}}\)",
    re.IGNORECASE,
)
"""A result with its sum in brackets after it: "24 are in flight (4 × 5.9)"."""
_SIGN = re.compile(r"[x×*/÷+-]|\b(?:times|by|divided by|plus|and|minus)\b", re.IGNORECASE)
_CONSTANTS = frozenset({8.0, 12.0, 24.0, 30.0, 60.0, 100.0, 365.0, 1000.0, 1024.0, 3600.0, 86400.0, 1e6, 1e9})
"""Of time, bytes and per cents: they need no source, as long as another part of the sum has one."""


def computed(bare: str, said: list[Said], text: str, context: str, ground: Ground) -> set[int]:
    """Starts of numbers that are part of such a computation, and of its result said again."""
    found: set[int] = set()
    at = 0
    while (match := _EQUATION.search(bare, at)) is not None:
        at = match.start() + 1
        parts = [n for n in said if match.start() <= n.start < match.end()]
        value = _value(match["left"])
        if (
            len(parts) < 3
            or value is None
            or (re.search(r"\band\b", match["left"]) and match["is"].lower() in ("is", "are"))
        ):
            continue
        last = parts[-1]
        scale = last.high / _number(match["c"]) if _number(match["c"]) else 1.0
        known = [_known(n, last, scale, text, context, ground) for n in parts[:-1]]
        fits = math.isclose(value, _number(match["c"]), abs_tol=0.5 * last.step / (scale or 1.0) * (1 + 1e-6))
        if fits and any(known) and all(k or n.high in _CONSTANTS for k, n in zip(known, parts, strict=False)):
            at = match.end()
            found |= {n.start for n in parts} | {n.start for n in said if n.high == last.high}
    for match in _EXPLAINED.finditer(bare):
        value = _value(match["left"])
        parts = [n for n in said if match.start("left") <= n.start < match.end("left")]
        last = next((n for n in said if n.start <= match.start("c") < n.start + len(n.words)), None)
        if value is None or last is None or len(parts) < 2:
            continue
        scale = last.high / _number(match["c"]) if _number(match["c"]) else 1.0
        known = [_known(n, last, scale, text, context, ground) for n in parts]
        slack = max(
            0.5 * last.step / (scale or 1.0),
            0.02 * value if re.search(r"\b(?:about|around|roughly|some)\s*$|~\s*$", bare[: match.start("c")]) else 0.0,
        )
        if (
            any(known)
            and all(k or n.high in _CONSTANTS for k, n in zip(known, parts, strict=True))
            and abs(value - _number(match["c"])) <= slack
        ):
            found |= {n.start for n in parts} | {last.start}
    return (
        found
        | _sums(said, text, context, ground)
        | {n.start for n in said if n.ratio and _of_the_decided(n, said, text, context, ground)}
    )


def _known(number: Said, last: Said, scale: float, text: str, context: str, ground: Ground) -> bool:
    """Whether a part of a sum has a source, in its own unit or in that of the result ("8 x 80 = 640 GB")."""
    if supported(number, text, context, ground):
        return True
    number = replace(number, ratio=False, unit="count" if number.ratio else number.unit)
    if supported(number, text, context, ground) or _of_the_person(number, ground):
        return True
    scaled = replace(
        number, low=number.low * scale, high=number.high * scale, step=number.step * scale, unit=last.unit, ratio=False
    )
    if _anywhere(number, ground):
        return True
    return scale != 1.0 and (supported(scaled, text, context, ground) or _of_the_person(scaled, ground))


def _anywhere(number: Said, ground: Ground) -> bool:
    """Whether a number of two digits or more is on record at all, as it is or in percent: an open sum says what it takes."""
    digits = re.sub(r"\D", "", number.words).strip("0")
    return len(digits) >= 2 and any(
        fact.kind in ("record", "tool")
        and not fact.end
        and any(close(number.high, fact.value * k, number.step) for k in (1.0, 100.0))
        for fact in ground.facts
    )


def _sums(said: list[Said], text: str, context: str, ground: Ground) -> set[int]:
    """A number that is the sum of two others of the sentence: "2300 tokens, 2000 for the prompt and 300 for the answer"."""
    known = [n for n in said if not n.ratio and (supported(n, text, context, ground) or _of_the_person(n, ground))]
    return {
        n.start
        for n in said
        if n.unit in ("count", "token", "byte")
        and any(
            math.isclose(n.high, a.high + b.high, rel_tol=1e-9)
            for a, b in itertools.combinations(known, 2)
            if n not in (a, b)
        )
    }


def _of_the_decided(ratio: Said, said: list[Said], text: str, context: str, ground: Ground) -> bool:
    """Whether a ratio is that of a number in the sentence to the same number of the decided option."""
    if _of_another(ratio, text, context, ground):
        return True
    for number in said:
        if number.ratio or not supported(number, text, context, ground):
            continue
        subject = subject_of(text, number.start, number.start + len(number.words), context)
        if subject.family is None:
            subject = subject_of(text, ratio.start, ratio.start + len(ratio.words), context)
        for fact in ground.facts:
            same = (
                fact.kind == "record" and fact.unit == number.unit and fact.subject.family == subject.family is not None
            )
            if same and number.high and fact.value and subject.agrees(fact.subject.bare()):
                share = number.high / fact.value
                if close(ratio.high, share, 0.02 * share) or close(ratio.high, 1 / share, 0.02 / share):
                    return True
    return False


def _of_another(ratio: Said, text: str, context: str, ground: Ground) -> bool:
    """ "Half the price" of an option whose traits the sentence names, against the decided one."""
    subject = subject_of(text, ratio.start, ratio.start + len(ratio.words), "")
    traits = subject.traits - ground.decided
    if not subject.traits:
        return False
    if subject.family is None:
        return _of_two_options(ratio, subject.traits, text, ground)
    if not traits:
        return False
    same = [
        f for f in ground.facts if f.subject.family == subject.family and f.unit in ("USD", "s", "byte") and not f.end
    ]
    own = [
        f.value
        for f in same
        if f.kind == "record"
        and f.value
        and subject.agrees(
            f.subject.bare() if False else Subject(f.subject.family, f.subject.percentile, subject.traits)
        )
    ]
    others = [f.value for f in same if f.kind == "tool" and traits <= f.subject.traits]
    return any(
        close(ratio.high, b / a, 0.04 * ratio.high) or close(ratio.high, a / b, 0.04 * ratio.high)
        for a in own
        for b in others
        if a and b
    )


_SPEEDS = frozenset({"tpot", "itl", "ttft", "throughput", "e2e"})


def _of_two_options(ratio: Said, traits: frozenset[str], text: str, ground: Ground) -> bool:
    """ "1.7 times as fast in FP8": one metric of the option that is named against the same metric of another."""
    if not re.search(r"\b(?:fast|faster|slow|slower|speed|quick|quicker)\b", text):
        return False
    speeds = [
        f
        for f in ground.facts
        if f.kind in ("tool", "record")
        and f.subject.family in _SPEEDS
        and not f.end
        and f.value
        and f.unit in ("s", "token/s")
    ]
    traits = traits & FORMATS - {"vllm", "sglang", "trtllm", "lmdeploy"}
    own = [f for f in speeds if traits & f.subject.traits]
    others = [f for f in speeds if not traits & f.subject.traits] or speeds
    step = max(ratio.step, 0.04 * ratio.high)
    return any(
        close(ratio.high, max(a.value, b.value) / min(a.value, b.value), step)
        for a in own
        for b in others
        if a.unit == b.unit and a.subject.bare() == b.subject.bare()
    )


def _value(left: str) -> float | None:
    """A chain of numbers with one sign between them; None for what is no number, or for mixed signs."""
    signs = {_SIGNS[s.lower()] for s in _SIGN.findall(re.sub(_ONE, " ", left))}
    try:
        numbers = [_number(n) for n in re.findall(_ONE, left)]
    except ValueError:
        return None
    if len(signs) != 1:
        return None
    sign = signs.pop()
    if sign == "/" and 0.0 in numbers[1:]:
        return None
    steps = {"*": lambda a, b: a * b, "/": lambda a, b: a / b, "+": lambda a, b: a + b, "-": lambda a, b: a - b}
    return reduce(steps[sign], numbers)


def _number(words: str) -> float:
    return float(words.lstrip("$").rstrip(".,").replace(",", ""))


def _of_the_person(number: Said, ground: Ground) -> bool:
    """Whether the person wrote this number, in whatever unit."""
    return any(f.kind == "person" and close(number.high, f.value, number.step) for f in ground.facts)
