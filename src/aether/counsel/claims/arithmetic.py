"""Numbers that a sentence computes in plain sight from supported ones: sums, products, quotients, and a ratio to the decided option."""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from aether.counsel.claims.around import OF_INTERVAL
from aether.counsel.claims.equations import Equation, Part, equations, formulas
from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.identities import identities
from aether.counsel.claims.names import benchmarks_in, models_in
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.support import supported
from aether.counsel.claims.tables import cited
from aether.counsel.claims.values import close

_PERIODS = frozenset(
    {7.0, 12.0, 24.0, 30.0, 52.0, 60.0, 168.0, 365.0, 720.0, 730.0, 1440.0, 8760.0, 3600.0, 86400.0, 2592000.0}
)
_POWERS = frozenset({1.0, 100.0, 1000.0, 1024.0, 1e6, 1e9, 1e12})
_WIDTHS = frozenset({1.0, 2.0, 4.0, 8.0, 16.0})
_CONSTANTS = (
    (re.compile(r"\b(?:hours?|days?|months?|weeks?|years?|minutes?|seconds?|h|s|min)\b|/s\b", re.IGNORECASE), _PERIODS),
    (re.compile(r"\b(?:bytes?|bits?|GB|GiB|MB)\b", re.IGNORECASE), _WIDTHS),
    (re.compile(r"\bflops?\b|\boperations\b", re.IGNORECASE), frozenset({2.0, 6.0})),
)
"""Of time, bytes and operations, where the text speaks of them: they need no source, as long as another part of the sum has one."""
_OPERATED = re.compile(r"(?:[x×*/÷]|\b(?:times|by))\s*$", re.IGNORECASE)


def computed(
    bare: str, said: list[Said], text: str, context: str, ground: Ground, earlier: list[Said] | None = None
) -> tuple[set[int], list[str], set[int]]:
    """Starts of numbers that are part of a sum which the text writes out, and of its result said again; the sums that are wrong; where
    the results of sums start that do not come out as they were read."""
    found: set[int] = set()
    wrong: list[str] = []
    open_results: set[int] = set()
    if not is_foreign(text, ground):
        by_place = _ByPlace(said, bare, text, context, ground, earlier or [])
        written = list(equations(_BYTES.sub("  ", bare)))
        for _ in range(2):  # what is worked out in brackets may stand after what it goes into
            for equation in written:
                found |= by_place.settled(equation)
        wrong = [bare[e.start : e.end].strip() for e in written if by_place.is_wrong(e)]
        for formula in formulas(bare):
            if formula.holds(lambda part: part.value):
                found |= {n.start for n in said if n is by_place.at(formula.result)}
            else:
                wrong.append(bare[formula.start : formula.end].strip())
        untrue = [e for e in written if _SIGN.search(bare[e.start : e.end]) and not by_place.comes_out(e)]
        open_results = {n.start for e in untrue if (n := by_place.at(e.result))}
        if _LN_2.search(text):
            found |= {
                n.start for n in said if n.unit == "count" and close(n.high, math.log(2), n.step) and n.step < 0.1
            }
        found |= {n.start for n in said if _is_constant(n.high, text) and _OPERATED.search(bare[: n.start])}
    found |= {
        m.start("a")
        for m in _DIVIDES.finditer(bare)
        if int(m["a"]) and (int(m["b"]) % int(m["a"]) == 0) != bool(m["no"])
    }
    return found, wrong, open_results


_LN_2 = re.compile(r"\b(?:ln|log)\s*\(?2\b")
_DIGITS = 3
"""So many are not met by chance."""
_FORMAT = re.compile(r"\b(?:int|fp|nf|nvfp|mxfp)\d{1,2}\b", re.IGNORECASE)


def is_foreign(text: str, ground: Ground) -> bool:
    """Whether a text names a benchmark or a model that nothing here is of."""
    benches = frozenset().union(*(f.benchmarks for f in ground.facts))
    names = frozenset().union(ground.names, *(f.names for f in ground.facts))
    formats = {m[0].lower() for m in _FORMAT.finditer(text)}
    heard = all(one in ground.heard or any(one in f.labels or one in f.words for f in ground.facts) for one in formats)
    return not (heard and benchmarks_in(text) <= benches | {"perplexity"} and models_in(text) <= names)


def _is_constant(value: float, text: str) -> bool:
    return value in _POWERS or any(value in values and pattern.search(text) for pattern, values in _CONSTANTS)


@dataclass
class _ByPlace:
    """The numbers of a sentence by where they stand, to judge the sums that it writes out."""

    said: list[Said]
    bare: str
    text: str
    context: str
    ground: Ground
    earlier: list[Said]
    results: list[float] = field(default_factory=list)
    """Of sums that were right: what comes next may use them."""

    def at(self, part: Part) -> Said | None:
        """The number that stands at a part of a sum."""
        return next((n for n in self.said if n.start <= part.start < n.start + len(n.words)), None)

    def settled(self, equation: Equation) -> set[int]:
        """Starts of the numbers that a sum bears out: none where it is wrong or one of its parts has no source."""
        parts = [(part, self.at(part)) for whole in equation.parts for part in (whole.inner or (whole,))]
        result = self.at(equation.result)
        known = [self._known(part, number, result) for part, number in parts]
        sourced = any(known)
        if not sourced or not (
            all(k or _is_constant(p.value, self.text) for k, (p, _) in zip(known, parts, strict=True))
            or (len(parts) > 2 and self._leads_to_record(equation, result))
        ):
            return set()
        if not equation.holds(self._canonical):
            return set()
        self.results.append(equation.result.value)
        value = equation.result.value
        again = {
            n.start
            for n in self.said
            if n.low == n.high and any(close(n.high, value * k, n.step) for k in (1.0, 100.0, 0.01))
        }
        places = {number.start for _, number in (*parts, (equation.result, result)) if number is not None}
        if result is not None:
            again |= {n.start for n in self.said if close(n.high, result.high, n.step) and n.unit == result.unit}
            again |= {
                n.start for n in self.said if n.ratio and n.spelled and abs(n.high - result.high) <= _ROUGHLY * n.high
            }
        return places | again

    def _leads_to_record(self, equation: Equation, result: Said | None) -> bool:
        """Whether the result is on record, and the digits of each part were told: such a sum says why it is what it is."""
        told = all(f"{p.value:g}" in self.ground.literals for w in equation.parts for p in (w.inner or (w,)))
        return told and result is not None and supported(result, self.text, self.context, self.ground)

    def comes_out(self, equation: Equation) -> bool:
        """Whether a sum is right, wherever its parts come from."""
        return equation.holds(self._canonical)

    def is_wrong(self, equation: Equation) -> bool:
        """Whether a plain product, quotient or sum of two supported numbers and signs alone has another result."""
        written = self.bare[equation.start : equation.end]
        if _PLAIN_SUM.fullmatch(written.strip()) is None or equation.holds(self._canonical):
            return False
        parts = [(part, self.at(part)) for part in equation.parts]
        return all(self._known(p, n, self.at(equation.result)) or _is_constant(p.value, self.text) for p, n in parts)

    def _canonical(self, part: Part) -> float:
        number = self.at(part)
        if number is None or part.exponent or number.low != number.high or part.inner:
            return part.value
        return number.high

    def _known(self, part: Part, number: Said | None, result: Said | None) -> bool:
        """Whether a part of a sum has a source: in its own unit, in that of the result, or as a number on record."""
        ground, value = self.ground, part.value
        again = (n for n in self.said if n is not number and n.low == n.high and n is not result)
        if any(value == n.high or (value == _shown(n) and len(f"{value:g}") > 2) for n in again):
            return True  # it stands there once more, and is judged there
        if any(_same_digits(value, r, part.step) for r in self.results) or value in ground.device_counts:
            return True
        if any(_same_digits(value, e, part.step) for n in self.earlier for e in (n.high, _shown(n))):
            return True
        if any(
            _same_digits(value, f.value, part.step)
            for f in ground.facts
            if (f.kind == "person" or _is_telling(part, f, self.text)) and _may_be(number, f)
        ):
            return True
        if any(f.kind == "person" and f.unit in ("token", "count") and value == f.value - 1 for f in ground.facts):
            return True  # the gaps between so many tokens
        if number is not None and (_is_told(number, ground) or _is_duration(part, ground)):
            return True
        if any(f.unit == "parameter" and f.names & ground.main and close(value, f.value, part.step) for f in cited()):
            return True
        if any(
            _same_digits(value, all_of_them, part.step) for all_of_them in (*_over_devices(ground), *_loads(ground))
        ):
            return True
        if number is None:
            return False
        if _known(number, result, self.text, self.context, ground):
            return True
        return _is_difference(part, [f for f in ground.facts if _may_be(number, f)])


_BYTES = re.compile(r"(?<=[×x*] [1248]) B(?= ?[=≈]| ?[×x*])")
""" "2 × 32 × 2 B = 128 B": bytes, no billions."""
_SIGN = re.compile(r"[×*/÷]|\d x \d")
_DIVIDES = re.compile(r"(?<![\w.,])(?P<a>\d{1,4}) (?:divides|does(?P<no> not|n't) divide) (?:the )?(?P<b>\d{1,6})\b")
"""What divides what is computed, right or wrong."""
_PLAIN_SUM = re.compile(
    r"[$\d.,e]+(?: ?[%A-Za-z/]{1,8})? ?[×x*÷/+−-] ?[$\d.,e]+(?: ?[%A-Za-z/]{1,8})?(?: ?[×x*] ?[$\d.,e]+(?: ?[%A-Za-z/]{1,8})?){0,2} ?[=≈] ?[$\d.,e]+(?: ?(?:k|K|M|B|T|bn|thousand|million|billion|%))?"
)
"""Two numbers and a sign, or factors, and a result: nothing that could be read in two ways."""
_UNITS = frozenset({"s", "byte", "USD"})


def _may_be(number: Said | None, fact: Fact) -> bool:
    """Whether a number with its unit may be this fact: dollars are no points, hours are no bytes."""
    unit, other = number.unit.split()[0] if number is not None else "", fact.unit.split()[0] if fact.unit else ""
    return unit not in _UNITS or unit == other


_ROUGHLY = 0.03


def _shown(number: Said) -> float:
    """The number as its digits say, without its unit."""
    match = re.search(r"\d[\d,]*(?:\.\d+)?", number.words)
    return float(match[0].replace(",", "")) if match else number.high


def _same_digits(value: float, known: float, step: float) -> bool:
    """Whether two numbers are the same but for thousands: "40" of 40B tokens."""
    return any(known and close(value, known * k, min(step, 0.01 * value)) for k in (1.0, 1e3, 1e-3, 1e-6, 1e-9, 1e-12))


def _is_difference(part: Part, facts: list[Fact]) -> bool:
    """Whether a part is what two known numbers of one kind are apart: in points, of a metric; what is left of a whole."""
    known = [f for f in facts if f.kind in ("person", "record") and not f.end and f.unit not in ("n", "level")]
    return any(
        _same_digits(part.value, apart * (100.0 if a.unit == "fraction" and part.value >= 1 else 1.0), part.step)
        for a, b in itertools.combinations(known, 2)
        if a.unit == b.unit and (a.group == b.group or a.unit == "byte") and (apart := abs(a.value - b.value))
    )


def _loads(ground: Ground) -> Iterator[float]:
    """Tokens per second that the person's load asks for: requests times their tokens."""
    asked = [f for f in ground.facts if f.kind == "person"]
    rates = [f.value for f in asked if f.unit == "request/s"]
    lengths = [f.value for f in asked if f.unit in ("token", "count") and f.value >= _SHORTEST]
    lengths += list(map(sum, itertools.combinations(lengths, 2)))
    yield from (rate * length for rate in (1.0, *rates) for length in lengths)


_SHORTEST = 16
"""Tokens that a prompt or an answer has at least: assumed."""
_EACH_OF = {"s": 1 / 3600.0, "USD per hour": 1.0, "byte": 1.0}


def _over_devices(ground: Ground) -> Iterator[float]:
    """What the devices take together, which people take as known: device-hours, dollars an hour, bytes."""
    for fact in ground.facts:
        if fact.unit in _EACH_OF and fact.kind in ("person", "record") and not fact.end:
            yield from (count * fact.value * _EACH_OF[fact.unit] for count in ground.device_counts if count > 1)


def _is_duration(part: Part, ground: Ground) -> bool:
    """Whether a bare number is the hours or days of a record, or those that follow for a training."""
    times = [f.value for f in ground.facts if f.kind == "record" and f.unit == "s" and not f.end]
    times += [f.value for f in identities(ground) if f.unit == "s" and "day" in f.words]
    return any(close(part.value, seconds / span, part.step) for seconds in times for span in (3600.0, 86400.0))


def _is_told(number: Said, ground: Ground) -> bool:
    """Whether its digits, three at least, stand in what was told: a sum that comes out says what it takes."""
    shown = re.search(r"\d[\d,]*(?:\.\d+)?", number.words)
    digits = shown[0].replace(",", "") if shown else ""
    return len(digits.replace(".", "").strip("0")) >= _DIGITS and digits in ground.literals


def _is_telling(part: Part, fact: Fact, text: str) -> bool:
    """Whether a record's number has digits enough that it is not met by chance."""
    digits = len(f"{part.value:g}".replace(".", "").strip("0"))
    least = (
        2 if 0.001 <= abs(part.value / fact.value if fact.value else 0.0) <= 1 else _DIGITS
    )  # thousands of it, or it
    value = not fact.end or OF_INTERVAL.search(text) is not None
    return fact.kind in ("record", "tool") and fact.unit not in ("n", "missed") and value and digits >= least


def _known(number: Said, last: Said | None, text: str, context: str, ground: Ground) -> bool:
    if supported(number, text, context, ground):
        return True
    number = replace(number, ratio=False, unit="count" if number.ratio else number.unit)
    if supported(number, text, context, ground) or _of_the_person(number, ground) or _anywhere(number, ground):
        return True
    shown = _shown(last) if last is not None else 0.0
    scale = last.high / shown if last is not None and shown else 1.0
    if last is None or scale == 1.0:
        return False
    scaled = replace(
        number, low=number.low * scale, high=number.high * scale, step=number.step * scale, unit=last.unit, ratio=False
    )
    return supported(scaled, text, context, ground) or _of_the_person(scaled, ground)


def _anywhere(number: Said, ground: Ground) -> bool:
    """Whether a number of two digits or more is on record at all, as it is or in percent: an open sum says what it takes."""
    digits = re.sub(r"\D", "", number.words).strip("0")
    return len(digits) >= 2 and any(
        fact.kind in ("record", "tool")
        and not fact.end
        and _may_be(number, fact)
        and any(
            close(number.high, fact.value * k, number.step)
            for k in ((1.0, 100.0) if fact.unit in _OF_A_WHOLE else (1.0,))
        )
        for fact in ground.facts
    )


_OF_A_WHOLE = frozenset({"fraction", "ratio", "level", "probability"})
"""Units of what may be said in percent."""


def _of_the_person(number: Said, ground: Ground) -> bool:
    """Whether the person wrote this number: a bare one in whatever unit, dollars only as dollars."""
    return any(
        f.kind == "person" and _may_be(number, f) and close(number.high, f.value, number.step) for f in ground.facts
    )
