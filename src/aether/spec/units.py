"""Quantities as people write them ("250 ms", "1.5 GiB", "7B", "10 min") and as Aether keeps them: SI base units.

One canonical unit per dimension; a value in a record or in a variable is always in it. Not a general unit library:
only the dimensions that a brief or a report speaks of.
"""

import math
import re
from typing import NamedTuple

from aether.spec.errors import InputError


class Unit(NamedTuple):
    """A spelling of a unit: its dimension's canonical unit and the factor to it."""

    canonical: str
    factor: float


_SECOND = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_SECOND |= {"min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0}
_SECOND |= {"d": 86400.0, "day": 86400.0, "days": 86400.0, "week": 604800.0, "weeks": 604800.0}
_BYTE = {"B": 1.0, "byte": 1.0, "bytes": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_BYTE |= {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
_RATE = {"token/s": 1.0, "tokens/s": 1.0, "tok/s": 1.0}
_REQUEST_RATE = {"request/s": 1.0, "requests/s": 1.0, "req/s": 1.0}
_MONEY = {"USD": 1.0, "usd": 1.0, "$": 1.0, "dollars": 1.0}
_FRACTION = {"": 1.0, "fraction": 1.0, "%": 0.01}
_BITS_PER_BYTE = {"bit/byte": 1.0, "bits/byte": 1.0, "bpb": 1.0, "": 1.0}
_COUNT = {"": 1.0, "count": 1.0, "K": 1e3, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}

DIMENSIONS: dict[str, dict[str, float]] = {
    "s": _SECOND,
    "byte": _BYTE,
    "token/s": _RATE,
    "request/s": _REQUEST_RATE,
    "USD": _MONEY,
    "fraction": _FRACTION,
    "bit/byte": _BITS_PER_BYTE,
    "count": _COUNT,
}
"""Canonical unit -> every accepted spelling and its factor to the canonical unit."""

_QUANTITY = re.compile(r"^\s*(\$)?\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S.*?)?\s*$")


def to_canonical(value: float, spelling: str, canonical: str, field: str = "unit") -> float:
    """`value` given in `spelling`, as a number in the `canonical` unit of its dimension.

    Raises InputError when the spelling does not belong to that dimension.
    """
    if not math.isfinite(value):
        raise InputError.of(field, value, "give a finite number")
    accepted = DIMENSIONS[canonical]
    if spelling not in accepted:
        raise InputError.of(field, spelling, f"use one of {', '.join(s or '(none)' for s in accepted)}")
    return value * accepted[spelling]


def parse_quantity(text: str, canonical: str, field: str = "value") -> float:
    """ "250 ms" with canonical "s" gives 0.25. Raises InputError naming `field` for anything else."""
    match = _QUANTITY.match(text)
    if match is None:
        raise InputError.of(
            field, text, f"write a number and a unit of {canonical}, for example {example(canonical)!r}"
        )
    dollar, number, spelling = match.groups()
    return to_canonical(float(number.replace("_", "")), dollar or spelling or "", canonical, field)


def example(canonical: str) -> str:
    """A quantity of this dimension as a person would write it."""
    return {
        "s": "250 ms",
        "byte": "1.5 GB",
        "token/s": "200 tokens/s",
        "request/s": "4 requests/s",
        "USD": "0.50 USD",
        "fraction": "35 %",
        "bit/byte": "1.6 bit/byte",
        "count": "7 B",
    }[canonical]


_LADDERS: dict[str, list[tuple[float, float, str]]] = {
    "s": [
        (86400 * 2, 86400, "d"),
        (5400, 3600, "h"),
        (120, 60, "min"),
        (1, 1, "s"),
        (1e-3, 1e-3, "ms"),
        (0, 1e-6, "µs"),
    ],
    "byte": [(1e12, 1e12, "TB"), (1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"), (0, 1, "B")],
    "count": [(1e12, 1e12, " T"), (1e9, 1e9, " B"), (1e6, 1e6, " M"), (1e4, 1e3, " k"), (0, 1, "")],
    "parameter": [(1e12, 1e12, "T parameters"), (1e9, 1e9, "B parameters"), (1e6, 1e6, "M parameters")],
    "token": [(1e12, 1e12, "T tokens"), (1e9, 1e9, "B tokens"), (1e6, 1e6, "M tokens")],
    "fraction": [(0, 0.01, "%")],
}


def humanize(value: float, canonical: str, digits: int = 3) -> str:
    """A canonical value as a person reads it: humanize(0.25, "s") == "250 ms"."""
    factor, spelling = _rung(value, canonical)
    return f"{round_significant(value / factor, digits)}{spelling}".rstrip()


def humanize_range(low: float, high: float, value: float, canonical: str) -> str:
    """The two ends of a value, said as the value is: humanize_range(0.00044, 0.004, 0.0014, "s") == "0.44 to 4 ms".

    Empty where both ends are said as the value itself.
    """
    factor, spelling = _rung(value, canonical)
    ends = [round_significant(end / factor) for end in (low, high)]
    return "" if set(ends) == {round_significant(value / factor)} else f"{ends[0]} to {ends[1]}{spelling}".rstrip()


def _rung(value: float, canonical: str) -> tuple[float, str]:
    for floor, factor, spelling in _LADDERS.get(canonical, []):
        if abs(value) >= floor:
            return factor, spelling if spelling.startswith(" ") else f" {spelling}"
    return 1.0, f" {canonical}"


def round_significant(value: float, digits: int = 3) -> str:
    """`digits` significant digits without an exponent for ordinary sizes; whole numbers keep every digit."""
    if value == 0:
        return "0"
    if abs(value) >= 10**digits and abs(value) < 1e7:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.{digits - 1}e}"
