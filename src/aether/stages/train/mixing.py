"""Whose turn is it? Which source each sample of a mixture comes from, as a function of its index alone.

Shares are kept exactly: among the first n samples of a phase each source has n times its share to within one sample (Tijdeman,
The chairman assignment problem, Discrete Mathematics 32, 1980: within 1 - 1 / (2k - 2) for k sources). The turns of one round, as
many as the weights' whole parts, are a table; so a sample's source and place are known at once, and nothing need be remembered.

Shapes: W turns of a round, S sources.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from aether.spec.errors import InputError

LONGEST_ROUND = 10_000
"""Turns: weights of four digits."""


def whole_parts(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the weights' ratios, as they are written. Raises InputError beyond LONGEST_ROUND in sum."""
    exact = [Fraction(str(weight)) for weight in weights]
    scale = math.lcm(*(one.denominator for one in exact))
    parts = [int(one * scale) for one in exact]
    parts = [part // math.gcd(*parts) for part in parts]
    if sum(parts) > LONGEST_ROUND:
        mend = f"their ratio is {':'.join(map(str, parts))}; round them to parts of at most {LONGEST_ROUND:,} in all"
        raise InputError.of("mixture.sources.weight", list(weights), mend)
    return tuple(parts)


class Turns:
    """The endless order of the sources of one phase."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.parts = whole_parts(weights)
        self._round = sum(self.parts)
        order_W = _one_round(self.parts)
        taken_WS = np.cumsum(np.eye(len(self.parts), dtype=np.int64)[order_W], axis=0)
        self._order_W = order_W
        self._before_WS = np.concatenate((np.zeros((1, len(self.parts)), np.int64), taken_WS))

    def source(self, turn: int) -> int:
        """Whose turn it is."""
        return int(self._order_W[turn % self._round])

    def counts(self, turns: int) -> NDArray[np.int64]:
        """Turns of each source among the first `turns`, [S]."""
        rounds, rest = divmod(turns, self._round)
        return rounds * np.array(self.parts, np.int64) + self._before_WS[rest]


def _one_round(parts: tuple[int, ...]) -> NDArray[np.int64]:
    """Tijdeman's rule: of the sources that are far enough behind, the one that must come soonest."""
    total, given = sum(parts), [source for source, part in enumerate(parts) if part]
    if len(given) == 1:
        return np.full(total, given[0], np.int64)
    slack = 2 * len(given) - 2
    taken, order = [0] * len(parts), []
    for turn in range(1, total + 1):
        behind = {s: slack * (turn * parts[s] - taken[s] * total) for s in given}
        ready = [s for s in given if behind[s] >= total]
        soonest = min(ready, key=lambda s: (Fraction((slack - 1) * total - behind[s], parts[s]), s))
        taken[soonest] += 1
        order.append(soonest)
    return np.array(order, np.int64)


@dataclass(frozen=True)
class Stretch:
    """Samples from `first` on, up to the next stretch."""

    first: int
    turns: Turns


class MixturePlan:
    """The sources of every sample over all phases."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        assert stretches and stretches[0].first == 0
        self._stretches = list(stretches)
        counts = np.zeros(len(stretches[0].turns.parts), np.int64)
        self._before = [counts]
        for one, after in itertools.pairwise(stretches):
            counts = counts + one.turns.counts(after.first - one.first)
            self._before.append(counts)

    def _stretch(self, index: int) -> int:
        return max(place for place, one in enumerate(self._stretches) if one.first <= index)

    def counts(self, samples: int) -> NDArray[np.int64]:
        """Samples of each source among the first `samples`, [S]."""
        place = self._stretch(samples)
        one = self._stretches[place]
        return self._before[place] + one.turns.counts(samples - one.first)

    def at(self, index: int) -> tuple[int, int]:
        """(source, which of its own samples) of sample `index`."""
        one = self._stretches[self._stretch(index)]
        source = one.turns.source(index - one.first)
        return source, int(self.counts(index)[source])
