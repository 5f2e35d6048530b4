"""Times that people name without a number of hours: a weekend, a night, an evening, and the day by which something must be done.

How long each lasts is assumed, and the reading says so. A day's name has a length only with the time it is said at, which the caller gives.
"""

import calendar
import re
from datetime import datetime, timedelta

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.text import Span, Text

_HOUR = 3600.0
_ONE = r"(?:an?|one|the|this|next|coming|single|a single|(?:an?|one|the) (?:whole|full|long))"
_LASTS: dict[str, tuple[float, str]] = {
    "weekend": (48.0, r"week-?\s?end"),
    "night": (10.0, r"night"),
    "evening": (4.0, r"evening"),
    "afternoon": (4.0, r"afternoon"),
}
"""Hours that each lasts (assumed), and its words."""
_LONG = {
    name: (
        hours,
        Lazy(
            rf"(?<![\w-])(?:this\s+(?:{words})|(?:over|during|in|within|for|have|got|takes?|and|just|only)\s+{_ONE}\s+(?:{words})|(?:one|an?|single)\s+(?:{words})"
            + (r"|over-?\s?night" if name == "night" else rf"|(?:{words})[\s-]+(?:job|project|run)")
            + r")(?![\w-])",
            name.removesuffix("end"),
        ),
    )
    for name, (hours, words) in _LASTS.items()
}
_EARLIER = Lazy(r"\b(?:since|after|before|last|every|each|until|till|by)\s+(?:an?\s+|the\s+)?$")
"""Before a weekend it makes it no time that there is."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = Lazy(
    r"(?<![\w-])(?:by|before|until|till|due|due on|due by|no later than|ready (?:by|on|for)|deadline(?: is|:)?)\s+(?:the\s+)?"
    r"(?:(?P<next>next|this|coming)\s+)?(?:(?P<day>mon|tue(?:s)?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?|(?P<tomorrow>tomorrow)"
    r"|(?P<end>end of (?:the |this )?(?P<what>week|month))|(?P<eo>eow|eom)|(?P<date>20\d\d-\d\d-\d\d))(?:\s+(?:morning|noon|evening))?(?![\w-])"
)
_STARTS, _ENDS = 9, 18
"""Hours at which a day that something must be ready by is taken to begin, and at which a week or a month ends (assumed)."""


def spoken_times(text: Text, now: datetime | None) -> list[Quantity]:
    """Every such time in the free parts of a text. A day by which something is due needs `now`."""
    found = []
    for name, (hours, pattern) in _LONG.items():
        for match in text.search(pattern):
            if not _EARLIER.search(text.plain, 0, match.start()):
                found.append(_lasting(Span(*match.span()), hours * _HOUR, f"{name} of {hours:g} h assumed"))
    for match in text.search(_DAY) if now is not None else ():
        assert now is not None
        if (due := _due(match, now)) is not None and due > now:
            said = f"until {due:%A %Y-%m-%d %H:%M}, counted from {now:%Y-%m-%d %H:%M}"
            found.append(_lasting(Span(*match.span()), round((due - now).total_seconds() / _HOUR, 1) * _HOUR, said))
    return sorted(found, key=lambda one: one.span.start)


def _lasting(span: Span, seconds: float, said: str) -> Quantity:
    return Quantity(seconds, seconds, "time", span, said)


def _due(match: re.Match[str], now: datetime) -> datetime | None:
    today = now.replace(hour=_STARTS, minute=0, second=0, microsecond=0)
    if match["tomorrow"]:
        return today + timedelta(days=1)
    if match["day"]:
        at = next(index for index, day in enumerate(_DAYS) if day.startswith(match["day"][:3]))
        ahead = (at - now.weekday()) % 7 or 7
        return today + timedelta(days=ahead)
    if match["date"]:
        try:
            return datetime.fromisoformat(match["date"]).replace(hour=_STARTS, tzinfo=now.tzinfo)
        except ValueError:
            return None
    if (match["what"] or match["eo"]) in ("week", "eow"):
        return today.replace(hour=_ENDS) + timedelta(days=(4 - now.weekday()) % 7)
    return today.replace(day=calendar.monthrange(now.year, now.month)[1], hour=_ENDS)
