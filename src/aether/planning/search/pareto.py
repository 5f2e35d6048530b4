"""Which options no other beats: in quality, speed, memory, cost and complexity at once (Pareto dominance).

Lower is better in every coordinate. A quality or a cost that is not known is not compared with one that is: an unknown one
is beaten only by the reference (the published weights, which compression does not better) or by its own number format.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Merit:
    """An option's coordinates."""

    format: str
    quality_loss: float | None
    """Relative; 0 for the published weights."""
    speed_s: float
    memory_bytes: float
    cost: float | None
    """US dollars; None without a price."""
    device_hours: float
    """What stands for cost between options on the same device."""
    device: str
    complexity: int
    standing: int = 0
    """0 when all targets are met, 1 at risk, 2 at risk and predicted to be missed, 3 missed: what misses a target does not beat what
    meets it."""


def _quality_not_worse(one: Merit, other: Merit) -> bool:
    if one.format == other.format or one.quality_loss == 0:
        return True
    if one.quality_loss is None or other.quality_loss is None:
        return False
    return one.quality_loss <= other.quality_loss


def _cost_not_worse(one: Merit, other: Merit) -> bool:
    if one.cost is not None and other.cost is not None:
        return one.cost <= other.cost
    return one.device == other.device and one.device_hours <= other.device_hours


def not_worse(one: Merit, other: Merit) -> bool:
    """Whether `one` is at least as good in everything."""
    return (
        one.speed_s <= other.speed_s
        and one.memory_bytes <= other.memory_bytes
        and one.complexity <= other.complexity
        and one.standing <= other.standing
        and _cost_not_worse(one, other)
        and _quality_not_worse(one, other)
    )


def dominates(one: Merit, other: Merit) -> bool:
    """At least as good in everything and better in something."""
    return not_worse(one, other) and not not_worse(other, one)


def front(options: Sequence[T], merit: Callable[[T], Merit]) -> list[T]:
    """Those that no other dominates, in the given order; of equals the first."""
    kept: list[tuple[T, Merit]] = []
    for option in options:
        own = merit(option)
        if any(not_worse(other, own) for _, other in kept):
            continue
        kept = [(old, other) for old, other in kept if not not_worse(own, other)]
        kept.append((option, own))
    return [option for option, _ in kept]
