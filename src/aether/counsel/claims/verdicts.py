"""Judgements in words about options that a tool laid side by side: "meets the target", "has the lowest cost". Each is looked up in the tool's table."""

import re
from collections.abc import Iterator

from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.subjects import subject_of, traits_of
from aether.counsel.claims.wording import is_denied

_VERDICT = re.compile(
    r"\b(?P<verb>meets?|met|hits?|keeps?|satisf(?:y|ies|ied)|miss(?:es|ed)?|fails?|failed|breaks?|violat(?:es|ed|e))\s+(?:the|your|its|all|every|both|this|that|our)\s+(?:\w+\s+){0,2}?(?:targets?|bounds?|slos?|limits?|requirements?)\b",
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"\b(?:targets?|bounds?|slos?|limits?|requirements?)\b(?: \w+){0,2}? (?:are|is) (?:all |both |each )?(?P<verb>met|kept|satisfied|missed|violated|broken)\b",
    re.IGNORECASE,
)
_SIGNIFICANT = re.compile(
    r"\bsignifican\w+ at (?:the |a )?(?:level (?:of )?)?(?P<level>\d+(?:\.\d+)?) ?(?:%|per ?cent)(?: (?:significance )?level)?",
    re.IGNORECASE,
)
_EVERY = re.compile(r"\b(?:all|every|each|both)\b(?: \w+){0,3}? (?:options?|layouts?)\b[^.;]{0,12}$", re.IGNORECASE)
_MISSES = re.compile(r"miss|fail|br[eo]|violat", re.IGNORECASE)
_NO_LOSS = re.compile(
    r"\b(?:no|zero|without(?: any)?) (?:known |predicted )?(?:quality|accuracy) loss\b|\b(?:quality|accuracy) loss (?:is|of|at) (?:zero|0 ?%?)(?![\w.])",
    re.IGNORECASE,
)
_SUPERLATIVE = re.compile(
    r"\b(?:the )?(?P<word>lowest|smallest|(?<!at )least|cheapest|fastest|quickest|shortest|longest|highest|largest|biggest|slowest|greatest|most expensive|second[- ](?:lowest|cheapest|fastest|smallest))\b(?P<what>[^.,;:]{0,40})",
    re.IGNORECASE,
)
_LEAST = frozenset({"lowest", "smallest", "least", "cheapest", "fastest", "quickest", "shortest"})
_AMONG_SOME = re.compile(
    r"\s*(?:\w+ ){0,2}?(?:of (?:those|the ones|these|the (?:two|three|four|engines))|that|which|with|among)\b",
    re.IGNORECASE,
)
_OF_ALL = re.compile(
    r"\b(?:of (?:all|the|these|those|them)|among|overall|here|in the (?:table|plan|list)|option|layout|format|variant)\b",
    re.IGNORECASE,
)


def verdict_stands(text: str, ground: Ground) -> bool | None:
    """Whether "meets the target" or "misses it" is what the tool said of the option that is named; None where nothing is claimed or known."""
    match = _VERDICT.search(text) or _PASSIVE.search(text)
    if match is None or is_denied(text) or not ground.verdicts:
        return None
    if _EVERY.search(text[: match.start()]):
        return set(ground.verdicts.values()) == {"missed" if _MISSES.match(match["verb"]) else "met"}
    numbered = frozenset(f"option{m[1]}" for m in re.finditer(r"\b(?:option|row) (\d+)\b", text, re.IGNORECASE))
    if numbered:
        found = {verdict for traits, verdict in ground.verdicts.items() if numbered & traits}
        wanted = "missed" if _MISSES.match(match["verb"]) else "met"
        return found == {wanted} if found else None
    named = traits_of(text) or ground.decided
    found = {verdict for traits, verdict in ground.verdicts.items() if named and named <= traits}
    if not found:
        return None
    wanted = "missed" if _MISSES.match(match["verb"]) else "met"
    return wanted in found


def without_verdict(text: str) -> str:
    """The text without the words that were judged here."""
    return _PASSIVE.sub(_blank, _VERDICT.sub(_blank, text))


def without_known_loss(text: str, ground: Ground) -> str:
    """The text without "no quality loss", where a tool gave the option that is named a loss of nothing."""
    named = traits_of(text)
    known = any(
        f.subject.family == "quality" and f.value == 0 and f.unit == "fraction" and f.subject.traits >= named
        for f in ground.facts
        if named
    )
    return _NO_LOSS.sub(_blank, text) if known else text


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def wrong_superlatives(text: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """(words, why) of superlatives that the table does not bear out."""
    for match in _SUPERLATIVE.finditer(text):
        numbered = frozenset(f"option{m[1]}" for m in re.finditer(r"\b(?:option|row) (\d+)\b", text, re.IGNORECASE))
        named = numbered or traits_of(text)
        if not named or is_denied(text) or _AMONG_SOME.match(match["what"]):
            continue
        columns = list(_columns(match, text, ground))
        if columns and not any(_is_extreme(match["word"].lower(), facts, named) for facts in columns):
            yield match[0].strip(), "another option of the tool's table is, or all are alike"


def _columns(match: re.Match[str], text: str, ground: Ground) -> Iterator[list[Fact]]:
    """The numbers of each metric that may be meant, one for each option."""
    subject = subject_of(text, match.start(), match.start("what"), "")
    word = match["word"].lower()
    family = "cost" if "cheap" in word or "expensive" in word else subject.family
    if family is None and subject.percentile is None and not _OF_ALL.search(match["what"]):
        return
    groups: dict[str, list[Fact]] = {}
    for fact in ground.facts:
        if (
            fact.kind == "tool"
            and fact.group
            and ground.siblings.are_many(fact.group)
            and not fact.end
            and fact.unit not in ("count", "n")
        ):
            fits = (family is None or fact.subject.family == family) and (
                subject.percentile is None or fact.subject.percentile == subject.percentile
            )
            if fits and fact.subject.traits:
                groups.setdefault(fact.group, []).append(fact)
    yield from (facts for facts in groups.values() if len(facts) > 2)


def _is_extreme(word: str, facts: list[Fact], named: frozenset[str]) -> bool:
    least = any(w in word for w in _LEAST)
    if facts[0].subject.family == "throughput" and word in ("fastest", "quickest"):
        least = False
    values = sorted({f.value for f in facts}, reverse=not least)
    if len(values) == 1 and len(facts) > 1:
        return False  # all are alike: none is
    wanted = values[1] if word.startswith("second") and len(values) > 1 else values[0]
    return any(f.value == wanted and named <= f.subject.traits | f.labels for f in facts)


def significance_stands(text: str, ground: Ground) -> bool | None:
    """Whether "significant at the 5 % level" is what the p-value on record says; None where none is, or nothing is claimed."""
    match = _SIGNIFICANT.search(text)
    values = [f.value for f in ground.facts if f.kind == "record" and f.subject.family == "p_value" and not f.end]
    if match is None or not values:
        return None
    negated = re.search(r"\b(?:not|no longer|isn't|wasn't|neither)\b[^.;]{0,40}$", text[: match.start()]) is not None
    return (min(values) <= float(match["level"]) / 100) != negated


def without_significance(text: str) -> str:
    """The text without the level that was judged here."""
    return _SIGNIFICANT.sub(_blank, text)
