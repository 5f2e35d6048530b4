"""Variants of one recipe, each trained with the same seeds: differences from a baseline, with intervals and corrected for many. No torch.

Seeds are blocks of a randomised block design (Montgomery, Design and Analysis of Experiments, 4.1): a variant's value is its own mean plus
the seed's plus noise, the noise of all variants alike and pooled, which three seeds of one pair alone could not estimate.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from aether.evidence.statistics import holm
from aether.spec.errors import InputError
from aether.spec.evidence import Interval

ALPHA = 0.05
Conclusion = Literal["better", "worse", "no evidence of a difference"]


@dataclass(frozen=True)
class Difference:
    """A variant less the baseline, in the metric's own unit; lower is better."""

    value: float
    interval: Interval
    p_value: float
    """Two-sided, adjusted for all variants (Holm)."""
    conclusion: Conclusion


@dataclass(frozen=True)
class Blocks:
    """The noise of a single training once its variant and its seed are taken out, and what comparisons with it can show."""

    noise: float
    """Standard deviation."""
    degrees: int
    seeds: int
    variants: int

    @property
    def se(self) -> float:
        """Of the difference of two variants' means."""
        return self.noise * math.sqrt(2.0 / self.seeds)

    def detectable(self, power: float = 0.8) -> float:
        """The smallest true difference that every one of the comparisons finds with probability `power` (Bonferroni's level)."""
        return detectable_in_noises(self.variants, self.seeds, power) * self.noise


def detectable_in_noises(variants: int, seeds: int, power: float = 0.8) -> float:
    """The same before anything is trained: in standard deviations of the noise."""
    degrees = (variants - 1) * (seeds - 1)
    level = 1.0 - ALPHA / max(1, variants - 1)
    return float(stats.t.ppf(0.5 + level / 2, degrees) + stats.t.ppf(power, degrees)) * math.sqrt(2.0 / seeds)


def noise_of(values: ArrayLike) -> Blocks:
    """The pooled noise of `values` (variants, seeds). Raises InputError under two of each."""
    table_VS = np.asarray(values, np.float64)
    if table_VS.ndim != 2 or min(table_VS.shape) < 2:
        raise InputError.of("values", table_VS.shape, "at least two variants and two seeds are needed")
    variants, seeds = table_VS.shape
    left = table_VS - table_VS.mean(1, keepdims=True) - table_VS.mean(0, keepdims=True) + table_VS.mean()
    degrees = (variants - 1) * (seeds - 1)
    return Blocks(math.sqrt(float((left**2).sum()) / degrees), degrees, seeds, variants)


def against_baseline(values: ArrayLike, baseline: int, level: float = 0.95) -> list[Difference | None]:
    """Each variant of `values` (variants, seeds) against row `baseline`; None for the baseline itself."""
    table_VS = np.asarray(values, np.float64)
    blocks = noise_of(table_VS)
    means = table_VS.mean(axis=1)
    others = [row for row in range(len(means)) if row != baseline]
    apart = [float(means[row] - means[baseline]) for row in others]
    half = float(stats.t.ppf(0.5 + level / 2, blocks.degrees)) * blocks.se
    method = f"paired by seed, noise pooled over {blocks.variants} variants, t with {blocks.degrees} degrees of freedom"
    found: list[Difference | None] = [None] * len(means)
    for row, value, p_value in zip(others, apart, holm([_p_value(d, blocks) for d in apart]), strict=True):
        interval = Interval(low=value - half, high=value + half, level=level, method=method)
        found[row] = Difference(value, interval, p_value, _conclusion(value, p_value))
    return found


def _p_value(difference: float, blocks: Blocks) -> float:
    if blocks.se == 0.0:
        return 1.0 if difference == 0.0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / blocks.se, blocks.degrees))


def _conclusion(difference: float, p_value: float) -> Conclusion:
    if p_value >= ALPHA:
        return "no evidence of a difference"
    return "better" if difference < 0 else "worse"
