"""Whether a step's loss and gradient are believed, and the ladder when they are not: skip, cut the rates, rewind, stop.

Like OLMo-core's skip-step rule it compares loss and gradient norm with those of the last accepted steps, but by median and median absolute
deviation, and the norm by its logarithm: norms have heavy tails, above all those of small batches, so that mean and standard deviation called twice
as many healthy updates spikes and missed more of the planted ones (LOG.md). Several skips within the window cut every learning rate,
which then recovers over accepted steps. Several in a row, or a cut below the least share, rewind to a snapshot and go on with the data after the one that
broke it; the rates stay cut. It wraps any optimiser: it holds no weights. Deterministic; its whole state is a JSON value.
"""

import math
import statistics
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from aether.stages.train.recipe_watch import Spikes

Judgement = Literal["apply", "skip", "cut", "rewind", "stop", "overflow"]
"""What becomes of an update: all but `apply` leave the weights as they were before it. `overflow` is the loss scale's."""
LEAST_HISTORY_STEPS = 32
"""No spike is called before this many accepted steps: a standard deviation of fewer says little (assumed)."""


_NORMAL = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
_LEAST_SPREAD = 1e-3
"""Nats, or a share of the norm: less is rounding (assumed)."""


class SpikeGuard:
    """Statistics of the accepted steps, the counts of those that were not, and the share of the rates that is left."""

    def __init__(self, settings: Spikes) -> None:
        self.settings = settings
        self._losses: deque[float] = deque(maxlen=settings.window_steps)
        self._norms: deque[float] = deque(maxlen=settings.window_steps)
        self._strikes: deque[bool] = deque(maxlen=settings.window_steps)
        self._skipped_in_a_row = 0
        self.skipped_steps = self.cuts = self.rewinds = 0
        self.rate_share = 1.0
        """What every learning rate of the schedule is multiplied by."""

    @property
    def calm(self) -> bool:
        """Whether no step of the window was skipped: the weights are worth a snapshot."""
        return not any(self._strikes)

    def judge(self, loss: float, grad_norm: float) -> Judgement:
        """What to do with this step's update. After a rewind the caller restores the snapshot; after a stop it ends."""
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        believed = finite and not (
            self._is_spike(loss, self._losses) or self._is_spike(_log(grad_norm), map(_log, self._norms))
        )
        self._strikes.append(not believed)
        if believed:
            self._losses.append(loss)
            self._norms.append(grad_norm)
            self._skipped_in_a_row = 0
            if self.rate_share < 1:
                self.rate_share = min(
                    1.0, self.rate_share * self.settings.cut_factor ** (-1 / self.settings.recover_steps)
                )
            return "apply"
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= self.settings.skips_before_rewind:
            return self._rewound()
        if sum(self._strikes) < self.settings.skips_before_cut:
            return "skip"
        return self._cut()

    def _cut(self) -> Judgement:
        share = self.rate_share * self.settings.cut_factor
        if share < self.settings.least_rate_share:
            return self._rewound()
        self._strikes.clear()
        self.rate_share = share
        self.cuts += 1
        return "cut"

    def _rewound(self) -> Judgement:
        self._strikes.clear()
        self._skipped_in_a_row = 0
        self.rewinds += 1
        return "stop" if self.rewinds > self.settings.rewinds else "rewind"

    def _is_spike(self, value: float, history: Iterable[float]) -> bool:
        values = list(history)
        if len(values) < min(LEAST_HISTORY_STEPS, self.settings.window_steps):
            return False
        middle = statistics.median(values)
        spread = _NORMAL * statistics.median(abs(one - middle) for one in values)
        return value > middle + self.settings.sigmas * max(spread, _LEAST_SPREAD)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "losses": list(self._losses),
            "norms": list(self._norms),
            "strikes": list(self._strikes),
            "skipped_in_a_row": self._skipped_in_a_row,
            "skipped_steps": self.skipped_steps,
            "cuts": self.cuts,
            "rewinds": self.rewinds,
            "rate_share": self.rate_share,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self.rewind_to(state)
        self._strikes = deque(state["strikes"], maxlen=self.settings.window_steps)
        self._skipped_in_a_row = state["skipped_in_a_row"]
        self.skipped_steps, self.cuts, self.rewinds = state["skipped_steps"], state["cuts"], state["rewinds"]
        self.rate_share = state["rate_share"]

    def rewind_to(self, state: dict[str, Any]) -> None:
        """Take over the statistics alone: a rewind forgets losses and norms, not what happened or the cut of the rates."""
        self._losses = deque(state["losses"], maxlen=self.settings.window_steps)
        self._norms = deque(state["norms"], maxlen=self.settings.window_steps)


def _log(norm: float) -> float:
    return math.log(max(norm, sys.float_info.min))
