"""Whether a step's loss and gradient are believed: the ladder from skipping an update to rewinding the run.

Follows OLMo-core's skip-step rule (loss or gradient norm above mean + k standard deviations of the last accepted steps)
and adds the second rung: several skips in a row, or weights that are no longer finite, rewind to a snapshot and go on
with the data after the one that broke it. Deterministic; its whole state is a JSON value. Holds no weights.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from aether.stages.train.recipe import Spikes

Judgement = Literal["apply", "skip", "rewind"]
LEAST_HISTORY_STEPS = 32
"""No spike is called before this many accepted steps: a standard deviation of fewer says little (assumed)."""


class SpikeGuard:
    """Statistics of the accepted steps, and the counts of those that were not."""

    def __init__(self, settings: Spikes) -> None:
        self.settings = settings
        self._losses: deque[float] = deque(maxlen=settings.window_steps)
        self._norms: deque[float] = deque(maxlen=settings.window_steps)
        self._skipped_in_a_row = 0
        self.skipped_steps = 0
        self.rewinds = 0

    def judge(self, loss: float, grad_norm: float) -> Judgement:
        """What to do with this step's update. A rewind clears the row of skips; the caller restores the snapshot."""
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        if finite and not (self._is_spike(loss, self._losses) or self._is_spike(grad_norm, self._norms)):
            self._losses.append(loss)
            self._norms.append(grad_norm)
            self._skipped_in_a_row = 0
            return "apply"
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row < self.settings.skips_before_rewind:
            return "skip"
        self._skipped_in_a_row = 0
        self.rewinds += 1
        return "rewind"

    def _is_spike(self, value: float, history: Iterable[float]) -> bool:
        values = list(history)
        if len(values) < min(LEAST_HISTORY_STEPS, self.settings.window_steps):
            return False
        mean, deviation = statistics.fmean(values), statistics.pstdev(values)
        return value > mean + self.settings.sigmas * deviation

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "losses": list(self._losses),
            "norms": list(self._norms),
            "skipped_in_a_row": self._skipped_in_a_row,
            "skipped_steps": self.skipped_steps,
            "rewinds": self.rewinds,
        }

    def load(self, state: dict[str, Any], *, counts: bool = True) -> None:
        """Take over a state. `counts` False keeps the counts: a rewind forgets the statistics, not what happened."""
        self._losses = deque(state["losses"], maxlen=self.settings.window_steps)
        self._norms = deque(state["norms"], maxlen=self.settings.window_steps)
        if counts:
            self._skipped_in_a_row = state["skipped_in_a_row"]
            self.skipped_steps, self.rewinds = state["skipped_steps"], state["rewinds"]
