"""Numbers that follow from records that the sentence does not say: an error rate from an accuracy, a gain from what was before and after.

Both records are of one metric. Where there are more than two, the sentence names which.
"""

import itertools
import math
import re
from dataclasses import replace

from aether.counsel.claims.around import direction, part_of
from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.labels import AFTER, BEFORE, label_words
from aether.counsel.claims.names import benchmarks_in, models_in
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import subject_of
from aether.counsel.claims.support import supported
from aether.counsel.claims.values import close
from aether.counsel.claims.words import content_words

_ERROR = re.compile(
    r"\b(?:error rates?|errors?|failure rates?|wrong(?:ly)?|incorrect(?:ly)?|missed|fails?|failed)\b", re.IGNORECASE
)
_CHANGE = re.compile(
    r"\b(?:more|less|fewer|lower|higher|better|worse|faster|slower|cheaper|shorter|longer|smaller|larger|gain\w*|gap|differ\w*|ris\w+|rose|drop\w*|f[ae]ll\w*|sav\w+|reduc\w+|cut\w*|improv\w+|increas\w+|"
    r"decreas\w+|shrink\w*|shrank|grow\w*|grew|relative\w*|halv\w+|half|twice|doubl\w+|times|third|quarter|of the base\w*|los[est]\w*|up|down|by|frees?|exceeds?|lea(?:ve|ves|ving)|left|remain\w*|unspent|unused|slack|headroom|margin|spare|beyond|above|below|under|over)\b|\d ?x\b|(?:^|\s)[+-]\$?\d",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\s*(?:fewer|less|more|lower|higher|better|worse)\b", re.IGNORECASE)
RELATIVE = re.compile(
    r"\brelative(?:ly)?\b|\bof the (?:base\w*|original|old|former)\b(?! model)|\bin relation to\b", re.IGNORECASE
)


def implied(number: Said, text: str, context: str, ground: Ground) -> bool:
    """Whether a number follows from one record that is not said, or from two of one metric."""
    rest = text[number.start + len(number.words) :]
    if number.unit == "fraction" and 0 < number.high < 1 and _ERROR.search(text) and not _COMPARED.match(rest):
        turned = replace(number, low=1 - number.high, high=1 - number.low)
        if supported(turned, _ERROR.sub("accuracy", text), context, ground):
            return True
    if "perplexity" in text.lower() and number.unit in ("count", "ratio"):
        losses = [f for f in ground.facts if f.unit == "nat/token" and not f.end]
        if any(close(number.high, math.exp(f.value), number.step) for f in losses):
            return True
    if _together(number, text, ground) or _on_others(number, text, ground):
        return True
    if number.low != number.high or not _CHANGE.search(text):
        return False
    if RELATIVE.search(text):
        text = (
            f"{text} accuracy"
            if any("difference" in f.group for f in ground.facts) and not _words(text) & _QUALITY
            else text
        )
    subject = subject_of(text, number.start, number.start + len(number.words), context)
    words = label_words(f"{context} {text.replace(number.words, ' ', 1)}")
    names, benches = models_in(text), benchmarks_in(f"{context} {part_of(text, number)}")
    benches = benches or benchmarks_in(text)
    groups: dict[str, list[Fact]] = {}
    for fact in ground.facts:
        if (
            fact.group
            and not fact.end
            and fact.kind in ("record", "tool")
            and fact.unit not in ("level", "outside", "tail", "n", "count", "missed")
            and not fact.unit.startswith("times")
        ):
            fits = (
                subject.bare().agrees(fact.subject.bare())
                and (not names or not fact.names or names & fact.names)
                and benches <= fact.benchmarks
            )
            if fits and (
                subject.family is not None
                or fact.words & _words(text)
                or (
                    fact.unit == number.unit
                    and (fact.labels & words or (fact.unit in _HARD and _is_chosen(fact, ground)))
                )
            ):
                groups.setdefault(fact.group, []).append(fact)
    if _of_wish(number, text, ground):
        return True
    return any(_of_pair(number, a, b, text) for facts in groups.values() for a, b in _pairs(facts, words, ground))


def _of_wish(number: Said, text: str, ground: Ground) -> bool:
    """How far what is predicted or measured is from what the person asked for."""
    if not _WISH.search(text):
        return False
    wishes = [f for f in ground.facts if f.asked and f.subject.family is not None and f.unit != "count"]
    records = [
        f
        for f in ground.facts
        if f.kind == "record" and not f.end and f.subject.traits in (frozenset(), ground.decided)
    ]
    return any(
        _of_pair(number, a, b, text)
        for a in wishes
        for b in records
        if a.subject.family == b.subject.family and a.subject.bare().agrees(b.subject.bare())
    )


_TOGETHER = re.compile(r"\b(?:together|between them|combined|all told|altogether|in total|in all)\b", re.IGNORECASE)
_AT_MOST = re.compile(r"\b(?:under|below|less than|at most|up to)\s*$", re.IGNORECASE)
_NEAR_BOUND = 0.8
"""How much of "under half a percent" is there at least: assumed."""


def _together(number: Said, text: str, ground: Ground) -> bool:
    """ "Checkpoints and restarts together cost under 0.5 % of the time": a bound on the sum of the shares that the sentence names."""
    if number.unit != "fraction" or not _TOGETHER.search(text) or not _AT_MOST.search(text[: number.start]):
        return False
    named = content_words(text)
    shares = {
        f.group: f.value
        for f in ground.facts
        if f.kind == "record" and not f.end and f.unit in ("fraction", "ratio") and f.group.endswith("_share")
    }
    parts = [value for group, value in shares.items() if content_words(group.removesuffix("_share")) & named]
    return len(parts) > 1 and _NEAR_BOUND * number.high <= sum(parts) <= number.high


_FEWER = re.compile(r"\bhalf (?:the|as many|of the) (?:GPUs|cards|devices|accelerators)\b|\b(?:twice|double) (?:as long|the time)\b", re.IGNORECASE)  # fmt: skip
_MORE = re.compile(r"\b(?:twice|double) (?:the|as many) (?:GPUs|cards|devices|accelerators)\b|\bhalf (?:as long|the time)\b", re.IGNORECASE)  # fmt: skip
_WOULD = re.compile(r"\b(?:would|could|might|expect|assuming)\b|\w'd\b", re.IGNORECASE)


def _on_others(number: Said, text: str, ground: Ground) -> bool:
    """ "With half the GPUs I would expect about 7.4 days": twice the time on record, said as what would be."""
    factor = 2.0 if _FEWER.search(text) else 0.5 if _MORE.search(text) else 0.0
    if number.unit != "s" or not factor or not _WOULD.search(text):
        return False
    times = (f.value for f in ground.facts if f.kind == "record" and not f.end and f.group in _BUILDS)
    return any(close(number.high, factor * seconds, number.step) for seconds in times)


_BUILDS = frozenset({"build_time", "wall_clock", "training_time"})
_WISH = re.compile(
    r"\b(?:your?|bounds?|targets?|limits?|predict\w+|asked|headroom|slack|budget|slo|goal|margin)\b", re.IGNORECASE
)
_QUALITY = frozenset(["accuracy", "perplexity", "loss", "latency", "throughput", "memory", "cost", "time"])


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z][a-z0-9]{3,}", text.lower()))


_WIDE = frozenset({"bf16", "fp16", "fp32", "unquantised", "unquantized"})
_NARROW = frozenset(
    {"int4", "int8", "fp8", "nvfp4", "mxfp4", "nf4", "awq", "gptq", "quantised", "quantized", "pruned", "distilled"}
)
"""A model as it was, and what compression made of it."""


_SPELLED = 0.12
"""Twice how far "a quarter" may be from it: assumed."""
_HARD = frozenset({"USD", "s", "byte"})


def _is_chosen(fact: Fact, ground: Ground) -> bool:
    return bool(ground.chosen) and fact.subject.traits >= ground.chosen


def _pairs(facts: list[Fact], words: frozenset[str], ground: Ground):
    """Two records of one metric: all there are, or the one that is named with the decided one or another that is named."""
    distinct = list({(f.value, f.labels): f for f in facts}.values())
    if len(distinct) == 2:
        if distinct[0].labels != distinct[1].labels:  # else nothing says which is which
            yield distinct[0], distinct[1]
        return
    shared = frozenset.intersection(*(f.labels for f in distinct)) if distinct else frozenset()
    for a, b in itertools.combinations(distinct, 2):
        named = [bool((f.labels - shared) & words) for f in (a, b)]
        decided = [_is_chosen(f, ground) for f in (a, b)]
        if all(n or d for n, d in zip(named, decided, strict=True)) and any(named):
            yield a, b


_UNNAMED = frozenset({"ratio", "nat/token", "bit/byte"})
"""Units that people leave out."""


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
    relative = RELATIVE.search(text) is not None
    low, high = sorted((a.value, b.value))
    step = number.step + _as_shown(a.value) + _as_shown(b.value)
    if number.unit in ("fraction", "ratio", "point") or number.ratio:
        shares = [high / low, low / high, high / low - 1, 1 - low / high] if low > 0 else []
        if number.unit != "point" and any(
            close(
                number.high,
                s,
                max(number.step, (0.02 if number.high == 0.5 else _SPELLED) * s if number.spelled else 0),
            )
            for s in shares
        ):
            return True
        scale = 0.01 if number.unit == "point" else 1.0
        return (
            a.unit == "fraction"
            and not relative
            and number.unit != "ratio"
            and close(number.high * scale, high - low, number.step * scale)
        )
    return (a.unit == number.unit or (number.unit == "count" and a.unit in _UNNAMED)) and close(
        abs(number.high), high - low, step
    )
