"""Numbers as people read them, and the way back: whether a number in a sentence is the number of a source.

One rung and one number of digits for a value and its interval, chosen so that the interval's width shows two digits.
The way back is strict: a number with fewer than three digits must be the source's own to three digits.
"""

import functools
import math
import re

from aether.spec.evidence import Evidence
from aether.spec.units import DIMENSIONS, humanize, round_significant

_FIRST_NUMBER = re.compile(r"^[-+]?[\d.,]+(?:e[-+]?\d+)?\s*(.*)$")
_RATES = ("FLOP/s", "flop/s", "FLOP", "byte/s")
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_COUNT_PREFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_COUNTED = frozenset({"token", "document", "file", "request", "parameter", "step", "count"})


@functools.cache
def _number() -> re.Pattern[str]:
    """Any number with its unit. Its hundreds of units take a while to compile: who only draws does not wait for it."""
    units = sorted({s for table in DIMENSIONS.values() for s in table if s}, key=len, reverse=True)
    return re.compile(
        r"(?<![\w.])(?<![A-Za-z]-)(?P<sign>[-+−]?)\$?(?P<number>[0-9](?:[0-9,_]*[0-9])?(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?!-gram|-bit)"
        rf"(?:\s?(?P<unit>{'|'.join(re.escape(u) for u in units)})(?![\w/]))?"
    )


def scale(value: float, unit: str) -> tuple[float, str]:
    """The rung on which `value` is said: the factor to divide by, and how the unit is spelled there."""
    if unit in _RATES:
        factor, prefix = next(((f, p) for f, p in _PREFIXES if abs(value) >= f), (1.0, ""))
        return factor, prefix + unit.replace("byte", "B")
    if unit in DIMENSIONS and unit != "count":
        match = _FIRST_NUMBER.match(humanize(value, unit))
        assert match is not None, f"{value} {unit}"
        spelled = match.group(1)
        return DIMENSIONS[unit].get(spelled, 1.0), spelled
    name = "" if unit == "count" else unit if value == 1 or unit not in _COUNTED else f"{unit}s"
    if unit in _COUNTED and abs(value) >= 1e5:
        factor, prefix = next((f, p) for f, p in _COUNT_PREFIXES if abs(value) >= f)
        return factor, f"{prefix} {name}".strip()
    return 1.0, name


def digits_for(evidence: Evidence) -> int:
    """Significant digits for a value: three, or as many as let its interval's width show two, five at most."""
    interval = evidence.interval
    if interval is None or evidence.value == 0 or interval.high == interval.low:
        return 4 if evidence.unit in ("bit/byte", "nat/token") else 3
    width = interval.high - interval.low
    wanted = math.floor(math.log10(abs(evidence.value))) - math.floor(math.log10(width)) + 2
    return min(5, max(3, wanted))


def value_parts(evidence: Evidence) -> tuple[str, str]:
    """The number and its unit, apart: ("1.832", "bit/byte")."""
    factor, spelled = scale(evidence.value, evidence.unit)
    number = plain(evidence.value / factor, digits_for(evidence))
    if evidence.kind == "cited" and evidence.interval is None and "." in number and "e" not in number:
        number = number.rstrip("0").rstrip(".")  # as published: "1.4 times" had no third digit
    return number, spelled


def value_text(evidence: Evidence) -> str:
    """The value with its unit: "1.832 bit/byte"."""
    number, unit = value_parts(evidence)
    return f"{number} {unit}".strip()


def interval_text(evidence: Evidence) -> str:
    """The interval on the value's own rung, without the unit: "1.817–1.847"; nothing for a number without one."""
    if evidence.interval is None:
        return ""
    factor, _ = scale(evidence.value, evidence.unit)
    low, high = evidence.interval.low / factor, evidence.interval.high / factor
    digits = digits_for(evidence)
    if low < 0 or high < 0:
        return f"{plain(low, digits)} to {plain(high, digits)}"
    return f"{plain(low, digits)}–{plain(high, digits)}"


def plain(value: float, digits: int = 3) -> str:
    """`digits` significant digits, zeros at the end kept so that a column of them lines up; whole numbers keep every digit."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    if not 1e-4 <= abs(value) < 1e7:
        return round_significant(value, digits)
    rounded = float(f"{value:.{digits}g}")
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{places}f}"


def setting_text(value: object) -> str:
    """A setting as its record states it: every digit, no unit."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return ", ".join(setting_text(v) for v in value) or "none"
    return str(value)


def says(number: re.Match[str], value: float, unit: str) -> bool:
    """Whether a number found by `numbers_in` is `value` (in the canonical `unit`), rounded as it is printed.

    Without a sign it may be the size of a negative value: words such as "lower" carry the sign.
    """
    printed = number["number"].replace(",", "").replace("_", "")
    said, spelled = float(printed), number["unit"]
    if number["sign"] in ("-", "−"):
        value = -value
    elif not number["sign"]:
        value = abs(value)
    if spelled is not None:
        table = DIMENSIONS.get(unit, {})
        if spelled not in table:
            return False
        value = value / table[spelled]
    if said == 0 or value == 0:
        return said == value
    digits = max(3, len(re.split("[eE]", printed)[0].replace(".", "").lstrip("0")))
    half_step = 0.5 * 10 ** (math.floor(math.log10(said)) - digits + 1)
    return abs(said - value) <= half_step * (1 + 1e-6)


def numbers_in(text: str) -> list[re.Match[str]]:
    """Every number of a sentence with the unit after it, names such as p99 left out."""
    return list(_number().finditer(text))
