"""Two scores and a number of items, or the votes for two sides, that a person tells: is their difference more than chance? Two-sided."""

import math
import re

from aether.counsel.answers.draft import Draft
from aether.spec.report import Paragraph, Piece, text_of

_TWO = re.compile(
    r"(?<![\w.])(\d{1,2}(?:\.\d+)?)\s*%?\s*(?:vs\.?|versus|and|against|or|to)\s*(\d{1,2}(?:\.\d+)?)\s*%?(?![\w.])"
)
_ITEMS = re.compile(r"\b([\d,]{2,7})\s+(?:[\w-]+\s+)?(?:questions|items|examples|problems|prompts|samples|tasks)\b")
_WON = re.compile(
    r"\b(?:beats?|beat|won|wins?|lost|preferred|outvot\w+)\b[^.;\n]{0,40}?(?<![\w.])(\d[\d,]*)\s*(?:to|-|:|vs\.?|against|and|,)\s*(?:lost\s+)?(\d[\d,]*)(?![\d%])(?!\s*%)",
    re.IGNORECASE,
)
"""Votes for either side: "A beats B 54 to 46", "won 312, lost 268"."""
_LEVEL = 1.96
"""Standard errors of an interval at 95 %."""


def told_scores(draft: Draft) -> bool:
    """Decide by the numbers that were told, as a section; False where they are not all there."""
    two, counted = _TWO.search(draft.request.text), _ITEMS.search(draft.request.text)
    if counted is None and (votes := _WON.search(draft.request.text)):
        return _told_votes(draft, int(votes[1].replace(",", "")), int(votes[2].replace(",", "")))
    count = int(counted[1].replace(",", "") or 0) if counted else 0
    if two is None or count < 2:
        return False
    first, second = float(two[1]) / 100, float(two[2]) / 100
    error = math.sqrt((first * (1 - first) + second * (1 - second)) / count)
    apart = abs(first - second)
    how = "shares of independent items: the root of the sum of p (1 - p) / n of both"
    difference = draft.number("told.difference", apart, "fraction", "computed", "the difference of the two scores told")
    half = draft.number("told.half_width", _LEVEL * error, "fraction", "computed", f"1.96 times {how}")
    parts = (difference, " apart, and the interval, at two standard errors, reaches ", half, " to either side.")
    more = (
        "That takes the two runs as independent. If both answered the same items, compare item by item (paired), which is narrower the "
        "more their answers agree, and count items of one document as less than their number."
    )
    _decided(draft, apart > _LEVEL * error, parts, more)
    return True


def _told_votes(draft: Draft, first: int, second: int) -> bool:
    count = first + second
    if count < 2:
        return False
    share, error = max(first, second) / count, math.sqrt(0.25 / count)
    won = draft.number("told.share", share, "fraction", "computed", "the larger of the two counts over both")
    half = draft.number("told.half_width", _LEVEL * error, "fraction", "computed", "1.96 times the root of 0.25 / n")
    parts = (
        "one side has ",
        won,
        " of the votes, and chance alone, at two standard errors, reaches ",
        half,
        " beyond a half.",
    )
    more = (
        "Ties are left out. That takes the votes as independent: several of one person, or of one prompt, count as less than their number "
        "(`aether votes` has intervals over the people who voted)."
    )
    _decided(draft, share - 0.5 > _LEVEL * error, parts, more)
    return True


def _decided(draft: Draft, beyond: bool, parts: tuple[str | Piece, ...], more: str) -> None:
    verdict = (
        "The difference is more than chance explains" if beyond else "These numbers alone do not show a difference"
    )
    decided = Paragraph(text=text_of(f"{verdict}: ", *parts), tone="decision")
    draft.section("decision", "Decision", decided, Paragraph(text=text_of(more)))
