"""How strong evidence is: intervals for ratios, proportions, quantiles, and tests of paired differences. No torch.

Units that belong together (the files of one folder, the lines of one file) are a cluster, and every interval here
is over clusters. Follows Cochran, Sampling Techniques (1977, ch. 6 and 9A: the ratio estimator and its linearised
variance); Miller, arXiv 2411.00640 (clustered and paired standard errors of evaluations); Wilson (1927) with the
effective sample size of Korn and Graubard (1998); Efron (1987) for the BCa bootstrap; David and Nagaraja, Order
Statistics (2003, 7.1) for quantiles; Holm (1979). An interval speaks of other documents from the same source:
it does not cover other training seeds, and it is no substitute for repeating a run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from aether.evidence.sample_size import needed_for_quantile
from aether.spec.evidence import Interval

Labels = Sequence[Any] | NDArray[Any]
Floats = NDArray[np.float64]

SMALL_CLUSTERS = 30
"""Fewer clusters than this and a linearised interval is worth checking against a bootstrap (assumed; a common rule)."""


@dataclass(frozen=True)
class Measurement:
    """An estimate with its uncertainty. `interval` is None when the data cannot bound it; `note` then says why."""

    value: float
    se: float | None
    interval: Interval | None
    n: int
    """Units (documents, lines, requests)."""
    clusters: int
    """Independent groups of units: what the degrees of freedom come from."""
    note: str = ""


@dataclass(frozen=True)
class PairedDifference:
    """a - b on the same units: in the ratio's own unit, relative to b, and standardised (t / sqrt(clusters))."""

    difference: float
    se: float | None
    interval: Interval | None
    p_value: float | None
    relative: float
    effect_size: float | None
    n: int
    clusters: int
    note: str = ""

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out zero; where there is none, whether p is below 0.05."""
        if self.interval is None:
            return self.p_value is not None and self.p_value < 0.05
        return not self.interval.low <= 0.0 <= self.interval.high


@dataclass(frozen=True)
class NonInferiority:
    """Whether a is worse than b by less than `bound` (relative): the upper confidence limit must be inside."""

    relative: float
    upper: float | None
    interval: Interval | None
    bound: float
    p_value: float | None
    passed: bool
    n: int
    clusters: int


def _cluster_index(clusters: Labels | None, n: int) -> tuple[NDArray[np.int64], int]:
    if clusters is None:
        return np.arange(n), n
    assert len(clusters) == n, f"{len(clusters)} cluster labels for {n} units"
    position: dict[Any, int] = {}
    index = np.fromiter((position.setdefault(label, len(position)) for label in clusters), dtype=np.int64, count=n)
    return index, len(position)


def cluster_totals(values: ArrayLike, clusters: Labels | None) -> Floats:
    """Sums of `values` (n,) within each cluster (c,), in order of first appearance."""
    array = np.asarray(values, dtype=np.float64)
    index, count = _cluster_index(clusters, len(array))
    return np.bincount(index, weights=array, minlength=count).astype(np.float64)


def ratio(
    numerator: ArrayLike, denominator: ArrayLike, clusters: Labels | None = None, level: float = 0.95
) -> Measurement:
    """sum(numerator) / sum(denominator) over n units, with a cluster-robust t interval on clusters - 1 degrees of freedom.

    Linearised (Taylor) variance with each cluster's residual divided by one minus its share of the denominator, which
    is the delete-one-cluster jackknife: without it, one large file among small ones makes the interval too short.
    """
    y, x = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    assert y.shape == x.shape and y.ndim == 1 and len(y) > 0, "one numerator and one denominator per unit"
    total = float(x.sum())
    assert total > 0, "the denominators sum to nothing"
    value = float(y.sum()) / total
    y_C, x_C = cluster_totals(y, clusters), cluster_totals(x, clusters)
    count = len(y_C)
    share_C = x_C / total
    if count < 2 or float(share_C.max()) >= 1.0:
        return Measurement(value, None, None, len(y), count, "one cluster holds everything: no interval")
    pull_C = (y_C - value * x_C) / (1.0 - share_C) / total
    se = math.sqrt(float((pull_C**2).sum()) * (count - 1) / count)
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * se
    interval = Interval(low=value - half, high=value + half, level=level, method="cluster-robust ratio, t")
    note = f"only {count} clusters" if count < SMALL_CLUSTERS else ""
    return Measurement(value, se, interval, len(y), count, note)


def mean(values: ArrayLike, clusters: Labels | None = None, level: float = 0.95) -> Measurement:
    """The mean of n values with a cluster-robust t interval."""
    array = np.asarray(values, np.float64)
    return ratio(array, np.ones_like(array), clusters, level)


@dataclass(frozen=True)
class Bootstrap:
    """How to resample clusters. BCa corrects bias and skew; percentile is the plain one."""

    resamples: int = 4000
    seed: int = 0
    method: Literal["bca", "percentile"] = "bca"


def cluster_bootstrap(
    numerator: ArrayLike,
    denominator: ArrayLike,
    clusters: Labels | None = None,
    level: float = 0.95,
    how: Bootstrap = Bootstrap(),
) -> Measurement:
    """sum / sum with an interval from resampling whole clusters with replacement. For few clusters or skewed ones."""
    y_C, x_C = cluster_totals(numerator, clusters), cluster_totals(denominator, clusters)
    count, n = len(y_C), len(np.asarray(numerator))
    value = float(y_C.sum() / x_C.sum())
    if count < 2:
        return Measurement(value, None, None, n, count, "one cluster holds everything: no interval")
    rng = np.random.default_rng(how.seed)
    # Counts of a multinomial are the same resampling as drawn indices, in one matrix product.
    weight_RC = rng.multinomial(count, np.full(count, 1.0 / count), size=how.resamples).astype(np.float64)
    below_R = weight_RC @ x_C
    resampled = np.divide(weight_RC @ y_C, below_R, out=np.full(how.resamples, value), where=below_R > 0)
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if how.method == "bca":
        tails = _bca_tails(resampled, value, (y_C, x_C), tails)
    low, high = np.quantile(resampled, tails)
    interval = Interval(low=float(low), high=float(high), level=level, method=f"cluster bootstrap, {how.method}")
    return Measurement(value, float(resampled.std(ddof=1)), interval, n, count)


def _bca_tails(resampled: Floats, value: float, totals: tuple[Floats, Floats], tails: Floats) -> Floats:
    """The percentiles that bias and acceleration move `tails` to (Efron 1987, equation 6.8)."""
    y_C, x_C = totals
    below = float((resampled < value).mean() + 0.5 * (resampled == value).mean())
    if not 0.0 < below < 1.0 or float(np.ptp(resampled)) == 0.0:
        return tails
    bias = float(stats.norm.ppf(below))
    left_out = (y_C.sum() - y_C) / np.maximum(x_C.sum() - x_C, np.finfo(float).tiny)
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6.0 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + stats.norm.ppf(tails)
    return np.asarray(stats.norm.cdf(bias + shifted / (1.0 - acceleration * shifted)))


def proportion(
    successes: ArrayLike, clusters: Labels | None = None, level: float = 0.95, trials: ArrayLike | None = None
) -> Measurement:
    """The share of successes among trials, with a Wilson interval on the effective sample size.

    `successes` (n,) of `trials` (n,) per unit; without `trials` each unit is one. The design effect (clustered
    variance over binomial variance, never below 1) shrinks the number of trials; with every trial a success or
    every one a failure it cannot be estimated, and the number of equal clusters that would weigh the same stands
    in, the most careful choice. The t quantile on clusters - 1 replaces the normal one. Never of zero width.
    """
    hit = np.asarray(successes, np.float64)
    tried = np.ones_like(hit) if trials is None else np.asarray(trials, np.float64)
    assert hit.ndim == 1 and len(hit) > 0 and hit.shape == tried.shape
    assert bool(((hit >= 0) & (hit <= tried)).all()), "a unit has from none to all of its trials as successes"
    n = float(tried.sum())
    value = float(hit.sum()) / n
    size_C = cluster_totals(tried, clusters)
    count = len(size_C)
    if count < 2 or float(size_C.max()) >= n:
        return Measurement(value, None, None, len(hit), count, "one cluster holds everything: no interval")
    effective, clustered = _effective(hit, tried, clusters, size_C)
    note = f"design effect {n / effective:.2f}" if effective < n else ""
    quantile = float(stats.t.ppf(0.5 + level / 2, count - 1))
    low, high = _wilson(value, effective, quantile)
    interval = Interval(low=low, high=high, level=level, method="Wilson with design effect, t")
    return Measurement(value, clustered, interval, len(hit), count, note)


def effective_trials(successes: ArrayLike, clusters: Labels | None = None) -> float:
    """How many independent trials n clustered ones of 0 or 1 are worth: n over the design effect, as `proportion` has it."""
    hit = np.asarray(successes, np.float64)
    size_C = cluster_totals(np.ones_like(hit), clusters)
    if len(size_C) < 2:
        return float(len(size_C))
    return _effective(hit, np.ones_like(hit), clusters, size_C)[0]


def _effective(hit: Floats, tried: Floats, clusters: Labels | None, size_C: Floats) -> tuple[float, float]:
    """(effective trials, clustered standard error) of a share over at least two clusters."""
    n = float(tried.sum())
    value = float(hit.sum()) / n
    kish = n**2 / float((size_C**2).sum())
    clustered = ratio(hit, tried, clusters).se
    assert clustered is not None
    binomial = value * (1.0 - value) / n
    effective = min(n, n * binomial / clustered**2) if clustered > 0 and binomial > 0 else kish
    return effective, clustered


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    square = quantile**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return min(low, share), max(high, share)


def exact_proportion(successes: float, n: float, level: float = 0.95) -> Measurement:
    """The Clopper-Pearson interval of `successes` among `n` independent trials; effective numbers need not be whole (Korn and Graubard 1998)."""
    assert 0 <= successes <= n and n > 0
    tail = 0.5 - level / 2
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    units = max(1, round(n))
    return Measurement(
        successes / n, None, Interval(low=low, high=high, level=level, method="Clopper-Pearson"), units, units
    )


def paired_difference(
    a: ArrayLike, b: ArrayLike, denominator: ArrayLike, clusters: Labels | None = None, level: float = 0.95
) -> PairedDifference:
    """sum(a) / sum(denominator) - sum(b) / sum(denominator) on the same n units, cluster-robust, two-sided t test.

    Where every cluster has the same difference, its error cannot be estimated: no interval, and p by flips of the clusters' signs.
    """
    a_N, b_N = np.asarray(a, np.float64), np.asarray(b, np.float64)
    apart = ratio(a_N - b_N, denominator, clusters, level)
    base = float(b_N.sum())
    relative = float((a_N - b_N).sum()) / base if base else 0.0
    if apart.se is None:
        return PairedDifference(apart.value, None, None, None, relative, None, apart.n, apart.clusters, apart.note)
    if apart.se == 0.0:
        p_value, effect = (1.0, 0.0) if apart.value == 0.0 else (min(1.0, 2.0 * 0.5**apart.clusters), None)
        note = "the same difference everywhere: its error cannot be estimated"
        return PairedDifference(apart.value, 0.0, None, p_value, relative, effect, apart.n, apart.clusters, note)
    statistic = apart.value / apart.se
    p_value = float(2 * stats.t.sf(abs(statistic), apart.clusters - 1))
    effect = statistic / math.sqrt(apart.clusters)
    return PairedDifference(
        apart.value, apart.se, apart.interval, p_value, relative, effect, apart.n, apart.clusters, apart.note
    )


def non_inferiority(
    a: ArrayLike, b: ArrayLike, bound: float, clusters: Labels | None = None, level: float = 0.95
) -> NonInferiority:
    """Test that sum(a) / sum(b) - 1 <= bound, where more is worse, on the same n units (paired, clustered).

    Passes when the upper limit of the two-sided interval is inside the bound: a one-sided test at (1 - level) / 2.
    With one cluster there is no limit, and so no pass.
    """
    quotient = ratio(a, b, clusters, level)
    relative = quotient.value - 1.0
    if quotient.se is None or quotient.interval is None:
        return NonInferiority(relative, None, None, bound, None, False, quotient.n, quotient.clusters)
    low, high = quotient.interval.low - 1.0, quotient.interval.high - 1.0
    interval = Interval(low=low, high=high, level=level, method="paired cluster-robust ratio, t")
    if quotient.se == 0.0:
        p_value = 0.0 if relative <= bound else 1.0
    else:
        p_value = float(stats.t.sf((bound - relative) / quotient.se, quotient.clusters - 1))
    return NonInferiority(relative, high, interval, bound, p_value, high <= bound, quotient.n, quotient.clusters)


def quantile(values: ArrayLike, share: float, level: float = 0.95) -> Measurement:
    """The `share` quantile (0.99 for p99) of n independent values, with a distribution-free order-statistic interval.

    The value is the smallest observation with at least `share` of them at or below it. The interval is None when n is
    too small for an upper or a lower limit to exist; the note then says how many values would bound it.
    Values that wait for each other (a queue) are not independent, and the interval is then too short.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    assert n > 0 and 0 < share < 1
    value = float(ordered[max(0, math.ceil(share * n - 1e-9) - 1)])
    tail = 0.5 - level / 2
    # The k-th smallest lies at or below the quantile with probability P(Binomial(n, share) >= k).
    low_rank = int(stats.binom.ppf(tail, n, share))
    high_rank = int(stats.binom.ppf(1 - tail, n, share)) + 1
    if low_rank < 1 or high_rank > n:
        note = (
            f"{n} values cannot bound the {share:.0%} quantile at {level:.0%}: {needed_for_quantile(share, level)} can"
        )
        return Measurement(value, None, None, n, n, note)
    low, high = float(ordered[low_rank - 1]), float(ordered[high_rank - 1])
    return Measurement(value, None, Interval(low=low, high=high, level=level, method="order statistics"), n, n)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p value that a and b succeed equally often, from the pairs where just one of them does."""
    trials = only_a + only_b
    return 1.0 if trials == 0 else float(stats.binomtest(only_a, trials, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[int(index)] = running
    return adjusted


def smallest_detectable(se: float, clusters: int, level: float = 0.95, power: float = 0.8) -> float:
    """The true difference that a test with this standard error finds with probability `power` (t approximation)."""
    dof = max(1, clusters - 1)
    return float(stats.t.ppf(0.5 + level / 2, dof) + stats.t.ppf(power, dof)) * se
