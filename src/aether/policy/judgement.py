"""Is a request in free text answered, discussed as dual-use, or refused? Without a language model.

A sentence is refused when a pattern of concepts (an act near a thing, a deed near a person, ...) stands in it and no context
makes the same words harmless: protection, negation, a definition, history, a game or a story, computing. Concepts and
patterns are data (`aether.knowledge.misuse`); this file decides. The judgement names the words that decided, so that a
wrong one can be understood and restated.

Beside the patterns, `aether.policy.aims` weighs words and pairs of words; it refuses what no pattern holds, and takes back a pattern's refusal
for a hard rule where it is sure of the contrary. Both read English words, not meaning: rewording, other languages, and intent that is not said pass. `docs/policy.md` has the measured rates.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from aether.knowledge.misuse import misuse
from aether.policy.aims import strongest, threshold
from aether.policy.phrases import Found, Lexicon, Pattern, Span, sentences

_NEGATION_WORDS = 4
"""A negation this many words before a deed turns it round (assumed)."""


class Harm(StrEnum):
    """Why a request is refused. The first three are the hard rules of what Aether is for."""

    LARGE_SCALE_DECEPTION = "large_scale_deception"
    AUTOMATED_SOCIAL_ENGINEERING = "automated_social_engineering"
    BIOLOGICAL_WEAPONS = "biological_weapons"
    WEAPONS = "weapons"
    VIOLENCE = "violence"
    SELF_HARM = "self_harm"
    DRUGS = "drugs"
    CYBER_ATTACK = "cyber_attack"
    FRAUD_AND_THEFT = "fraud_and_theft"
    PRIVACY = "privacy"
    HATE = "hate"
    HARASSMENT = "harassment"
    SEXUAL_ABUSE = "sexual_abuse"
    OTHER_CRIME = "other_crime"
    FABRICATED_RESULTS = "fabricated_results"
    COPYRIGHT = "copyright"


@dataclass(frozen=True)
class Mitigations:
    """A layer of each kind that lowers the risks of a dual-use subject."""

    guardrails: str
    monitoring: str
    access_control: str


@dataclass(frozen=True)
class Judgement:
    """What is done with a request, and why."""

    decision: Literal["allow", "dual_use", "refuse"]
    sentence: str
    """For the person: the reason and the alternative, or the risks and the mitigations."""
    harm: Harm | None = None
    words: str = ""
    """The words that decided."""
    alternative: str = ""
    subject: str = ""
    """Of a dual use: its name in the data."""
    risks: str = ""
    mitigations: Mitigations | None = None


ALLOWED = Judgement("allow", "Nothing in the wording speaks against it.")


@dataclass(frozen=True)
class _Rule:
    name: str
    patterns: tuple[Pattern, ...]
    unless: tuple[str, ...]


HARD_RULES = frozenset({Harm.LARGE_SCALE_DECEPTION, Harm.AUTOMATED_SOCIAL_ENGINEERING, Harm.BIOLOGICAL_WEAPONS})
"""The harms that the fitted aims of `aether.policy.aims` know."""
_SURELY_NOT, _ENOUGH = 0.1, 8
"""Probability of a harmful aim up to which a pattern's refusal for a hard rule is taken back, of a text of so many words (assumed)."""


def judge_request(text: str) -> Judgement:
    """The judgement of a request, by patterns and by its aim. Never raises; time is linear in the part of the text that is read."""
    split = sentences(text)
    ruled, seen = judge_by_patterns(text), strongest(split)
    if ruled.decision != "refuse":
        return _refusal(seen.harm, seen.words) if seen and seen.probability >= threshold() else ruled
    told = ruled.harm in HARD_RULES and sum(map(len, split)) >= _ENOUGH
    return _discussed(_with_concepts(split)) if told and seen and seen.probability <= _SURELY_NOT else ruled


def judge_by_patterns(text: str) -> Judgement:
    """The judgement by patterns of concepts alone."""
    parts = _with_concepts(_overlapping(sentences(text)))
    for rule in _refusals():
        for words, found in parts:
            span = _stated(rule, found)
            if span is not None:
                return _refusal(rule.name, " ".join(words[span.start : span.end]))
    return _discussed(parts)


def _with_concepts(split: Sequence[list[str]]) -> list[tuple[list[str], Found]]:
    return [(words, _lexicon().find(words)) for words in split]


def _discussed(parts: Sequence[tuple[list[str], Found]]) -> Judgement:
    """A discussion where a dual use is named, else allowed."""
    for rule in _dual_uses():
        for words, found in parts:
            span = _stated(rule, found)
            if span is not None:
                return _discussion(rule.name, " ".join(words[span.start : span.end]))
    return ALLOWED


def _overlapping(split: Sequence[list[str]]) -> list[list[str]]:
    """Sentences, then neighbours joined: "I have a virus. How can I spread it?" states its deed across two."""
    return [*split, *(first + second for first, second in pairwise(split))]


def _stated(rule: _Rule, found: Found) -> Span | None:
    for pattern in rule.patterns:
        span = pattern.search(found)
        if span is not None and not any(_excuses(context, found, span) for context in rule.unless):
            return span
    return None


def _excuses(context: str, found: Found, span: Span) -> bool:
    """Whether a context of the sentence makes the words of `span` harmless. Protection stands before or right after."""
    places = found.get(context, ())
    if not places:
        return False
    evasions = found.get("evade", ())
    if context == "protect":
        return not evasions and any(place.start <= span.end for place in places)
    if context == "negation":
        free = (place for place in places if not any(e.start <= place.start < e.end for e in evasions))
        return any(span.start - _NEGATION_WORDS <= place.end <= span.start for place in free)
    if context in ("definition", "history"):
        return "howto" not in found
    if context == "fiction":
        return "promote" not in found
    return True


@functools.cache
def _lexicon() -> Lexicon:
    return Lexicon(misuse().concepts, consuming="neutral")


@functools.cache
def _refusals() -> tuple[_Rule, ...]:
    return tuple(_Rule(row.harm, tuple(map(Pattern.parse, row.patterns)), row.unless) for row in misuse().rules)


@functools.cache
def _dual_uses() -> tuple[_Rule, ...]:
    return tuple(_Rule(row.name, tuple(map(Pattern.parse, row.patterns)), ()) for row in misuse().dual_uses)


def _refusal(name: str, words: str) -> Judgement:
    row = next(harm for harm in misuse().harms if harm.name == name)
    return Judgement(
        "refuse",
        f"Aether declines this: {row.sentence} ({words!r}). It does help with {row.alternative}.",
        harm=Harm(name),
        words=words,
        alternative=row.alternative,
    )


def _discussion(name: str, words: str) -> Judgement:
    row = next(subject for subject in misuse().dual_uses if subject.name == name)
    return Judgement(
        "dual_use",
        f"This can serve good and bad ends ({words!r}). Risks: {row.risks}. Guardrails: {row.guardrails}. "
        f"Monitoring: {row.monitoring}. Access control: {row.access_control}.",
        words=words,
        subject=name,
        risks=row.risks,
        mitigations=Mitigations(row.guardrails, row.monitoring, row.access_control),
    )
