"""A task of recall that small models learn: pairs of a name and a value, one pair of which comes back after a while.

Each window has a table of its own: `FEW` names with values, whose pairs follow one another in random order, and one pair more, the needle, which is said
once and asked for later. Values are drawn anew for each window, so that nothing but looking back tells one. A value's symbol says whose it is, so that one
layer can look for it: with values that do not, two layers must find each other first, and did not within 300 updates.

Shapes: B windows, T tokens (even).
"""

from dataclasses import dataclass

import numpy as np

NAMES, VALUES, FEW = 16, 8, 8
VOCABULARY = NAMES + NAMES * VALUES


@dataclass(frozen=True)
class Recall:
    """Windows of `context` + 1 symbols; window `index` is a function of the seed and its number."""

    context: int
    seed: int

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens [B, T + 1], document ids [B, T + 1])."""
        tokens = np.stack([self._window(index) for index in range(first, first + count)])
        return tokens, np.zeros_like(tokens)

    def _window(self, index: int) -> np.ndarray:
        """Said and asked at two places that are drawn alike."""
        rng = np.random.default_rng((self.seed, index))
        said, asked = np.sort(rng.choice(self.context // 2, 2, replace=False))
        return window(rng, self.context // 2, int(said), int(asked))


def window(rng: np.random.Generator, pairs: int, said: int, asked: int) -> np.ndarray:
    """2 `pairs` + 1 symbols: the needle stands at pairs `said` and `asked`; the last symbol is a name."""
    names = rng.choice(NAMES, FEW + 1, replace=False)
    values = NAMES + VALUES * names + rng.integers(VALUES, size=FEW + 1)
    order = rng.integers(FEW, size=pairs + 1)
    order[[said, asked]] = FEW
    return np.stack([names[order], values[order]], axis=1).reshape(-1)[:-1]


def questions(length: int, depth: float, count: int, seed: int) -> np.ndarray:
    """[B, length]: the needle at `depth` of the way, asked by the last pair, whose value is the last symbol."""
    pairs = length // 2
    rng = np.random.default_rng((seed, length, round(1000 * depth)))
    rows = [window(rng, pairs, round(depth * (pairs - 2)), pairs - 1) for _ in range(count)]
    return np.stack(rows)[:, :length]


def repeated(tokens_BT: np.ndarray) -> np.ndarray:
    """[B, T]: whether a symbol is a value whose name was said before."""
    marks = np.zeros(tokens_BT.shape, dtype=bool)
    for row, tokens in enumerate(tokens_BT):
        seen: set[int] = set()
        for place in range(1, len(tokens), 2):
            name = int(tokens[place - 1])
            marks[row, place] = name in seen
            seen.add(name)
    return marks
