"""Whether hardware is what a text asks for: "which GPU", "how many H100", "cheapest setup"."""

import re

_THING = r"(?:gpus?|hardware|cards?|accelerators?|devices?|machines?|boxes|instances?|nodes?|servers?|cluster|chips?)"
_ASKS = re.compile(
    rf"\b(?:what|which|whats|what's|how (?:much|many|big|large|few)|number of|count of)(?: \w+){{0,3}} {_THING}\b(?![\s-]*(?:memory|vram|hours?|hrs?|util))"
    rf"|\b(?:cheapest|smallest|fewest|minimum|minimal|min|least)(?: \w+){{0,2}} (?:{_THING}|setup|set-up|option|way|deployment|config(?:uration)?)\b"
    r"|\b(?:siz(?:e|ing)|capacity plan(?:ning)?|provision(?:ing)?)\b(?: \w+){0,3} (?:for|a|the|of)\b"
)
_MANY = re.compile(r"\b(?:how many|number of|how few)(?: \w+){0,2}\s*$")
"""Before a device: "how many H100", "the number of rented L40S"."""


def asks_for_hardware(plain: str, devices: list[tuple[int, int]]) -> bool:
    """`devices`: where devices are named in `plain`, start and end."""
    return bool(_ASKS.search(plain)) or any(_MANY.search(plain[:start]) for start, _ in devices)
