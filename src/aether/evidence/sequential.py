"""Looking at results as they come, and stopping early, without more false alarms. No torch.

A fixed-sample interval that is looked at after every item is wrong far more often than it says. A confidence sequence holds at all
times at once, so one may stop whenever it leaves zero out. Two of them:

- `betting`: for scores within known bounds, exact for any n. The hedged capital process of Waudby-Smith and Ramdas, Estimating means of
  bounded random variables by betting (arXiv 2010.09686, section 4: predictable plug-in bets): a bettor against each candidate mean; a mean
  stays in the set while the bettor's wealth against it has never reached 1 / (1 - level).
- `asymptotic`: for scores without bounds. The Gaussian mixture boundary of Waudby-Smith et al. (arXiv 2103.06476, theorem 2.2); valid as
  the central limit theorem is, so it is not looked at before `start` values.

Values are of independent units in the order they were drawn: give cluster means, not items, where items are alike.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aether.spec.errors import InputError

Floats = NDArray[np.float64]
GRID = 401
"""Candidate means that are bet against; the set's ends are the next candidates outwards, so the grid never makes it too short."""
SEQUENTIAL = "sequential.json"
"""Beside the items of an evaluation that stopped when it had decided: what decided it."""
LARGEST_BET = 0.5
"""Of the wealth against any candidate (assumed; the paper proposes 1/2 or 3/4): what keeps the wealth above nothing."""


@dataclass(frozen=True)
class Sequence:
    """A confidence sequence: after n values (n from 1) the mean is within low[n-1]..high[n-1], at all n at once."""

    low: Floats
    high: Floats
    level: float
    method: str

    def stops_at(self, reference: float = 0.0) -> int | None:
        """After how many values the sequence first leaves `reference` out, and one may stop; None: never."""
        out = np.flatnonzero((self.low > reference) | (self.high < reference))
        return int(out[0]) + 1 if len(out) else None


def betting(values: ArrayLike, bounds: tuple[float, float] = (-1.0, 1.0), level: float = 0.95) -> Sequence:
    """The hedged betting sequence of the mean of `values` (n,) within `bounds`; exact at any n, whatever the distribution."""
    low, high = bounds
    scaled_N = (np.asarray(values, np.float64) - low) / (high - low)
    if len(scaled_N) == 0 or float(scaled_N.min()) < 0.0 or float(scaled_N.max()) > 1.0:
        raise InputError.of("values", (len(scaled_N), bounds), "give at least one value, all of them within the bounds")
    bets_N = _predictable_bets(scaled_N, level)
    means_G = np.linspace(0.0, 1.0, GRID)
    # A bet is capped by the largest loss that one value can bring against this candidate, so that wealth stays above 0.
    cap_up_G = LARGEST_BET / np.maximum(means_G, 1e-12)
    cap_down_G = LARGEST_BET / np.maximum(1.0 - means_G, 1e-12)
    up_G, down_G = np.zeros(GRID), np.zeros(GRID)
    threshold = math.log(1.0 / (1.0 - level))
    alive_G = np.ones(GRID, bool)
    ends = np.empty((len(scaled_N), 2))
    for i, value in enumerate(scaled_N):
        apart_G = value - means_G
        up_G += np.log1p(np.minimum(bets_N[i], cap_up_G) * apart_G)
        down_G += np.log1p(-np.minimum(bets_N[i], cap_down_G) * apart_G)
        # Half of the wealth bets on a larger mean, half on a smaller one.
        alive_G &= np.logaddexp(up_G, down_G) - math.log(2.0) < threshold
        ends[i] = _ends(alive_G, means_G, ends[i - 1] if i else np.array([0.0, 1.0]))
    lows, highs = low + ends[:, 0] * (high - low), low + ends[:, 1] * (high - low)
    return Sequence(lows, highs, level, "hedged betting, arXiv 2010.09686")


def asymptotic(values: ArrayLike, level: float = 0.95, tightest_at: int = 500, start: int = 30) -> Sequence:
    """The asymptotic sequence of the mean of `values` (n,), tightest after about `tightest_at` of them, without limits before `start`."""
    x_N = np.asarray(values, np.float64)
    n_N = np.arange(1, len(x_N) + 1, dtype=np.float64)
    mean_N = np.cumsum(x_N) / n_N
    variance_N = np.maximum(np.cumsum(x_N**2) / n_N - mean_N**2, 0.0) * n_N / np.maximum(n_N - 1.0, 1.0)
    alpha = 1.0 - level
    mixing = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / tightest_at
    spread_N = n_N * mixing + 1.0
    half_N = np.sqrt(2.0 * variance_N * spread_N / (n_N**2 * mixing) * np.log(np.sqrt(spread_N) / alpha))
    half_N[: start - 1] = np.inf
    return Sequence(mean_N - half_N, mean_N + half_N, level, f"asymptotic, arXiv 2103.06476, from {start} values on")


def _predictable_bets(scaled_N: Floats, level: float) -> Floats:
    """Each bet from the values before it alone: larger while the variance seen is small (arXiv 2010.09686, equation 26)."""
    n_N = np.arange(1, len(scaled_N) + 1, dtype=np.float64)
    mean_N = (0.5 + np.cumsum(scaled_N)) / (n_N + 1.0)
    variance_N = (0.25 + np.cumsum((scaled_N - mean_N) ** 2)) / (n_N + 1.0)
    before_N = np.concatenate([[0.25], variance_N[:-1]])
    return np.sqrt(2.0 * math.log(2.0 / (1.0 - level)) / (before_N * n_N * np.log1p(n_N)))


def _ends(alive_G: NDArray[np.bool_], means_G: Floats, before: Floats) -> Floats:
    """The smallest interval that holds the candidates still alive, one step of the grid wider; never wider than before."""
    alive = np.flatnonzero(alive_G)
    if len(alive) == 0:
        return before
    low, high = means_G[max(0, alive[0] - 1)], means_G[min(len(means_G) - 1, alive[-1] + 1)]
    return np.array([max(low, before[0]), min(high, before[1])])
