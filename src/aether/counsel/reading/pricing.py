"""Which device a price per hour is of, where several are named: "H100 at $2.5/h or A100 at $1.2/h", "$2 for the L40S"."""

from aether.counsel.reading.findings import Findings
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.traffic import Field

_OF_IT = Lazy(
    r"\s*(?:gpus?|cards?)?\s*(?:\(|,)?\s*(?:at|for|@|is|are|costs?|go(?:es)? for|:|=|-)?\s*(?:us about|us|about|around|only|~)?\s*"
)
"""Between a device and its own price."""
_BEFORE_IT = Lazy(r"\s*(?:/|per|an?)?\s*(?:for|on|per|each for|with)?\s*(?:an?|the|each|one)?\s*")
"""Between a price and the device behind it."""


def prices_apart(found: Findings) -> dict[str, Field]:
    """Prices by device; empty where one price is of all, or of the only device or of the first that is named."""
    prices = [f for f in found.fields if f.field == "hardware.price_usd_per_hour"]
    machines = [one for one in found.machines if one.name != "this-machine"]
    names = list(dict.fromkeys(one.name for one in machines))
    if not prices or len(names) < 2:
        return {}
    if len(prices) == 1:
        near = [one.name for one in machines if _OF_IT.fullmatch(found.text.plain, one.span.end, prices[0].span.start)]
        return {near[-1]: prices[0]} if near and near[-1] != names[0] else {}
    first = min(machines, key=lambda one: one.span.start)
    leads = prices[0].span.start < first.span.start or (
        any(_BEFORE_IT.fullmatch(found.text.plain, prices[0].span.end, one.span.start) for one in machines)
        and not any(_OF_IT.fullmatch(found.text.plain, one.span.end, prices[0].span.start) for one in machines)
    )
    own: dict[str, Field] = {}
    if all(price.span.start >= max(one.span.end for one in machines) for price in prices) and len(prices) == len(names):
        return dict(zip(names, prices, strict=True))  # "H100 or A100, at $2.5/h and $1.2/h"
    for price in prices:
        behind = [one for one in machines if one.span.start >= price.span.end]
        before = [one for one in machines if one.span.end <= price.span.start]
        of = (behind[0] if behind else None) if leads else (before[-1] if before else None)
        if of is None or of.name in own:
            return {}
        own[of.name] = price
    return own
