"""What every estimate of the planner shares: the level of its interval, and the memory of a device as a sum of parts.

How wide an interval is, is decided where the errors are known; the level is decided here alone.
"""

from collections.abc import Mapping

from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

LEVEL = 0.8
"""Of every interval of an estimate (a choice)."""


def memory_estimate(
    parts_bytes: Mapping[str, float], halfwidth: float, *, formula: str, source: str, method: str
) -> Estimate:
    """`device_memory` as the sum of its parts: bytes, each with `source`, within `halfwidth` (relative) by `method`."""
    total = sum(parts_bytes.values())
    return Estimate(
        metric="device_memory",
        value=total,
        unit="byte",
        interval=Interval(low=total * (1 - halfwidth), high=total * (1 + halfwidth), level=LEVEL, method=method),
        kind="computed",
        formula=formula,
        terms=tuple(
            Term(name=name, value=value, unit="byte", kind="computed", source=source)
            for name, value in parts_bytes.items()
        ),
        binding=max(parts_bytes, key=lambda name: parts_bytes[name]),
    )
