"""How many units an answer of a wanted precision needs, and what a set can show, before anything is measured. Light: no numpy, no scipy.

Follows Miller, arXiv 2411.00640 (section 5: paired comparisons, resampled answers), Wald's interval for the size of a sample of a share,
Kish, Survey Sampling (1965, 5.4: clusters), and David and Nagaraja, Order Statistics (2003, 7.1) for quantiles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist

from aether.spec.errors import InputError


def needed_for_quantile(share: float, level: float = 0.95) -> int:
    """The smallest n whose extreme values bound the `share` quantile on both sides at `level`."""
    tail, extreme = 0.5 - level / 2, max(share, 1 - share)
    return math.ceil(math.log(tail) / math.log(extreme))


def needed_for_share(half_width: float, share: float = 0.5, level: float = 0.95) -> int:
    """How many items put the interval of a share (an accuracy) within `half_width` of it; 0.5 is the hardest share."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return math.ceil(share * (1 - share) * (z / half_width) ** 2)


def needed_pairs(sd_of_difference: float, difference: float, level: float = 0.95, power: float = 0.8) -> int:
    """How many paired units find `difference` with probability `power` (Miller, arXiv 2411.00640, equation 9, K infinite)."""
    z = NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(power)
    return math.ceil((z * sd_of_difference / difference) ** 2)


def design_effect(cluster_size: float, intraclass_correlation: float) -> float:
    """By what factor clusters of about this many units multiply the variance of a mean (Kish 1965, 5.4)."""
    return 1.0 + (cluster_size - 1.0) * intraclass_correlation


@dataclass(frozen=True)
class Design:
    """A comparison of two systems before it is made. Scores are shares of 0 to 1 per item; defaults say what is usual.

    Two systems agree on what is hard: Miller finds correlations of 0.3 to 0.7 between frontier models, and 0.5 is assumed.
    """

    items: int
    accuracy: float = 0.5
    """Where both systems are expected to score; 0.5 is the hardest."""
    correlation: float = 0.5
    """Of the two systems' scores over items; 0 when they answer different items."""
    answers: int = 1
    """Answers drawn for each item by each system, K."""
    within_share: float = 0.0
    """The part of a single answer's variance that is chance in the answer itself; more answers shrink only this part."""
    cluster_size: float = 1.0
    intraclass_correlation: float = 0.0
    """Of the differences, within a cluster."""
    level: float = 0.95
    power: float = 0.8
    tests: int = 1
    """How many comparisons share the error rate (Bonferroni)."""

    @property
    def sd_of_difference(self) -> float:
        """Standard deviation of an item's difference of scores, with clusters' weight in it."""
        variance = self.accuracy * (1.0 - self.accuracy)
        between, within = variance * (1.0 - self.within_share), variance * self.within_share
        # What is correlated is what the items decide; the chance in the answers is drawn anew for each system.
        per_item = 2.0 * between * (1.0 - self.correlation) + 2.0 * within / self.answers
        return math.sqrt(per_item * design_effect(self.cluster_size, self.intraclass_correlation))

    @property
    def smallest_detectable(self) -> float:
        """The true difference that `items` items find with probability `power`: this set cannot be relied on below it."""
        return self._z(self.power) * self.sd_of_difference / math.sqrt(self.items)

    def power_for(self, difference: float) -> float:
        """The probability that a true difference of this size is found (two-sided test, normal approximation)."""
        normal, cut = NormalDist(), self._critical
        shift = abs(difference) * math.sqrt(self.items) / self.sd_of_difference
        return normal.cdf(shift - cut) + normal.cdf(-shift - cut)

    def items_for(self, difference: float) -> int:
        """How many items find a true difference of this size with probability `power`."""
        return math.ceil((self._z(self.power) * self.sd_of_difference / abs(difference)) ** 2)

    @property
    def _critical(self) -> float:
        return NormalDist().inv_cdf(1.0 - (1.0 - self.level) / (2.0 * self.tests))

    def _z(self, power: float) -> float:
        return self._critical + NormalDist().inv_cdf(power)


_BOUNDS = {
    "accuracy": (0.0, 1.0), "correlation": (-1.0, 1.0), "answers": (1, 10**6), "within_share": (0.0, 1.0), "cluster_size": (1.0, 10**9),
    "intraclass_correlation": (0.0, 1.0), "level": (0.0, 1.0), "power": (0.0, 1.0), "tests": (1, 10**9),
}  # fmt: skip
_OPEN = frozenset({"accuracy", "correlation", "level", "power"})
"""Fields whose bounds themselves leave nothing to compare."""


def design_of(items: int, settings: Sequence[str]) -> Design:
    """A design from FIELD=VALUE words. Raises InputError naming the field, the value and what it may be."""
    kinds = {field.name: field.type for field in fields(Design)}
    chosen: dict[str, float] = {}
    for setting in settings:
        name, mark, text = setting.partition("=")
        if not mark or name not in _BOUNDS:
            raise InputError.of("set", setting, f"write FIELD=VALUE with one of {', '.join(_BOUNDS)}")
        low, high = _BOUNDS[name]
        try:
            value = int(text) if kinds[name] in (int, "int") else float(text)
        except ValueError as error:
            raise InputError.of(name, text, f"give a number from {low:g} to {high:g}") from error
        if not low <= value <= high or (name in _OPEN and value in (low, high)):
            raise InputError.of(
                name, text, f"give a number {'between' if name in _OPEN else 'from'} {low:g} and {high:g}"
            )
        chosen[name] = value
    return Design(items, **chosen)  # pyright: ignore[reportArgumentType]  (the kinds were checked above)
