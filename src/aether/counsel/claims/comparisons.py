"""Comparisons that a sentence makes between two of its numbers: "358 ms is below 500 ms", "fell from 8.4 to 6.9". Wrong ones are found by arithmetic."""

import itertools
import re
from collections.abc import Iterator

from aether.counsel.claims.derived import operand
from aether.counsel.claims.numbers import Said

_VERB = r"(?:\b(?:is|are|was|were|stays?|lies|remains?|sits?|comes? in|keeps?|falls?|which is)\s+|,\s*)(?:\w+ )?"
_UNDER = re.compile(
    _VERB + r"(?:below|under|within|inside|less than|lower than|smaller than|cheaper than|faster than|short of)\b",
    re.IGNORECASE,
)
_OVER = re.compile(_VERB + r"(?:above|over|beyond|more than|greater than|higher than|larger than)\b", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:not|never|no longer|if|unless|should|would|could|may|might|whether|percent|points?)\b|n't\b|\?",
    re.IGNORECASE,
)
_RISE = re.compile(
    r"\b(?:rises?|rose|risen|grows?|grew|increase[sd]?|climb(?:s|ed)?|went up|goes up|up|doubl\w+|raise[sd]?)\b[^.;\d]{0,24}\bfrom\s+\$?$",
    re.IGNORECASE,
)
_FALL = re.compile(
    r"\b(?:falls?|fell|fallen|drops?|dropped|shrinks?|shrank|shrunk|decreas\w+|declin\w+|went down|goes down|down|cuts?|reduc\w+|lower(?:s|ed)|halv\w+)\b[^.;\d]{0,24}\bfrom\s+\$?$",
    re.IGNORECASE,
)  # fmt: skip


_NEAR = 60


def turned_round(text: str, said: list[Said]) -> Iterator[tuple[str, str]]:
    """(words, why) of comparisons that are the wrong way round."""
    for a, b in itertools.pairwise(sorted(said, key=lambda n: n.start)):
        if a.unit != b.unit or a.ratio or b.ratio or a.low != a.high or b.low != b.high:
            continue
        between = text[a.start + len(a.words) : b.start]
        first, second = operand(a).value, operand(b).value
        words = text[a.start : b.start + len(b.words)]
        wrong = (_UNDER.search(between) and first > second) or (_OVER.search(between) and first < second)
        if wrong and not _NOT.search(text) and len(between) < _NEAR:
            yield words, "the comparison is the wrong way round"
        if re.match(r"[^.;\d]{0,30}\bto\b", between):
            before = text[: a.start]
            if (_RISE.search(before) and first > second) or (_FALL.search(before) and first < second):
                yield words, "the change goes the other way"
