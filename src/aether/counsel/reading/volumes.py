"""Tokens of a day as a load: "2 billion tokens a day, 1500 in and 200 out" are so many requests per second."""

from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.traffic import Field

_PARTS = {
    "volume": ("load.prompt_tokens", "load.output_tokens"),
    "input volume": ("load.prompt_tokens",),
    "output volume": ("load.output_tokens",),
}
"""What a token of each kind of volume is a part of."""


def find_volume(found: list[Quantity], fields: list[Field]) -> tuple[list[Field], list[Quantity]]:
    """The rate of requests of a volume whose requests' lengths are told; the quantities that are left. Without lengths, a volume of answers
    bounds the throughput, and another one says nothing that could be planned with."""
    lengths = {one.field: one.value for one in reversed(fields)}
    if "load.requests_per_s" in lengths:
        return [], found
    for one in found:
        parts = _PARTS.get(one.note, ())
        if one.dimension == "token rate" and parts and all(part in lengths for part in parts):
            tokens = sum(lengths[part] for part in parts)
            said = (
                f"{one.high * 86400:,.6g} tokens a day / {tokens:,.0f} a request = {one.high / tokens:.6g} requests/s"
            )
            field = Field("load.requests_per_s", one.high / tokens, one.span, said)
            return [field], [other for other in found if other is not one]
    return [], found
