"""What a number in a sentence is of: the metric and the percentile that are named nearest to it, and the traits of the option.

A metric before a number speaks of it until the next one is named; one after it does only right after it ("400 ms to the first token").
"""

import re
from dataclasses import dataclass

from aether.counsel.claims.numbers import Said

_FAMILIES = {
    "ttft": r"ttft\w*|(?:time|ms|seconds?) to (?:the )?first tokens?|first[- ]tokens?",
    "itl": r"itl\w*|inter[- ]?token|between (?:two )?tokens|token gap",
    "tpot": r"tpot\w*|(?:time )?per output token|time per token|(?:ms|milliseconds?) (?:per|a|for each) token|per token(?!s)",
    "e2e": r"e2e\w*|end[- ]to[- ]end|whole requests?|total latency|response time",
    "throughput": r"throughput|tokens? per second|tok(?:en)?s?/s|tps",
    "memory": r"(?:device |gpu |peak )?memory|vram|hbm|holds?|weights",
    "cost": r"costs?|price[sd]?|usd per|per million tokens|bills?|(?:spend|spent) of",
    "mfu": r"mfu|model flops? utili[sz]ation",
    "quality": r"quality loss|perplexity|accuracy|score[sd]?",
    "bandwidth": r"bandwidth",
    "p_value": r"p[- ]?values?|p(?= ?[=<≈])",
    "layers": r"layers?",
    "heads": r"heads?(?!-up)",
}
_FAMILY = re.compile("|".join(f"(?P<{name}>\\b(?:{words})\\b)" for name, words in _FAMILIES.items()), re.IGNORECASE)
_PERCENTILE = re.compile(
    r"\bp(50|90|95|99)\b|\b(50|90|95|99)th percentile|\b(median|half of (?:all |the |your )?(?:requests|users|answers))\b|\b(50|90|95|99) (?:in|of|out of) (?:every )?100\b|\b(tails?|slowest (?:one|1)(?: request)? in (?:a |every |one )?(?:hundred|100))\b",
    re.IGNORECASE,
)
_TRAIT = re.compile(
    r"\b(?:(?:tp|pp|ep|dp|cp|zero|zero-)\s?=?\s?\d+|int4|int8|fp8|bf16|fp16|nvfp4|mxfp4|nf4|awq|gptq|vllm|sglang|trtllm|tensorrt-llm|lmdeploy|tensor[- ]parallel(?:ism)? (?:of )?\d+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Subject:
    """None and an empty set: not named."""

    family: str | None = None
    percentile: str | None = None
    traits: frozenset[str] = frozenset()
    several: bool = False
    """Its traits are those of a sentence about more than one option: one of them is enough."""

    def agrees(self, other: "Subject") -> bool:
        """Whether both can be the same thing: what both name is the same."""
        family = (
            self.family is None
            or other.family is None
            or self.family == other.family
            or {self.family, other.family} <= {"itl", "tpot"}
        )
        percentile = self.percentile is None or other.percentile is None or self.percentile == other.percentile
        traits = (
            not self.traits
            or not other.traits
            or self.traits <= other.traits
            or (self.several and bool(self.traits & other.traits))
        )
        return family and percentile and traits

    def bare(self) -> "Subject":
        """The same of any option."""
        return Subject(self.family, self.percentile)


_NO_TIMES = frozenset({"throughput", "memory", "mfu", "bandwidth", "quality", "cost"})
_NO_BYTES = frozenset({"mfu", "quality", "cost", "p_value"})


def by_unit(number: Said, subject: Subject) -> Subject:
    """What the unit says of it: tokens per second are a throughput and dollars a cost, unless their part of the sentence names another."""
    if number.unit == "s" and subject.family in _NO_TIMES:
        return Subject(None, subject.percentile, subject.traits)
    if number.unit == "byte" and subject.family in _NO_BYTES:
        return Subject(None, subject.percentile, subject.traits)
    if number.unit == "fraction" and not number.spelled and subject.family == "cost":
        return Subject(None, subject.percentile, subject.traits)
    if number.unit == "token/s" and subject.family not in ("throughput", "tpot", "itl"):
        return Subject("throughput", None, subject.traits)
    if number.unit in ("USD", "USD per million", "USD per hour") and subject.family != "cost":
        return Subject("cost", None, subject.traits)
    return subject


NAMELESS = Subject()
"""Nothing is named."""


def subject_of(text: str, start: int, end: int, context: str = "") -> Subject:
    """The subject of what stands at `start` to `end`; what the sentence leaves open is taken from its context."""
    text, context = text.replace("_", " "), context.replace("_", " ")
    family = _nearest(_FAMILY, text, start, end, lambda m: str(m.lastgroup)) or _only(
        _FAMILY, context, lambda m: str(m.lastgroup)
    )
    percentile = _nearest(_PERCENTILE, text, start, end, _share) or _only(_PERCENTILE, context, _share)
    return Subject(family, percentile, traits_of(f"{text} {context}"))


def of_metric(metric: str, about: str = "") -> Subject:
    """The subject of a record by its metric's name, as in "ttft_p99", and what it is about."""
    plain = metric.replace("_", " ")
    return Subject(
        _only(_FAMILY, plain, lambda m: str(m.lastgroup)), _only(_PERCENTILE, plain, _share), traits_of(about)
    )


def traits_of(text: str) -> frozenset[str]:
    """Layout, format and engine that a text names."""
    found = {re.sub(r"[\s=-]", "", m[0].lower()) for m in _TRAIT.finditer(text)}
    return frozenset(re.sub(r"^tensorparallel(?:ism)?(?:of)?", "tp", t).replace("tensorrtllm", "trtllm") for t in found)


def percentiles_in(text: str) -> frozenset[str]:
    """Every percentile that a text names."""
    return frozenset(_share(m) for m in _PERCENTILE.finditer(text))


def _share(match: re.Match[str]) -> str:
    return "50" if match[3] else "99" if match[5] else match[1] or match[2] or match[4]


def _nearest(pattern, text: str, start: int, end: int, name) -> str | None:
    before = list(pattern.finditer(text, 0, start))
    after = next(pattern.finditer(text, end), None)
    if after is not None:
        between = re.sub(r"\bp\d\d\b", " ", text[end : after.start()])
        close = len(between.split()) <= 3 and not re.search(r"[,;:|()]|\band\b|\bor\b|\d", between)
        if close:
            return name(after)
    return name(before[-1]) if before else None


def _only(pattern, text: str, name) -> str | None:
    found = {name(m) for m in pattern.finditer(text)}
    return found.pop() if len(found) == 1 else None
