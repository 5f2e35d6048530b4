"""Training seeds as a part of the noise: scores of several seeds on the same items, taken apart and compared. No torch.

A table of scores (seeds, items) has three sources of spread: the seed, the item, and what is left. The parts are those of the crossed
two-way random model without replication (Searle, Casella and McCulloch, Variance Components, 1992, 4.3: ANOVA estimators). An interval of
the difference of two recipes speaks of new seeds and new items, with the degrees of freedom of Satterthwaite (1946).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from aether.evidence.statistics import Measurement, PairedDifference
from aether.spec.errors import InputError
from aether.spec.evidence import Interval


@dataclass(frozen=True)
class Components:
    """Variances of a single score by source, in squared units of the score; never below zero."""

    seed: float
    item: float
    rest: float
    """Of this seed on this item: chance in training and answering."""

    @property
    def shares(self) -> dict[str, float]:
        """Each source's part of the whole; all zero when scores do not vary."""
        parts = {"seed": self.seed, "item": self.item, "rest": self.rest}
        whole = sum(parts.values())
        return {name: part / whole if whole > 0 else 0.0 for name, part in parts.items()}


def components(scores: ArrayLike) -> Components:
    """The variance components of `scores` (seeds, items); needs two of each."""
    seed, item, rest, (seeds, items) = _mean_squares(scores)
    return Components(max(0.0, (seed - rest) / items), max(0.0, (item - rest) / seeds), rest)


def mean_over_seeds(scores: ArrayLike, level: float = 0.95) -> Measurement:
    """The mean of `scores` (seeds, items), for seeds and items that were not drawn."""
    table = np.asarray(scores, np.float64)
    seed, item, rest, (seeds, items) = _mean_squares(table)
    parts = [(seed / (seeds * items), seeds - 1), (item / (seeds * items), items - 1)]
    se, dof = _satterthwaite(parts, -rest / (seeds * items))
    value = float(table.mean())
    return Measurement(
        value, se, _interval(value, se, dof, level), seeds * items, seeds, f"{dof:.1f} degrees of freedom"
    )


def compare_seeds(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> PairedDifference:
    """a - b for two recipes' scores (seeds, items): the same items, seeds drawn apart. Raises InputError under two seeds each.

    Noise between seeds is Welch's; the items' part is that of the difference of the seed means, less what the seeds put into it.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError.of("items", (x.shape, y.shape), "score both recipes on the same items")
    (seed_a, _, rest_a, (seeds_a, items)), (seed_b, _, rest_b, (seeds_b, _)) = _mean_squares(x), _mean_squares(y)
    difference = float(x.mean() - y.mean())
    apart_I = x.mean(axis=0) - y.mean(axis=0)
    parts = [(seed_a / items / seeds_a, seeds_a - 1), (seed_b / items / seeds_b, seeds_b - 1)]
    parts.append((float(apart_I.var(ddof=1)) / items, items - 1))
    # The chance of a seed on an item stands in the spread over seeds and in the spread over items: once is enough.
    se, dof = _satterthwaite(parts, -(rest_a / seeds_a + rest_b / seeds_b) / items)
    base = float(y.mean())
    relative = difference / base if base else 0.0
    if se == 0.0:
        return PairedDifference(difference, 0.0, None, None, relative, None, items, seeds_a + seeds_b, "no spread")
    p_value = float(2 * stats.t.sf(abs(difference) / se, dof))
    spread = math.sqrt((seed_a + seed_b) / 2 / items)
    effect = difference / spread if spread > 0 else None
    note = f"{seeds_a} and {seeds_b} seeds, {dof:.1f} degrees of freedom"
    interval = _interval(difference, se, dof, level)
    return PairedDifference(difference, se, interval, p_value, relative, effect, items, seeds_a + seeds_b, note)


def _mean_squares(scores: ArrayLike) -> tuple[float, float, float, tuple[int, int]]:
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise InputError.of("scores", table.shape, "give a table of at least two seeds by two items")
    seeds, items = table.shape
    of_seed, of_item, whole = table.mean(axis=1), table.mean(axis=0), float(table.mean())
    seed = items * float(((of_seed - whole) ** 2).sum()) / (seeds - 1)
    item = seeds * float(((of_item - whole) ** 2).sum()) / (items - 1)
    left = table - of_seed[:, None] - of_item[None, :] + whole
    return seed, item, float((left**2).sum()) / ((seeds - 1) * (items - 1)), (seeds, items)


def _satterthwaite(parts: list[tuple[float, int]], less: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances, `less` what is in it twice; never below the largest part."""
    variance = max(sum(part for part, _ in parts) + less, max(part for part, _ in parts))
    spread = sum(part**2 / dof for part, dof in parts)
    return math.sqrt(variance), variance**2 / spread if spread > 0 else float("inf")


def _interval(value: float, se: float, dof: float, level: float) -> Interval:
    half = float(stats.t.ppf(0.5 + level / 2, dof)) * se
    return Interval(low=value - half, high=value + half, level=level, method="seeds and items, Satterthwaite t")
