"""How likely the aim of a request is one that the hard rules name, from its words and pairs of words. No language model, no torch.

A logistic regression weighs them (`knowledge/misuse_aims.json`, fitted by `python -m benchmarks.policy_aims` to requests, and to deeds in
the frames in which people ask for models, so that only the deed tells harmful from harmless). Only texts that name a model, a bot or
their making are looked at. `aether.policy.judgement` asks it where no pattern of its own was found. English words.
"""

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

from aether.knowledge.tables import table
from aether.policy.phrases import Lexicon, sentences

WINDOW = 60
"""Words that are judged together: requests that the weights know are no longer; a longer text is judged in such pieces (assumed)."""
_SAID = 6
"""Words that are shown as those that decided."""


@dataclass(frozen=True)
class Aim:
    """The probability of a harmful aim as fitted, its kind and the words that weighed most."""

    probability: float
    harm: str
    words: str


@functools.cache
def _lexicon() -> Lexicon:
    return Lexicon(table("misuse_aims.toml")["words"], consuming="")


@functools.cache
def _fitted() -> dict[str, Any]:
    return json.loads(files("aether.knowledge").joinpath("misuse_aims.json").read_text(encoding="utf-8"))


def threshold() -> float:
    """Probability from which on a request is refused, chosen where the weights were fitted."""
    return _fitted()["threshold"]


def features(words: Sequence[str]) -> dict[str, float]:
    """Words and pairs of neighbours, numbers as one word, all equally strong, with a norm of one; and a constant."""
    plain = ["0" if word.isdigit() else word for word in words]
    named = dict.fromkeys([*plain, *(f"{first} {second}" for first, second in pairwise(plain))], 1.0)
    strength = 1.0 / math.sqrt(max(1, len(named)))
    return dict.fromkeys(named, strength) | {"": 1.0}


def probability(weights: dict[str, float], named: dict[str, float]) -> float:
    """What the regression says of features."""
    total = sum(weights.get(name, 0.0) * strength for name, strength in named.items())
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, total))))


def strongest(split: list[list[str]]) -> Aim | None:
    """The likeliest harmful aim of the sentences of a text, in windows; None where no model is in it."""
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
    if not _names_a_model(words):
        return None
    return Aim(probability(_fitted()["weights"], features(words)), _harm(words), _weighty(words))


def _weighty(words: list[str]) -> str:
    """The neighbouring words that weigh most."""
    weights = _fitted()["weights"]
    pieces = [words[at : at + _SAID] for at in range(max(1, len(words) - _SAID + 1))]
    return " ".join(max(pieces, key=lambda piece: sum(weights.get(name, 0.0) for name in features(piece))))


def names_a_model(text: str) -> bool:
    """Whether a text names a model, a bot or their making: no other is looked at."""
    return _names_a_model([word for sentence in sentences(text) for word in sentence])


def _names_a_model(words: list[str]) -> bool:
    return "helper" in _lexicon().find(words)


def _harm(words: list[str]) -> str:
    found = _lexicon().find(words)
    one_by_one = bool({"gain", "authority"} & set(found))
    if "agent" in found and not one_by_one:
        return "biological_weapons"
    return "automated_social_engineering" if one_by_one else "large_scale_deception"
