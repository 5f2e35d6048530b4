"""Whether a number that was said and a fact have the same value: as rounded, in the same unit or in one that means the same."""

from aether.counsel.claims.facts import Fact
from aether.counsel.claims.numbers import Said

_SHARE_STEP = 0.01
"""A bare "0.71" may be a share; a bare "0.7" may not."""
_SAME_UNITS = {
    "count": {
        "token",
        "parameter",
        "count",
        "request",
        "ratio",
        "document",
        "step",
        "n",
        "byte",
        "bit/byte",
        "nat/token",
        "fraction",
        "loss",
    },
    "fraction": {"fraction", "level", "outside", "tail", "ratio"},
    "per second": {"request/s", "token/s"},
    "parameter": {"parameter", "count", "token"},
    "token": {"token", "count"},
}


def same_value(number: Said, value: float, fact: Fact) -> bool:
    """Whether a fact has this value, as it is rounded, in a unit that means the same."""
    unit, other = number.unit, fact.unit
    known = fact.value
    if other == "missed":
        return unit == "count" and value == known
    if unit.startswith("USD per"):
        if other != "USD" or not (
            unit.split()[-1] in fact.words or (unit.endswith("million") and fact.subject.family == "cost")
        ):
            return False
        unit = "USD"
    if unit == "USD" and other == "USD per hour" and fact.kind == "person":
        return close(value, known, number.step)
    if unit == "point":
        return _in_points(number, value, fact)
    if number.ratio:
        return (other in ("ratio", "times", "x") or other.startswith("times as")) and close(value, known, number.step)
    if unit != other and other not in _SAME_UNITS.get(unit, set()):
        if unit == "count" and other == "request/s" and fact.kind == "person":
            return False
        plain_word = unit == "count" and other not in (
            "s",
            "USD",
            "USD per hour",
            "USD per million",
            "token/s",
            "FLOP/s",
            "byte/s",
            "level",
            "outside",
            "tail",
            "times",
        )
        in_percent = other in ("%", "percent") or (other == "count" and "percent" in fact.words)
        if not (plain_word or (unit == "fraction" and in_percent)):
            return False
        if unit == "fraction":
            known = known / 100
    if unit == "count" and other in ("fraction", "level", "outside", "tail"):
        return (
            other == "fraction"
            and fact.kind != "person"
            and number.step <= _SHARE_STEP
            and 0 < value < 1
            and close(value, known, number.step)
        )
    return close(value, known, number.step) or (known < 0 and close(value, -known, number.step))


def _in_points(number: Said, value: float, fact: Fact) -> bool:
    """Points are hundredths of a share, or of a score that runs to a hundred. A loss is no gain."""
    scales = {"fraction": 100.0, "count": 1.0, "%": 1.0, "percent": 1.0, "point": 1.0, "ratio": 1.0}
    if fact.kind == "person" and fact.unit not in ("point", "count"):
        return False
    if fact.unit not in scales or (number.spelled and fact.group and "difference" not in fact.group):
        return False
    step = max(number.step, 0.5) if number.spelled else number.step
    return close(value, fact.value * scales[fact.unit], step) or close(value, -fact.value * scales[fact.unit], step)


def close(said: float, known: float, step: float) -> bool:
    """Equal as rounded to `step`."""
    return abs(said - known) <= 0.5 * step * (1 + 1e-6) + 1e-12 * abs(known)
