"""How like a text is to those that ask for each intent: a linear model over its words and over what was read in it.

Weights are fitted by `python -m benchmarks.intent_weights` to the labelled requests and to sentences of `knowledge`. Names, numbers and
paths count by their kind, so that "merge A and B" is one thing for all A and B. Does not decide: `intents` weighs it with its rules.
"""

import functools
import itertools
import json
import math
import re
from collections.abc import Iterable
from importlib.resources import files

from aether.counsel.reading.text import Span, Text
from aether.spec.answer import Intent

_TOKEN = re.compile(r"<[a-z_ ]+>|[a-z]+(?:'[a-z]+)?|[?!]|->")
_LONGEST = 40
"""Words from which on a text is long."""


_EDGE, _PIECE, _NORM = "_", 0.5, 5.0
"""Mark of a word's ends; strength of its pieces; length of the vector, so that a long text counts no more (chosen by five folds)."""


def features(text: Text, marks: Iterable[tuple[Span, str]]) -> dict[str, float]:
    """Words, pieces and pairs of words and kinds of what was read (`marks`: place and kind), each with its strength."""
    words = ["^", *_TOKEN.findall(_marked(text.plain, sorted(marks, key=lambda m: m[0].start)))]
    found: dict[str, float] = {"": 1.0, "length": min(len(words), _LONGEST) / _LONGEST}
    for word in words[1:]:
        found[word] = 1.0
        if word[0] != "<":
            found |= dict.fromkeys(_pieces(f"{_EDGE}{word}{_EDGE}"), _PIECE)
    for first, second in itertools.pairwise(words):
        found[f"{first} {second}"] = 1.0
    if len(words) > 1:
        found[f"first {words[1]}"] = 1.0
    norm = _NORM / math.sqrt(sum(strength**2 for strength in found.values()))
    return {name: strength * norm for name, strength in found.items()}


def _pieces(word: str) -> Iterable[str]:
    """Runs of three and four letters: what inflections and misspellings of a word share."""
    return (f"*{word[at : at + size]}" for size in (3, 4) for at in range(len(word) - size + 1))


def _marked(plain: str, marks: list[tuple[Span, str]]) -> str:
    parts, at = [], 0
    for span, kind in marks:
        if span.start >= at:
            parts += [plain[at : span.start], f" <{kind}> "]
            at = span.end
    return "".join([*parts, plain[at:]])


@functools.cache
def _weights() -> tuple[tuple[Intent, ...], dict[str, dict[str, float]]]:
    """The intents, and by feature the weight of each by its number."""
    stored = json.loads(
        files("aether.knowledge").joinpath("reading", "intent_weights.json").read_text(encoding="utf-8")
    )
    return tuple(stored["intents"]), stored["weights"]


def likeness(found: dict[str, float]) -> dict[Intent, float]:
    """Natural logarithm of the probability of each intent."""
    intents, rows = _weights()
    totals = [0.0] * len(intents)
    for name, strength in found.items():
        for at, weight in rows.get(name, {}).items():
            totals[int(at)] += weight * strength
    top = max(totals)
    norm = top + math.log(sum(math.exp(total - top) for total in totals))
    return {intent: total - norm for intent, total in zip(intents, totals, strict=True)}
