"""Which of several like numbers one is: the words that set a record or a table's cell apart from its siblings ("base" and "tuned", "zero3").

A sentence that names a sibling's word, and none of a number's own, does not speak of that number.
"""

import re
from collections.abc import Iterable

_COMMON = frozenset(
    ["predicted", "estimate", "estimated", "plan", "planned", "option", "options", "run", "step", "serve", "serving", "evaluate", "evaluated", "evaluation", "train", "training", "format", "compare", "compared", "comparison", "said", "value", "mean", "the", "of", "and", "or", "a", "an", "on", "in", "at", "by", "for", "to", "with", "is", "are", "was", "from", "than", "as", "not", "no", "per", "each", "all", "its", "it", "more", "less", "model", "device", "seqs", "tokens", "token", "requests", "request", "number", "count", "computed", "measured", "cited", "assumed", "low", "medium", "high", "unknown", "met", "risk", "missed", "none", "quality", "speed", "memory", "cost", "accuracy", "loss", "time", "latency", "throughput"]
)  # fmt: skip
_TOKEN = re.compile(r"[a-z][a-z0-9]*(?:[.+-][a-z0-9]+)*")
_SIGNS = re.compile(r"\d+:\d+|\d+ ?%")
_WITH_NUMBER = re.compile(
    r"\b(micro-?batch|seed|rank|fold|epoch|step|layers?|clients?|run|row|option)(?: size)?(?: of| to|:)?[ _=-]?(\d+)\b"
)

_POWER_OF_TWO = re.compile(r"(?<![\w.,])(?:256|512|1024|2048|4096|8192|16384)(?![\w.,%]*\d)")
"""Sizes of batches and windows, by which options differ."""


BEFORE = frozenset(["base", "before", "baseline", "original", "old", "untuned", "pretrained", "was"])
AFTER = frozenset(["tuned", "after", "finetuned", "fine-tuned", "new", "candidate", "adapted"])
_CONCEPTS = {"<before>": BEFORE, "<after>": AFTER}
"""Words for the one and the other side of a change."""


def label_words(text: str) -> frozenset[str]:
    """The words of a text that can set things apart: names, formats, layouts, "seed 2"; no numbers."""
    text = text.lower().replace("_", " ")
    whole = {re.sub(r"\s", "", w) for w in (*_TOKEN.findall(text), *_SIGNS.findall(text))}
    parts = {p for w in whole for p in re.split(r"[.+-]", w) if len(p) > 2 or re.search(r"\d", p)}
    counted = {m[1].replace("-", "") + m[2] for m in _WITH_NUMBER.finditer(text)}
    counted |= {m[0] for m in _POWER_OF_TWO.finditer(text)}
    found = (whole | parts | counted) - _COMMON
    return frozenset(found | {concept for concept, words in _CONCEPTS.items() if words & found})


class Siblings:
    """Groups of like numbers, each with its labels."""

    def __init__(self) -> None:
        self._members: dict[str, set[frozenset[str]]] = {}
        self._sorted: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def add(self, group: str, labels: frozenset[str]) -> None:
        """One number of a group."""
        self._members.setdefault(group, set()).add(labels)
        self._sorted.pop(group, None)

    def are_many(self, group: str) -> bool:
        """Whether a number of this group must be told from others."""
        return len(self._members.get(group, ())) > 2

    def speaks_of_another(self, group: str, labels: frozenset[str], words: Iterable[str]) -> bool:
        """Whether these words fit another of the group better than this one."""
        members = self._members.get(group, set())
        if len(members) < 2:
            return False
        if group not in self._sorted:
            self._sorted[group] = (frozenset.intersection(*members), frozenset.union(*members))
        shared, every = self._sorted[group]
        said = (every - shared) & frozenset(words)
        return bool(said) and max(len(said & other) for other in members) > len(said & labels)
