"""Two scores and a number of items that a person tells: is their difference more than chance? Shares of independent items, two-sided."""

import math
import re

from aether.counsel.answers.draft import Draft
from aether.spec.report import Paragraph, text_of

_TWO = re.compile(
    r"(?<![\w.])(\d{1,2}(?:\.\d+)?)\s*%?\s*(?:vs\.?|versus|and|against|or|to)\s*(\d{1,2}(?:\.\d+)?)\s*%?(?![\w.])"
)
_ITEMS = re.compile(r"\b([\d,]{2,7})\s+(?:[\w-]+\s+)?(?:questions|items|examples|problems|prompts|samples|tasks)\b")
_LEVEL = 1.96
"""Standard errors of an interval at 95 %."""


def told_scores(draft: Draft) -> bool:
    """Decide by the numbers that were told, as a section; False where they are not all there."""
    two, counted = _TWO.search(draft.request.text), _ITEMS.search(draft.request.text)
    count = int(counted[1].replace(",", "") or 0) if counted else 0
    if two is None or count < 2:
        return False
    first, second = float(two[1]) / 100, float(two[2]) / 100
    error = math.sqrt((first * (1 - first) + second * (1 - second)) / count)
    apart = abs(first - second)
    how = "shares of independent items: the root of the sum of p (1 - p) / n of both"
    difference = draft.number("told.difference", apart, "fraction", "computed", "the difference of the two scores told")
    half = draft.number("told.half_width", _LEVEL * error, "fraction", "computed", f"1.96 times {how}")
    beyond = apart > _LEVEL * error
    verdict = (
        "The difference is more than chance explains" if beyond else "These numbers alone do not show a difference"
    )
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of(
                f"{verdict}: ",
                difference,
                " apart, and the interval, at two standard errors, reaches ",
                half,
                " to either side.",
            ),
            tone="decision",
        ),
        Paragraph(
            text=text_of(
                "That takes the two runs as independent. If both answered the same items, compare item by item (paired), which is narrower the "
                "more their answers agree, and count items of one document as less than their number."
            )
        ),
    )
    return True
