"""How likely the aim of a request is one that the hard rules name, from the roles that its words play. No language model, no torch.

Roles (who is deceived, by what, for which gain, which agent of disease, what stands on the side of defence, ...) are lists of phrases in
`knowledge/misuse_aims.toml`; a logistic regression over roles, pairs of roles and roles that stand close weighs them
(`knowledge/misuse_aims.json`, fitted by `python -m benchmarks.policy_aims`). `aether.policy.judgement` asks it where no pattern of
its own was found.
"""

import functools
import itertools
import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aether.policy.phrases import Found, Lexicon, Span, sentences

NEAR = 6
"""Words at most between two roles that stand close (chosen by five folds)."""
_HOT = ("crime", "pose", "trick", "hide", "fake", "evade", "plausible", "agent", "worse", "biowork", "gain", "politics")
"""Roles of harm; without one there is no aim to look at."""
_DECEPTION = ("crime", "pose", "trick", "hide", "fake")
_SHIELD = 4
"""Words at most between a word of defence and what it is against (assumed)."""


@dataclass(frozen=True)
class Aim:
    """The probability of a harmful aim as fitted, its kind and the words that weighed most."""

    probability: float
    harm: str
    words: str


@functools.cache
def _lexicon() -> Lexicon:
    text = files("aether.knowledge").joinpath("misuse_aims.toml").read_text(encoding="utf-8")
    return Lexicon(tomllib.loads(text)["words"], consuming="")


@functools.cache
def _fitted() -> dict[str, Any]:
    return json.loads(files("aether.knowledge").joinpath("misuse_aims.json").read_text(encoding="utf-8"))


def threshold() -> float:
    """Probability from which on a request is refused, chosen where the weights were fitted."""
    return _fitted()["threshold"]


WINDOW = 60
"""Words that are judged together: requests that the weights know are no longer; a longer text is judged in such pieces (assumed)."""


def _read(text: str) -> tuple[list[str], Found]:
    words = [word for sentence in sentences(text) for word in sentence]
    return words, _lexicon().find(words)


_LINKS = frozenset({"that", "which", "who", "to", "for", "so", "and", "goal", "by", "then", "until", "where", "when"})
"""Words after which a request says what its system does."""
_REACH = 3
"""Words after such a word in which the deed must begin (assumed)."""
_DEEDS = (
    "crime",
    "pose",
    "trick",
    "hide",
    "fake",
    "evade",
    "defend",
    "serves",
    "worse",
    "biowork",
    "gain",
    "agent",
    "negate",
    "plausible",
)


def _deeds(words: list[str], found: Found) -> dict[str, float]:
    """The role that comes first after each linking word, and at the beginning of the text."""
    starts = [-1, *(at for at, word in enumerate(words) if word in _LINKS)]
    named: dict[str, float] = {}
    for at in starts:
        near = [
            (span.start, -(span.end - span.start), role)
            for role in _DEEDS
            for span in found.get(role, ())
            if at < span.start <= at + _REACH
        ]
        if near:
            named[f"{'begins' if at < 0 else 'does'} {min(near)[2]}"] = 1.0
    return named


def features(text: str) -> dict[str, float]:
    """Roles, pairs of roles, ordered pairs that stand close, and how many roles of harm there are."""
    return _features(*_read(text))


def _features(words: list[str], found: Found) -> dict[str, float]:
    roles = sorted(found)
    named = dict.fromkeys(["", *roles], 1.0)
    named |= {f"{a}+{b}": 1.0 for a, b in itertools.combinations(roles, 2)}
    named |= {f"{a}>{b}": 1.0 for a, b in itertools.permutations(roles, 2) if _close(found[a], found[b])}
    named |= _deeds(words, found)
    named |= _shields(found)
    hot = [role for role in _HOT if role in found]
    named |= {f"hot {count}": 1.0 for count in range(1, min(len(hot), 5) + 1)}
    if hot and "defend" in found:
        first = min(found[role][0].start for role in hot)
        named["defends first" if found["defend"][0].start < first else "defends later"] = 1.0
    return named


def _shields(found: Found) -> dict[str, float]:
    """Whether words of deception stand right behind or before words of defence or negation: all, some or none of them."""
    shields = [*found.get("defend", ()), *found.get("negate", ())]
    after = found.get("defend", ())
    spans = [span for role in _DECEPTION for span in found.get(role, ())]
    safe = [
        any(0 <= span.start - one.end <= _SHIELD or one.start <= span.start < one.end for one in shields)
        or any(0 <= one.start - span.end <= 1 for one in after)
        for span in spans
    ]
    return {f"{'all' if all(safe) else 'some' if any(safe) else 'none'} shielded": 1.0} if spans else {}


def _close(first: list[Span], second: list[Span]) -> bool:
    return any(0 <= b.start - a.end <= NEAR for a in first for b in second)


def probability(weights: dict[str, float], named: Iterable[str]) -> float:
    """What the regression says of features."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, sum(weights.get(name, 0.0) for name in named)))))


def strongest(split: list[list[str]]) -> Aim | None:
    """The likeliest harmful aim of the sentences of a text, in windows; None where no model or no role of harm is in it."""
    aims = [one for words in _windows(split) if (one := _aim(words)) is not None]
    return max(aims, key=lambda one: one.probability, default=None)


def _windows(split: list[list[str]]) -> list[list[str]]:
    """Neighbouring sentences, as many as fit."""
    windows: list[list[str]] = []
    for sentence in split:
        for at in range(0, len(sentence), WINDOW):
            piece = sentence[at : at + WINDOW]
            if windows and len(windows[-1]) + len(piece) <= WINDOW:
                windows[-1].extend(piece)
            else:
                windows.append(list(piece))
    return windows


def _aim(words: list[str]) -> Aim | None:
    found = _lexicon().find(words)
    if not _speaks_of_harm(found):
        return None
    start = min((found[role][0] for role in _HOT if role in found), key=lambda span: span.start)
    said = " ".join(words[start.start : max(start.end, min(start.end + NEAR, len(words)))])
    return Aim(probability(_fitted()["weights"], _features(words, found)), _harm(found), said)


def speaks_of_harm(text: str) -> bool:
    """Whether a text names a model, a bot or their making, and a role of harm: no other is looked at."""
    return _speaks_of_harm(_read(text)[1])


def _speaks_of_harm(found: Found) -> bool:
    """Of what a machine would do: requests of other fields are left to the patterns."""
    return "helper" in found and any(role in found for role in _HOT)


def _harm(found: Found) -> str:
    if "agent" in found and not {"crime", "pose"} & set(found):
        return "biological_weapons"
    one_by_one = {"gain", "authority"} & set(found) and {"crime", "pose", "trick"} & set(found)
    return "automated_social_engineering" if one_by_one else "large_scale_deception"
