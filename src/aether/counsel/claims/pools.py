"""What a number of a sentence may be reckoned from, nearest first, and when it may not be reckoned at all.

A sentence that tells of something measured, names a model or benchmark that nothing here is of, or says a value of a metric that is on
record with another value, is no place for reckoning: such a number must be on record itself.
"""

import re
from collections.abc import Iterator

from aether.counsel.claims.arithmetic import is_foreign
from aether.counsel.claims.around import RESULT, Around, around_of, part_of
from aether.counsel.claims.derived import ALL, EACH, ELSEWHERE, LESS, RATIO, Operand
from aether.counsel.claims.facts import Ground
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.reckoning import BOUND, Quantity
from aether.counsel.claims.support import MEASURED
from aether.counsel.claims.wording import HEDGED

_OF_DEVICES = re.compile(
    r"\b(?:GPUs?|cards?|devices?|nodes?|accelerators?|all|total|altogether|each|together|across|cluster|fleet|[AHBLV]\d{1,3}\w*s?|hours?|hourly|days?|daily|months?|monthly|costs?)\b",
    re.IGNORECASE,
)
_DEVICES_HERE = re.compile(r"\d+\s*(?:x|×)?\s*(?:GPU|gpu|device|card|accelerator|[AHBLV]\d{1,3}\w*)s?\b(?![- ]hours?)")
_NOT_RECKONED = re.compile(
    r"\bet al\b|\barXiv\b|\bpapers?\b|\bpublished\b|\bscor\w+\b|\baccura\w+\b|\bquality\b", re.IGNORECASE
)


def may_be_reckoned(number: Said, text: str, context: str, ground: Ground) -> bool:
    """Whether a number may follow from what is on record, by what its sentence says of it."""
    if (
        number.low != number.high
        or _DEVICES_HERE.match(text, number.start)
        or is_foreign(text, ground)
        or _NOT_RECKONED.search(text)
    ):
        return False
    if (RESULT.search(text) or MEASURED.search(text)) and not HEDGED.search(text):
        return False
    around = around_of(number, text, context, ground)
    if around.wished:
        return False
    part = part_of(text, number)
    operated = any(words.search(part) for words in (LESS, ALL, EACH, RATIO)) or re.search(r"[×*/=+]", part)
    return bool(operated) or not _is_on_record(number, around, ground)


def _is_on_record(number: Said, around: Around, ground: Ground) -> bool:
    """Whether the metric that is named has a value on record in this unit, so that this would be another."""
    family = around.subject.family
    return family is not None and any(
        f.kind in ("record", "tool") and f.unit.split()[:1] == number.unit.split()[:1] and f.subject.family == family
        for f in ground.facts
    )


def pool(number: Said, text: str, context: str, ground: Ground, known: list[Operand]) -> Iterator[Quantity]:
    """What it may follow from: `known` are the operands of its sentence and of those before it."""
    counts = _OF_DEVICES.search(f"{text} {context}") is not None
    for one in known:
        if one.start != number.start and (counts or one.unit != "count" or one.start > ELSEWHERE):
            bound = one.start <= ELSEWHERE and one.unit in ("s", "fraction", "USD", "byte")
            yield Quantity(one.value, one.dimensions, one.unit, 0 if one.start >= 0 else 1, BOUND if bound else "")
    if counts:
        yield from (Quantity(float(n), (0, 0, 0, 0), "count", 1) for n in ground.device_counts if n > 1)
