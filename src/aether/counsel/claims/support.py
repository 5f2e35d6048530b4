"""Whether a fact says a number: the same value as rounded, the same unit, the same subject, of no model or benchmark that it does not know."""

import functools
import re
from dataclasses import replace

from aether.counsel.claims.around import SETTINGS, Around, around_of
from aether.counsel.claims.conditions import Condition, clash
from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.identities import identities
from aether.counsel.claims.names import of_other_kind
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import Subject
from aether.counsel.claims.tables import cited
from aether.counsel.claims.values import close, same_value

MEASURED = re.compile(
    r"\b(?:measured(?! (?:against|relative|in|by|as)\b)|benchmarked|observed|timed|clocked|profiled|in (?:production|practice))\b",
    re.IGNORECASE,
)
"""Words that say that a number was not computed."""
_TINY = 0.005
_SHOWN = frozenset(
    {"interval", "intervals", "centre", "center", "middle", "prediction", "predicted", "estimate", "estimated"}
)


def supported(
    number: Said,
    text: str,
    context: str,
    ground: Ground,
    *,
    asked: bool = True,
    seen: bool = False,
    ran: bool = False,
    told: bool = False,
) -> bool:
    """Whether some fact says this number of what the sentence speaks of. Without `asked`, what the person wrote does not count; with `seen`,
    only what was measured; with `ran`, only what was measured here; with `told`, only what was not: published, or the person's."""
    around = around_of(number, text, context, ground)

    def counts(fact: Fact) -> bool:
        return (
            (asked or fact.kind != "person")
            and (fact.seen or not seen)
            and (fact.ran or not ran)
            and not (told and (fact.ran or (fact.kind == "record" and not fact.seen)))
        )

    def is_known(value: float) -> bool:
        every = _of_value(number, value, ground)
        if number.unit == "parameter" and any(
            key == "size" and close(value, float(size), number.step) and len(around.words & f.words) >= _SHARED
            for f in ground.facts
            if f.kind == "tool"
            for key, size in f.conditions
        ):
            return True  # the size at which a published number was found
        held = (f for f in every if counts(f) and holds(number, value, f, around, ground))
        if not around.conditions:
            return any(True for _ in held)
        kept = [f for f in held if not clash(around.conditions, f.conditions)]
        alike = [f for f in every if f.conditions] if kept else []
        return bool(kept) and not any(
            all(clash({one}, f.conditions) or not _speaks_of(one, f) for f in (*kept, *alike))
            and any(clash({one}, f.conditions) for f in alike)
            for one in around.conditions
        )

    return all(is_known(value) for value in {number.low, number.high})


def _speaks_of(condition: Condition, fact: Fact) -> bool:
    return any(key == condition[0] for key, _ in fact.conditions)


def _of_value(number: Said, value: float, ground: Ground) -> tuple[Fact, ...]:
    """Every fact that has this value: the conversation's, what follows from them, and what is published."""
    if ground.of_value is None or ground.of_value[0] != len(ground.facts):
        ground.of_value = (len(ground.facts), {})
    key = (value, number.unit, number.step, number.ratio, number.spelled)
    found = ground.of_value[1].get(key)
    if found is None:
        own = (f for f in (*ground.facts, *identities(ground)) if same_value(number, value, f))
        found = ground.of_value[1][key] = (*own, *_published(*key))
    return found


@functools.lru_cache(maxsize=4096)
def _published(value: float, unit: str, step: float, ratio: bool, spelled: bool) -> tuple[Fact, ...]:
    """The cited facts of `knowledge` that have this value."""
    number = Said(value, value, unit, step, "", 0, ratio, spelled)
    return tuple(fact for fact in cited() if same_value(number, value, fact))


_SHARED = 2
_EXACT = 0.001
"""What a person asked for is said as it was asked."""
_TELLING = 0.01
"""A rate with three digits is of nothing else in its conversation: assumed."""


def records_of(number: Said, text: str, context: str, ground: Ground) -> list[Fact]:
    """The records that say this number of what the sentence speaks of."""
    around = replace(around_of(number, text, context, ground), labels=frozenset())
    return [f for f in ground.facts if f.kind == "record" and holds(number, number.high, f, around, ground)]


def holds(number: Said, value: float, fact: Fact, around: Around, ground: Ground) -> bool:
    """Whether a fact says this number of this subject."""
    names = around.names
    if not same_value(number, value, fact) or not (around.benchmarks <= fact.benchmarks or fact.kind == "person"):
        return False
    if fact.end and not around.of_interval and number.low == number.high:
        return False
    counted = fact.unit == "count" and bool(fact.noun) and fact.noun == around.noun
    counted = counted or (
        fact.kind == "tool" and number.unit == fact.unit and _counts_rows(value, fact, around, ground)
    )
    if fact.group and not counted and ground.siblings.speaks_of_another(fact.group, fact.labels, around.labels):
        return False
    if _says_otherwise(number, fact, around):
        return False
    if fact.kind == "person":
        if around.wished and not close(value, fact.value, _EXACT * abs(fact.value)):
            return False  # "your budget of 2 USD" is not one of 1.50
        loose = fact.unit in ("count", "token", "request/s", "parameter")
        return (
            not around.results
            and names <= (fact.names | ground.names)
            and (loose or around.subject.agrees(fact.subject))
        )
    if not counted and not (
        around.subject.agrees(fact.subject)
        and (around.pair is not None or _of_this_option(around, fact.subject, ground))
    ):
        return False
    if not counted and not _is_named(fact, around, ground):
        return False
    shared = len(around.words & fact.words)
    if fact.kind == "tool" and number.unit == fact.unit == "count" and 0 < abs(value) < _TINY:
        return True  # a learning rate is of nothing else
    if fact.kind == "cited":
        of = names or fact.names & (ground.names if fact.unit == "byte" else ground.main)
        if number.unit == fact.unit == "parameter" and of <= ground.main and fact.names & of:
            return True  # "the teacher (14B)"
        if fact.one_of and not around.words & fact.one_of:
            return False
        return of <= fact.names and (bool(fact.names & of) or not fact.names) and shared >= fact.needed
    if not names <= (fact.names | ground.main) or of_other_kind(names, fact.names):
        return False
    if fact.unit in _SPECIAL:
        return _special(number, fact, around)
    same_share = around.subject.percentile is not None and around.subject.percentile == fact.subject.percentile
    same_share = same_share or (around.pair is not None and fact.subject.percentile in around.pair)
    shown = fact.kind == "record" and around.subject.family is None and bool(around.words & _SHOWN)
    told_by_unit = (
        number.step < _TELLING * abs(value)
        and number.unit == fact.unit
        and (number.unit == "request/s" or (fact.kind == "record" and around.of_wish and number.unit in _TOLD))
    )
    return (
        counted
        or told_by_unit
        or shared >= (0 if fact.kind == "record" and around.benchmarks & fact.benchmarks else fact.needed)
        or _is_alone(number, fact, around)
        or ((same_share or shown) and number.unit == fact.unit not in ("count", "fraction"))
    )


def _is_alone(number: Said, fact: Fact, around: Around) -> bool:
    """A record's number of three digits that stands without a unit, where its part of the sentence names no metric: "bet on 2.73"."""
    bare = (number.unit == "count" or number.ratio) and not number.spelled and not around.noun and not around.results
    return (
        bare and fact.kind == "record" and around.subject.family is None and number.step < _TELLING * abs(number.high)
    )


_MANY = 100
_FUNCTION_WORDS = frozenset(["were", "was", "are", "is", "of", "more", "other", "had", "have", "got", "did", "layout"])


def _counts_rows(value: float, fact: Fact, around: Around, ground: Ground) -> bool:
    """A count of three digits out of a tool's table that stands nowhere else: what it counts is said in other words."""
    if (
        fact.unit != "count"
        or value < _MANY
        or not fact.group
        or around.subject.family
        or around.noun not in _FUNCTION_WORDS
    ):
        return False
    return {f.group for f in ground.facts if f.kind == "tool" and f.value == value} == {fact.group}


def _says_otherwise(number: Said, fact: Fact, around: Around) -> bool:
    """Whether the words around a number speak against this fact: praise against a loss, a fall against a gain, eight bits against four."""
    if (
        number.unit in ("point", "fraction")
        and "loss" in fact.words
        and around.praised
        and "difference" not in fact.group
    ):
        return True
    if around.wished and fact.kind != "person":
        return True
    of_own = number.unit == _OWN.get(around.subject.family or "")
    if of_own and fact.subject.family is None and fact.kind in ("record", "cited"):
        return True
    if number.ratio and ("pace", "slower") in fact.conditions and not {c for c in around.conditions if c[0] == "pace"}:
        return ("pace", "faster") not in fact.conditions
    if "difference" in fact.group and around.direction * fact.value < 0:
        return True
    if around.total and fact.unit == "byte" and "device" in fact.words:
        return True
    if around.bits and number.low == number.high and number.unit != "parameter" and not _has_bits(fact, around.bits):
        return True
    one_device = "per_device" in fact.source or "per device" in fact.source
    if number.unit == "token/s" and around.each != one_device and fact.kind in ("record", "tool"):
        return True
    counts_own = fact.kind in ("person", "tool") and not fact.group
    return bool(fact.unit == "count" and (around.counted if counts_own else around.counted & SETTINGS) - fact.words)


def _is_named(fact: Fact, around: Around, ground: Ground) -> bool:
    """Whether a bare count of a table with several rows is told from the others'."""
    many = fact.kind == "tool" and fact.unit == "count" and ground.siblings.are_many(fact.group)
    return (
        not many
        or around.other
        or bool(around.labels & fact.labels)
        or bool(around.subject.traits & fact.subject.traits)
    )


_OWN = {"mfu": "fraction", "ttft": "s", "itl": "s", "tpot": "s"}
"""Metrics whose records always say that they are of them, and their units."""
_TOLD = frozenset({"s", "byte", "USD", "token/s"})
_SPECIAL = frozenset(["n", "missed", "outside", "level", "tail"])


def _special(number: Said, fact: Fact, around: Around) -> bool:
    """Numbers that come with a record: how many it rests on, how many were wrong, the level of its interval."""
    if fact.unit == "missed":
        return bool(around.words & _MISSED)
    if fact.unit == "outside":
        return number.spelled and bool(around.words & _LEVELS)
    if fact.unit == "tail":
        return number.spelled and bool(around.words & _LEVELS) and bool(around.words & _ONE_SIDE)
    if fact.unit == "n":
        return not (around.results and not around.noun)  # a result that is reached is no number of items
    return bool(around.words & _LEVELS) or around.in_brackets


_WIDTHS = {
    "4": ("int4", "nf4", "nvfp4", "mxfp4", "w4", "4bit", "4 bit", "4-bit", "four"),
    "8": ("int8", "fp8", "w8", "8bit", "8 bit", "8-bit", "eight"),
    "16": ("bf16", "fp16", "16bit", "16 bit", "16-bit", "a16"),
}


def _has_bits(fact: Fact, bits: frozenset[str]) -> bool:
    """Whether a fact that is of a number format is of one of that width."""
    about = " ".join([fact.source, *fact.labels, *fact.subject.traits, *fact.words]).lower()
    found = {width for width, names in _WIDTHS.items() if any(name in about for name in names)}
    asked = {{"four": "4", "eight": "8", "sixteen": "16"}.get(b.lower(), b) for b in bits}
    return not found or bool(found & asked)


def _of_this_option(around: Around, known: Subject, ground: Ground) -> bool:
    """A number of another option than the decided one needs a trait of that option beside it."""
    asked = around.subject
    if around.other and around.mentioned & known.traits - ground.decided:
        return True  # "rather than 66.4 ms for option 4"
    if any(option == known.traits for option in around.options):
        return True  # "option 5 ... from 297 ms to 389 ms, against option 4"
    if not known.traits or not ground.decided or known.traits == ground.decided or known.traits in ground.alone:
        return True
    named = asked.traits & known.traits if asked.several else asked.traits
    return bool(named) and named <= known.traits and not named <= ground.decided


_MISSED = frozenset(
    ["wrong", "wrongly", "error", "missed", "incorrect", "incorrectly", "fail", "failed", "failure", "mistake"]
)
_ONE_SIDE = frozenset(
    [
        "above",
        "below",
        "beyond",
        "end",
        "side",
        "worse",
        "better",
        "higher",
        "lower",
        "upper",
        "exceed",
        "more",
        "less",
        "slower",
        "keep",
    ]
)
_LEVELS = frozenset(
    {
        "interval",
        "intervals",
        "true",
        "value",
        "outside",
        "inside",
        "confidence",
        "probability",
        "chance",
        "sure",
        "range",
        "likely",
        "end",
    }
)
