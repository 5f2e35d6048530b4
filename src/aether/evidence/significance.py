"""Tests that need no shape of the noise, corrections for many tests, and effect sizes. No torch.

The permutation test flips the signs of whole clusters' differences (Good, Permutation, Parametric and Bootstrap Tests, 2005, 3.2), with
the p value of Phipson and Smyth, arXiv 1603.05766 (an observed result counts among the drawn ones, so p is never 0). Benjamini and
Hochberg (1995) bound the false discovery rate; Holm (`statistics.holm`) the chance of any. Effect sizes: Cohen, Statistical Power
Analysis (1988, 2.2 and 6.2), with the correction of Hedges (1981) for few units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from aether.evidence.statistics import Labels, cluster_totals, exact_proportion
from aether.spec.evidence import Interval

EXACT_CLUSTERS = 14
"""Up to so many clusters all sign patterns are counted (16,384 of them), beyond it they are drawn."""


@dataclass(frozen=True)
class Discordance:
    """Two systems on the same yes/no items: where just one of them succeeds, and the odds of which one it is."""

    only_a: int
    only_b: int
    p_value: float
    """Two-sided exact McNemar."""
    mid_p_value: float
    """The same with half the weight on the observed table (Fagerland et al. 2013): closer to the nominal rate."""
    odds_ratio: float | None
    """only_a / only_b; None when only_b is 0, where no upper limit exists."""
    odds_interval: Interval | None


def permutation_test(
    a: ArrayLike, b: ArrayLike, clusters: Labels | None = None, draws: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p value that a and b (n,), on the same units, differ on average. Needs only that signs are exchangeable."""
    apart_C = cluster_totals(np.asarray(a, np.float64) - np.asarray(b, np.float64), clusters)
    count, observed = len(apart_C), abs(float(apart_C.sum()))
    slack = 1e-12 * float(np.abs(apart_C).sum())
    if count <= EXACT_CLUSTERS:
        signs_RC = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs_RC @ apart_C) >= observed - slack).mean())
    rng = np.random.default_rng(seed)
    reached = 0
    for start in range(0, draws, 1000):
        signs_RC = rng.integers(0, 2, (min(1000, draws - start), count)) * 2.0 - 1.0
        reached += int((np.abs(signs_RC @ apart_C) >= observed - slack).sum())
    return (1 + reached) / (1 + draws)


def mcnemar(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Discordance:
    """Two systems' successes (n,) of 0 and 1 on the same independent items."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert x.shape == y.shape and bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all()), "0 or 1 per item"
    only_a, only_b = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
    trials = only_a + only_b
    if trials == 0:
        return Discordance(0, 0, 1.0, 1.0, None, None)
    p_value = float(stats.binomtest(only_a, trials, 0.5).pvalue)
    # Where both sides are equal, the two tails meet in the observed table and would count it twice.
    observed = float(stats.binom.pmf(only_a, trials, 0.5))
    mid_p = p_value - (observed / 2 if only_a == only_b else observed)
    if only_b == 0:
        return Discordance(only_a, only_b, p_value, mid_p, None, None)
    share = exact_proportion(only_a, trials, level).interval
    assert share is not None
    low, high = share.low / (1.0 - share.low), share.high / (1.0 - share.high)
    interval = Interval(low=low, high=high, level=level, method="Clopper-Pearson on the odds")
    return Discordance(only_a, only_b, p_value, mid_p, only_a / only_b, interval)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the given order: those under q make discoveries of which a share q is false on average."""
    if not p_values:
        return []
    return [float(p) for p in stats.false_discovery_control(p_values, method="bh")]


def cohen_d(a: ArrayLike, b: ArrayLike) -> float | None:
    """Difference of the means over the pooled standard deviation of single units, corrected for few units (Hedges' g).

    For pairs too: the unit is how far units differ from each other, so that designs can be compared. None without spread.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    dof = len(x) + len(y) - 2
    if dof < 1:
        return None
    pooled = math.sqrt(((len(x) - 1) * _variance(x) + (len(y) - 1) * _variance(y)) / dof)
    return (float(x.mean()) - float(y.mean())) / pooled * (1.0 - 3.0 / (4.0 * dof - 1.0)) if pooled > 0 else None


def cohen_h(share_a: float, share_b: float) -> float:
    """Effect size of two shares on the arcsine scale, on which 0.2 is small, 0.5 middling and 0.8 large (Cohen 1988, 6.2)."""
    return 2.0 * math.asin(math.sqrt(share_a)) - 2.0 * math.asin(math.sqrt(share_b))


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
