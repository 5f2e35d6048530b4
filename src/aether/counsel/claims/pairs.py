"""What two values of one metric are apart, where the sentence says one at most: a gain from what was before and after, the slack to what
was asked for, how much faster one option is than another.

Each side must be known: said in the sentence, named by what sets it apart, asked for by the person, or of the decided option. Where there
are two in all, they are the two.
"""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace

from aether.counsel.claims.around import direction, part_of
from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.labels import AFTER, BEFORE, label_words
from aether.counsel.claims.names import benchmarks_in, models_in
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import Subject, subject_of, traits_of
from aether.counsel.claims.support import supported
from aether.counsel.claims.values import close, same_value
from aether.counsel.claims.words import content_words

_CHANGE = re.compile(
    r"\b(?:more|less|fewer|lower|higher|better|worse|faster|slower|cheaper|shorter|longer|smaller|larger|gain\w*|gap|differ\w*|ris\w+|rose|drop\w*|f[ae]ll\w*|sav\w+|reduc\w+|cut\w*|improv\w+|increas\w+|"
    r"decreas\w+|shrink\w*|shrank|grow\w*|grew|relative\w*|halv\w+|half|twice|doubl\w+|times|third|quarter|of the base\w*|los[est]\w*|up|down|by|frees?|exceeds?|lea(?:ve|ves|ving)|left|remain\w*|unspent|unused|slack|headroom|margin|spare|beyond|above|below|under|over)\b|\d ?x\b|(?:^|\s)[+-]\$?\d",
    re.IGNORECASE,
)
RELATIVE = re.compile(
    r"\brelative(?:ly)?\b|\bof the (?:base\w*|original|old|former)\b(?! model)|\bin relation to\b", re.IGNORECASE
)
_WISH = re.compile(
    r"\b(?:your?|bounds?|targets?|limits?|predict\w+|asked|headroom|slack|budget|slo|goal|margin)\b", re.IGNORECASE
)
_ESTIMATE = re.compile(r"\b(?:above|below|over|under|beyond|than) the (?:\w+ )?(?:estimate|prediction|predicted|expected|central|point)\b", re.IGNORECASE)  # fmt: skip
_SPEED = re.compile(r"\b(?:fast|faster|slow|slower|speed|quick|quicker)\b", re.IGNORECASE)
_APART = frozenset({"level", "outside", "tail", "n", "count", "missed"})
"""Units of what comes with a record, and of bare counts: they have no siblings."""
_HARD = frozenset({"USD", "s", "byte"})
_SPEEDS = frozenset({"tpot", "itl", "ttft", "throughput", "e2e"})
_WIDE = frozenset({"bf16", "fp16", "fp32", "unquantised", "unquantized"})
_NARROW = frozenset(
    {"int4", "int8", "fp8", "nvfp4", "mxfp4", "nf4", "awq", "gptq", "quantised", "quantized", "pruned", "distilled"}
)
"""A model as it was, and what compression made of it."""
_SPELLED = 0.12
"""Twice how far "a quarter" may be from it: assumed."""
_UNNAMED = frozenset({"ratio", "nat/token", "bit/byte"})
"""Units that people leave out."""


def apart(number: Said, said: list[Said], text: str, context: str, ground: Ground) -> bool:
    """Whether a number is a difference, share or ratio of two values of one metric."""
    if number.low != number.high or not (number.ratio or _CHANGE.search(text)):
        return False
    subject = subject_of(text, number.start, number.start + len(number.words), context)
    others = [n for n in said if n.start != number.start and not n.ratio]
    groups: dict[object, list[Fact]] = {}
    for fact in _alike(number, subject, others, text, context, ground):
        family = fact.subject.family
        group = "" if fact.unit == "count" else fact.group if family in (None, "quality") else family
        groups.setdefault((fact.unit, group), []).append(fact)
    words = label_words(f"{context} {text.replace(number.words, ' ', 1)}")
    return any(
        _of_pair(number, a, b, text) for facts in groups.values() for a, b in _pairs(facts, words, others, text, ground)
    )


def of_one(number: Said, text: str, context: str, ground: Ground) -> bool:
    """Whether a number is what one record leaves of a whole (an error rate from an accuracy), or the perplexity of a loss."""
    rest = text[number.start + len(number.words) :]
    if number.unit == "fraction" and 0 < number.high < 1 and _ERROR.search(text) and not _COMPARED.match(rest):
        turned = replace(number, low=1 - number.high, high=1 - number.low)
        if supported(turned, _ERROR.sub("accuracy", text), context, ground):
            return True
    if "perplexity" not in text.lower() or number.unit not in ("count", "ratio"):
        return False
    return any(
        close(number.high, math.exp(f.value), number.step) for f in ground.facts if f.unit == "nat/token" and not f.end
    )


_ERROR = re.compile(
    r"\b(?:error rates?|errors?|failure rates?|wrong(?:ly)?|incorrect(?:ly)?|missed|fails?|failed)\b", re.IGNORECASE
)
_COMPARED = re.compile(r"\s*(?:fewer|less|more|lower|higher|better|worse)\b", re.IGNORECASE)


def _alike(
    number: Said, subject: Subject, others: list[Said], text: str, context: str, ground: Ground
) -> Iterator[Fact]:
    """The facts that the sentence may be about."""
    names, named = models_in(text), _words(text)
    benches = benchmarks_in(f"{context} {part_of(text, number)}") or benchmarks_in(text)
    labels = label_words(f"{context} {text.replace(number.words, ' ', 1)}")
    wish, quick = _WISH.search(text) is not None, number.ratio and _SPEED.search(text) is not None
    spoken = {n.unit.split()[0] for n in others} & _HARD if number.ratio and subject.family is None else set()
    relative = RELATIVE.search(text) is not None
    for fact in ground.facts:
        counts_steps = fact.unit == "count" and "step" in fact.words & content_words(text) and fact.kind == "record"
        if (fact.unit in _APART and not counts_steps) or fact.unit.startswith("times"):
            continue
        if not subject.bare().agrees(fact.subject.bare()) and not (quick and fact.subject.family in _SPEEDS):
            continue
        if fact.kind == "person":
            if wish and fact.asked and fact.subject.family is not None:
                yield fact
            continue
        if not fact.group or fact.kind not in ("record", "tool") or not benches <= fact.benchmarks:
            continue
        if names and fact.names and not names & fact.names:
            continue
        if (
            subject.family is not None
            or fact.words & named
            or (quick and fact.subject.family in _SPEEDS)
            or (relative and "accuracy" in fact.words)
            or fact.unit in spoken
            or (fact.unit == number.unit and (fact.labels & labels or fact.unit in _HARD))
        ):
            yield fact


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z][a-z0-9]{3,}", text.lower()))


def _pairs(
    facts: list[Fact], words: frozenset[str], others: list[Said], text: str, ground: Ground
) -> Iterator[tuple[Fact, Fact]]:
    """Two values of one metric, each of which the sentence points at."""
    ends, quick, named = _ESTIMATE.search(text) is not None, _SPEED.search(text) is not None, traits_of(text)
    own = [f for f in facts if not f.end]
    found = list({(float(f"{f.value:.3g}"), f.labels): f for f in own if f.kind != "person"}.values())
    if len(found) == 2 and found[0].labels != found[1].labels:  # else nothing says which is which
        yield found[0], found[1]

    def points(fact: Fact, other: Fact) -> int:
        """2: named by what the other is not, or said; 1: of the decided option; 0: not at all."""
        spoken = any(same_value(n, n.high, fact) for n in others)
        if fact.end:
            return 2 if ends and spoken else 0
        if spoken or fact.kind == "person" or (fact.labels - other.labels) & words:
            return 2
        decided = bool(ground.chosen) and fact.subject.traits >= ground.chosen
        unnamed = quick and len(named) == 1 and named <= other.subject.traits and not fact.subject.traits & named
        return int(decided or unnamed or fact.unit == "count" or (other.kind == "person" and not fact.subject.traits))

    every = [*found, *(f for f in facts if f.end or f.kind == "person")]
    for a, b in itertools.combinations(every, 2):
        if a.subject.bare().agrees(b.subject.bare()) and sorted((points(a, b), points(b, a))) in ([1, 2], [2, 2]):
            yield a, b


def _as_shown(value: float) -> float:
    """The last digit of a number as tools show it, with three: people subtract what they see."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 0.0


def _of_pair(number: Said, a: Fact, b: Fact, text: str) -> bool:
    if a.unit != b.unit or a.value == b.value:
        return False
    for before, after in ((a, b), (b, a)):
        if (
            before.labels & (BEFORE | _WIDE)
            and after.labels & (AFTER | _NARROW)
            and direction(text) * (after.value - before.value) < 0
            and "perplexity" not in a.group
            and "loss" not in a.group
        ):
            return False
    low, high = sorted((a.value, b.value))
    if number.unit in ("fraction", "ratio", "point") or number.ratio:
        shares = [high / low, low / high, high / low - 1, 1 - low / high] if low > 0 else []
        wide = (0.02 if number.high == 0.5 else _SPELLED) if number.spelled else 0.0
        if number.unit != "point" and any(close(number.high, s, max(number.step, wide * s)) for s in shares):
            return True
        scale = 0.01 if number.unit == "point" else 1.0
        absolute = a.unit == "fraction" and RELATIVE.search(text) is None and number.unit != "ratio"
        return absolute and close(number.high * scale, high - low, number.step * scale)
    step = number.step + _as_shown(a.value) + _as_shown(b.value)
    return (a.unit == number.unit or (number.unit == "count" and a.unit in _UNNAMED)) and close(
        abs(number.high), high - low, step
    )
