"""What is there now beside what is wanted: "it takes 14 s now, goal 7 s", "from 900 ms down to 400", "we get 800 tok/s, need 2000".

Of two amounts of one kind, the one that is spoken of as being there is no bound. Alone it is left to the readers of bounds.
"""

import re

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.text import Text

_BEFORE = Lazy(
    r"\b(?:currently|at present|at the moment|right now|today|so far|as of now|now (?:at|it(?:'s| is| takes)|we(?:'re| are)(?: at)?|takes?|is|sits? at)|(?:we|i) (?:currently )?(?:see|get|have|had|measured?|got|pay|are (?:at|seeing|getting|paying)|manage|serve|do)|we're (?:at|seeing|getting|paying)|"
    r"measured|observed|went from|up from|down from|(?:is|are|was|were|stands?|sits?) (?:now )?at|current(?:ly)?(?: \w+){0,3}?(?: is| are|:)?|it takes|takes|used to be|was|were|baseline(?: is|:)?|existing|before:?|instead of|from)\b[^,;.]{0,25}$"
)
_AFTER = Lazy(
    r"[\s,(]*(?:\w+\s+){0,2}?(?:now|today|currently|at the moment|at present|right now|as of now|so far|these days|atm)\b"
)
_WANTED = Lazy(
    r"\b(?:goals?|targets?|wants?|wanted|needs?|needed|aim(?:ing)?(?: for| at)?|wish|would like|must|should|has to|have to|bring|get(?:ting)? (?:it|this|that|them) (?:down|up)?|(?:down|up)? ?to|under|below|within|at most|at least|expect(?:ing|ed)?|require[sd]?|objective|slo|budget|make it|reach|hit|max)\b[^;.\d]{0,25}$|(?:->|→|=>|<=?|>=?)\s*$"
)
_IS_WANTED = Lazy(r"\s*(?:is|would be|are)?\s*(?:the\s+|our\s+)?(?:goal|target|wanted|needed|required|slo)\b")
_KINDS = ("time", "request rate", "token rate", "money per M tokens", "money per hour", "users", "memory")


def split_now(text: Text, found: list[Quantity]) -> tuple[list[Quantity], list[Quantity]]:
    """(what is wanted or told, what is there now beside a wanted one of its kind)."""
    now: list[Quantity] = []
    for kind in _KINDS:
        alike = [one for one in found if one.dimension == kind]
        if len(alike) < 2:
            continue
        there = [one for one in alike if _is_there(text, one)]
        wanted = [one for one in alike if one not in there and _is_wanted(text, one)]
        if there and wanted:
            now += there
    return [one for one in found if one not in now], now


def goals(text: Text, found: list[Quantity], now: list[Quantity]) -> frozenset[Quantity]:
    """Times that are wanted in the place of one that is there now."""
    if not any(one.dimension == "time" for one in now):
        return frozenset()
    return frozenset(one for one in found if one.dimension == "time" and _is_wanted(text, one))


def _left(text: Text, one: Quantity, parts: str) -> str:
    """The words before an amount that no other stands in, from the last mark or conjunction on."""
    clause = text.clause(one.span.start)
    said = text.plain[max(clause.start, one.span.start - 45) : one.span.start]
    return re.split(parts, said)[-1]


_OTHER = r"(?<![a-z\d.])\d[\d.,]*\s*[a-z$%/]+"


_MOVED = Lazy(
    r"\b(?:went|gone|rose|risen|grew|jumped|climbed|increased|crept|shot|dropped|fell|fallen|degraded|came|is|are|was)\s+(?:up|down|back)?\s*(?:to|from|at)\s+(?:about|around|over|roughly)?\s*$"
)
"""Before an amount: what something has come to."""


def _is_there(text: Text, one: Quantity) -> bool:
    left = _left(text, one, rf"[,;]|\bbut\b|\band\b|{_OTHER}")
    return bool(_MOVED.search(left)) or (
        not _WANTED.search(left) and bool(_BEFORE.search(left) or _AFTER.match(text.plain, one.span.end))
    )


def _is_wanted(text: Text, one: Quantity) -> bool:
    left = _left(text, one, rf"[,;]|\bbut\b|{_OTHER}")
    return not _MOVED.search(left) and bool(_WANTED.search(left) or _IS_WANTED.match(text.plain, one.span.end))
