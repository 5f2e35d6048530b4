"""A study of preferences before it is run: what so many votes can show, who judges what, and whether a careless rater is found. No numpy.

The share of pairs that one model wins has at most the variance of a fair coin. Votes of one rater, and of one pair, are alike: Kish's design
effect (Survey Sampling, 1965, 5.4) for each of the two. In 8,931 published votes of 124 raters, errors over raters are 1.26 times those over
votes (`tests/evidence/test_bradley_terry.py`), so a rater's votes are correlated by 0.01; for the votes on one pair 0.3 is assumed.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from aether.evidence.pairs import Pair
from aether.evidence.sample_size import design_effect
from aether.spec.errors import InputError


@dataclass(frozen=True)
class StudyDesign:
    """How many pairs of two models, who judges them, and what is taken for granted."""

    pairs: int
    raters: int
    per_pair: int = 1
    """Different raters for each pair."""
    checks: int = 8
    """Checks of attention for each rater, besides the pairs."""
    pass_share: float = 0.8
    """Raters who pass a smaller share of the checks are left out."""
    within_rater: float = 0.01
    within_pair: float = 0.3
    level: float = 0.95
    power: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.per_pair <= self.raters:
            raise InputError.of("per_pair", self.per_pair, f"give 1 to {self.raters}, the number of raters")
        if self.pairs < 1 or self.checks < 0:
            raise InputError.of(
                "pairs, checks", (self.pairs, self.checks), "give at least one pair and no fewer checks than none"
            )

    @property
    def votes(self) -> int:
        """Without the checks."""
        return self.pairs * self.per_pair

    @property
    def largest_load(self) -> int:
        """Judgements that the busiest rater makes, the checks among them."""
        return math.ceil(self.votes / self.raters) + self.checks

    @property
    def se(self) -> float:
        """Standard error of the share of wins, at most (a share of one half, no ties)."""
        raters = design_effect(self.votes / self.raters, self.within_rater)
        pairs = design_effect(self.per_pair, self.within_pair)
        return math.sqrt(0.25 * raters * pairs / self.votes)

    @property
    def smallest_detectable(self) -> float:
        """How far from one half a true share of wins must be to be found with probability `power`."""
        normal = NormalDist()
        return (normal.inv_cdf(0.5 + self.level / 2) + normal.inv_cdf(self.power)) * self.se

    def power_for(self, difference: float) -> float:
        """The probability that a share of wins of one half plus `difference` is told from one half."""
        normal = NormalDist()
        cut, shift = normal.inv_cdf(0.5 + self.level / 2), abs(difference) / self.se
        return normal.cdf(shift - cut) + normal.cdf(-shift - cut)

    @property
    def careless_pass(self) -> float:
        """The probability that a rater who flips a coin passes enough checks to stay."""
        needed = math.ceil(self.pass_share * self.checks - 1e-9)
        return sum(math.comb(self.checks, k) for k in range(needed, self.checks + 1)) / 2**self.checks


def design_of(pairs: Sequence[Pair], raters: int, per_pair: int, checks: int) -> StudyDesign:
    """The design for these pairs: those with a right answer are checks of attention, which everyone gets, and no votes."""
    own = sum(pair.check is not None for pair in pairs)
    return StudyDesign(len(pairs) - own, raters, per_pair, max(checks, own))


def assigned(design: StudyDesign, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """For each rater the numbers of the pairs that they judge: each pair by `per_pair` raters, loads within one of each other, by lot."""
    draw = random.Random(seed)
    mine: list[list[int]] = [[] for _ in range(design.raters)]
    for pair in draw.sample(range(design.pairs), design.pairs):
        # Those with the least to do, by lot among equals: loads stay equal, and who shares a pair with whom is chance.
        order = sorted(range(design.raters), key=lambda rater: (len(mine[rater]), draw.random()))
        for rater in order[: design.per_pair]:
            mine[rater].append(pair)
    return tuple(tuple(sorted(pairs)) for pairs in mine)
