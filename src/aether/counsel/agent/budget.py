"""What a conversation may spend, in USD: reserved before, reconciled after. Fails closed: an unknown price is never taken for nothing.

Kept in the session's file, so that resuming does not forget what was spent.
"""

import math
from dataclasses import dataclass, field

from aether.spec.errors import InputError


@dataclass
class Budget:
    """A limit and what is gone of it. `limit_usd` None: every spending is asked for by itself."""

    limit_usd: float | None = None
    spent_usd: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    """Key of a reservation -> the run that it is for."""
    settled: dict[str, float] = field(default_factory=dict)
    """Run -> what of it was counted already: a run that is launched again goes on from there."""

    def __post_init__(self) -> None:
        if self.limit_usd is not None and not (math.isfinite(self.limit_usd) and self.limit_usd >= 0):
            raise InputError.of("--budget", self.limit_usd, "give US dollars, 0 or more")

    @property
    def left_usd(self) -> float | None:
        """What may still be reserved; None without a limit."""
        return None if self.limit_usd is None else self.limit_usd - self.spent_usd - sum(self.reserved.values())

    def objection(self, cost_usd: float | None) -> str | None:
        """Why a cost may not be spent without a person's word; None when it is known and covered."""
        if cost_usd is None or not math.isfinite(cost_usd) or cost_usd < 0:
            return "its cost is unknown"
        if self.left_usd is None:
            return "there is no budget"
        if cost_usd > self.left_usd:
            return f"it costs {cost_usd:.2f} USD and {max(0.0, self.left_usd):.2f} USD are left"
        return None

    def reserve(self, key: str, cost_usd: float, run: str | None = None) -> None:
        """Set a cost aside, for a run where it is one's. The caller has asked `objection`, or a person has overruled it."""
        self.reserved[key] = cost_usd
        if run is not None:
            self.runs[key] = run

    def settle(self, key: str, actual_usd: float | None) -> None:
        """Replace a reservation by what it came to (a run: from its beginning); where that is unknown, by what was reserved."""
        reserved, run = self.reserved.pop(key, 0.0), self.runs.pop(key, None)
        if run is not None and actual_usd is not None:
            actual_usd -= self.settled.get(run, 0.0)
            self.settled[run] = self.settled.get(run, 0.0) + actual_usd
        self.spent_usd += reserved if actual_usd is None else actual_usd

    def release(self, key: str) -> None:
        """Forget a reservation of what was never started."""
        self.reserved.pop(key, None)
        self.runs.pop(key, None)
