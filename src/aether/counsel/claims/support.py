"""Whether a fact says a number: the same value as rounded, the same unit, the same subject, of no model or benchmark that it does not know."""

import itertools
import re
from dataclasses import dataclass, replace

from aether.counsel.claims.facts import Fact, Ground, content_words, noun_after
from aether.counsel.claims.names import benchmarks_in, models_in, without_names
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import Subject, subject_of, traits_of
from aether.counsel.claims.tables import cited
from aether.counsel.claims.wording import HEDGED

RESULT = re.compile(
    r"\b(?:measured|achiev\w*|scor(?:e|es|ed|ing)|reach(?:es|ed)?|attain\w*|obtain\w*|benchmark(?:ed|s)?|observ\w*|deliver(?:s|ed)?|hit(?:s|ting)?|clock\w*|record(?:s|ed)|report(?:s|ed)|"
    r"our (?:tests?|runs?|experiments?|results?)|result(?:s|ed)?|got|gets|came (?:in|out)|yield(?:s|ed)?|improv\w*|outperform\w*|gain(?:s|ed)?|published|typically|usually|generally|normally|commonly|on average|tends? to|tested|evaluat(?:es|ed))\b",
    re.IGNORECASE,
)
OF_THE_PERSON = re.compile(
    r"\b(?:your|you|asked|bound|target|limit|budget|request(?:ed)?|brief|want(?:ed)?|need(?:ed)?|at the load|required?|requirement|allow(?:s|ed)?|given|under a load|constraint|slo|ceiling|cap)\b",
    re.IGNORECASE,
)


MEASURED = re.compile(
    r"\b(?:measured|benchmarked|observed|timed|clocked|profiled|in (?:production|practice))\b", re.IGNORECASE
)
"""Words that say that a number was not computed."""
_OF_INTERVAL = re.compile(
    r"\b(?:(?:to|from|between) (?:about |roughly )?[\d$]|(?:intervals?|range|low|lower|high|higher|upper|ends?|worst|best|bad|good|pessimistic|optimistic|up to|could|may|might|at (?:least|most)|keeps?|relax\w*|wide|uncertain\w*)\b)",
    re.IGNORECASE,
)
"""Words with which an end of an interval is said as one."""
FORMATS = frozenset(
    {
        "int4",
        "int8",
        "fp8",
        "bf16",
        "fp16",
        "nvfp4",
        "mxfp4",
        "nf4",
        "awq",
        "gptq",
        "vllm",
        "sglang",
        "trtllm",
        "lmdeploy",
    }
)
_COUNTED = frozenset({"rank", "layer", "head", "step", "epoch", "point", "seed", "dropout", "score", "expert"})
"""What a person's bare number is of only where they said so."""
_TINY = 0.005
_SHOWN = frozenset(
    {"interval", "intervals", "centre", "center", "middle", "prediction", "predicted", "estimate", "estimated"}
)


def supported(number: Said, text: str, context: str, ground: Ground, *, asked: bool = True, seen: bool = False) -> bool:
    """Whether some fact says this number of what the sentence speaks of. Without `asked`, what the person wrote does not count; with `seen`,
    only what was measured."""
    about = f"{context} {text}"
    words = content_words(about)
    names, benches = models_in(_part_of(text, number)) or models_in(text), benchmarks_in(about)
    results = RESULT.search(text) is not None and not (OF_THE_PERSON.search(text) or HEDGED.search(text))
    facts = [f for f in (*ground.facts, *cited()) if (asked or f.kind != "person") and (f.seen or not seen)]
    subject = subject_of(text, number.start, number.start + len(number.words), context)
    own, every = traits_of(_part_of(text, number)), subject.traits
    if re.search(r"\bfrom\s*$", text[: number.start]):
        own = every = frozenset()  # "from 16.1 GB to 9.08 GB": the first is of what was before
    subject = replace(subject, traits=own or every, several=len((own or every) & FORMATS) > 1)
    brackets = text[: number.start].count("(") > text[: number.start].count(")")
    around = Around(
        words,
        names,
        benches,
        subject,
        results,
        noun_after(text, number),
        brackets,
        brackets or _OF_INTERVAL.search(about) is not None,
    )
    near = text[max(0, number.start - 12) : number.start] + " " + text[number.start + len(number.words) :][:12]
    around = replace(around, counted=content_words(near) & _COUNTED)
    return all(any(holds(number, value, fact, around, ground) for fact in facts) for value in {number.low, number.high})


def _part_of(text: str, number: Said) -> str:
    """The part of a sentence that speaks of this number: up to the parts, between commas and "and", that have numbers of their own."""
    cuts = [0, *(m.end() for m in re.finditer(r"[,;:]\s|\s(?:and|while|but)\s", text)), len(text)]
    parts = list(itertools.pairwise(cuts))
    at = next((i for i, (start, end) in enumerate(parts) if start <= number.start < end), 0)
    low = high = at
    while low > 0 and not re.search(r"\d", without_names(text[slice(*parts[low - 1])])):
        low -= 1
    while high + 1 < len(parts) and not re.search(r"\d", without_names(text[slice(*parts[high + 1])])):
        high += 1
    return text[parts[low][0] : parts[high][1]]


@dataclass(frozen=True)
class Around:
    """What stands around a number: words, models, benchmarks, its subject, and whether the sentence tells of a result."""

    words: frozenset[str]
    names: frozenset[str]
    benchmarks: frozenset[str]
    subject: Subject
    results: bool
    noun: str
    in_brackets: bool = False
    of_interval: bool = False
    counted: frozenset[str] = frozenset()


def holds(number: Said, value: float, fact: Fact, around: Around, ground: Ground) -> bool:
    """Whether a fact says this number of this subject."""
    names = around.names
    if not same_value(number, value, fact) or not around.benchmarks <= fact.benchmarks:
        return False
    if fact.end and not around.of_interval and number.low == number.high:
        return False
    if fact.kind == "person" and fact.unit == "count" and around.counted - fact.words:
        return False
    if fact.kind == "person":
        loose = fact.unit in ("count", "token", "request/s", "parameter")
        return (
            not around.results
            and names <= (fact.names | ground.names)
            and (loose or around.subject.agrees(fact.subject))
        )
    counted = fact.unit == "count" and bool(fact.noun) and fact.noun == around.noun
    if not counted and not (
        around.subject.agrees(fact.subject) and _of_this_option(around.subject, fact.subject, ground)
    ):
        return False
    shared = len(around.words & fact.words)
    if fact.kind == "tool" and number.unit == fact.unit == "count" and 0 < abs(value) < _TINY:
        return True  # a learning rate is of nothing else
    if fact.kind == "cited":
        of = names or (fact.names & ground.main)
        if fact.one_of and not around.words & fact.one_of:
            return False
        return of <= fact.names and (bool(fact.names & of) or not fact.names) and shared >= fact.needed
    if not names <= (fact.names | ground.main) or (fact.names and names and not names & fact.names):
        return False
    if fact.unit == "n":
        return True
    if fact.unit == "outside":
        return number.spelled and bool(around.words & _LEVELS)
    if fact.unit == "level":
        return bool(around.words & _LEVELS) or around.in_brackets
    same_share = around.subject.percentile is not None and around.subject.percentile == fact.subject.percentile
    shown = fact.kind == "record" and around.subject.family is None and bool(around.words & _SHOWN)
    return (
        counted
        or shared >= fact.needed
        or ((same_share or shown) and number.unit == fact.unit not in ("count", "fraction"))
    )


def _of_this_option(asked: Subject, known: Subject, ground: Ground) -> bool:
    """A number of another option than the decided one needs a trait of that option beside it."""
    if not known.traits or not ground.decided or known.traits == ground.decided:
        return True
    return bool(asked.traits) and asked.traits <= known.traits and not asked.traits <= ground.decided


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
    "fraction": {"fraction", "level", "outside", "ratio"},
    "per second": {"request/s", "token/s"},
    "parameter": {"parameter", "count", "token"},
    "token": {"token", "count"},
}


def same_value(number: Said, value: float, fact: Fact) -> bool:
    unit, other = number.unit, fact.unit
    known = fact.value
    if unit.startswith("USD per"):
        if other != "USD" or not (
            unit.split()[-1] in fact.words or (unit.endswith("million") and fact.subject.family == "cost")
        ):
            return False
        unit = "USD"
    if number.ratio:
        return other in ("ratio", "times as fast", "times", "x") and close(value, known, number.step)
    if unit != other and other not in _SAME_UNITS.get(unit, set()):
        if unit == "count" and other == "request/s" and fact.kind == "person":
            return False
        plain_word = unit == "count" and other not in (
            "s",
            "USD",
            "token/s",
            "FLOP/s",
            "byte/s",
            "level",
            "outside",
            "times",
        )
        in_percent = other in ("%", "percent") or (other == "count" and "percent" in fact.words)
        if not (plain_word or (unit == "fraction" and in_percent)):
            return False
        if unit == "fraction":
            known = known / 100
    if unit == "count" and other in ("fraction", "level", "outside"):
        return False
    return close(value, known, number.step) or (known < 0 and close(value, -known, number.step))


def close(said: float, known: float, step: float) -> bool:
    return abs(said - known) <= 0.5 * step * (1 + 1e-6) + 1e-12 * abs(known)
