"""An interpolated n-gram model over token ids: the honest baseline that costs seconds. NumPy only.

Modified Kneser-Ney with three discounts per order (Chen and Goodman, TR-10-98, sections 3 and 4.1), the lowest order
interpolated with the uniform distribution. Counts are exact: an n-gram's identity is the number of its prefix times
the vocabulary plus its last token, level by level, so nothing is hashed and sorted arrays take the place of tables.
Documents never see each other; the separator that begins a document is history, never predicted. Not a language
model server: it scores known tokens and cannot sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One order: the sorted keys of its n-grams, their (continuation) counts, and sums over each history."""

    keys: Ints
    """prefix number * vocabulary + last token, sorted; the position of a key is the n-gram's number."""
    counts: Ints
    history_total: Floats
    """Sum of counts over the n-grams that share a history, by the history's number."""
    history_reserved: Floats
    """Probability mass that the discounts free, by the history's number."""
    discounts: Floats
    """What is taken from counts of 0, 1, 2, and 3 or more."""


def _starts(tokens_T: NDArray, separator: int) -> Ints:
    """Index of the document start for every position."""
    place_T = np.arange(len(tokens_T))
    return np.maximum.accumulate(np.where(tokens_T == separator, place_T, 0))


def _discounts(counts: Ints) -> Floats:
    """Chen and Goodman's D1, D2, D3+ from the counts of counts; 0.5 where those are too thin to estimate them."""
    of = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if (of[1:5] == 0).any():
        return np.array([0.0, 0.5, 0.5, 0.5])
    base = of[1] / (of[1] + 2 * of[2])
    raw = [k - (k + 1) * base * of[k + 1] / of[k] for k in (1, 2, 3)]
    return np.array([0.0, *(min(max(value, 0.0), float(k)) for k, value in zip((1, 2, 3), raw, strict=True))])


class NgramModel:
    """Counts of orders 1 to `order` over a training stream (t,) of token ids in which `separator` begins documents."""

    def __init__(self, tokens: ArrayLike, vocab_size: int, order: int = 5, separator: int = 0) -> None:
        self.vocab_size, self.order, self.separator = vocab_size, order, separator
        stream = np.asarray(tokens)
        start_T = _starts(stream, separator)
        age_T = np.arange(len(stream)) - start_T
        self.levels: list[Level] = []
        previous_T: Ints | None = None
        previous_keys: Ints | None = None
        last_raw = np.zeros(0, dtype=np.int64)
        for n in range(1, order + 1):
            # Position i ends an n-gram when its n tokens lie in one document.
            valid = np.flatnonzero(age_T >= n - 1)
            last = stream[valid].astype(np.int64)
            key = last if previous_T is None else previous_T[valid - 1] * vocab_size + last
            keys, first, number, raw = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
            number_T = np.full(len(stream), -1, dtype=np.int64)
            number_T[valid] = number
            if previous_keys is not None and previous_T is not None:
                self._finish(n - 1, previous_keys, previous_T[valid[first]], (stream, age_T, previous_T))
            previous_T, previous_keys, last_raw = number_T, keys, raw
        assert previous_keys is not None
        self._append(previous_keys, last_raw, order)

    def _finish(self, n: int, keys: Ints, extended: Ints, places: tuple[NDArray, Ints, Ints]) -> None:
        """Close order n: its counts are distinct left extensions, or plain counts where a document begins."""
        _stream, age_T, number_T = places
        counts = np.bincount(extended, minlength=len(keys))
        beginning = number_T[age_T == n - 1]
        plain = np.bincount(beginning, minlength=len(keys))
        # An n-gram that begins with the separator has no left neighbour anywhere.
        counts = np.where(plain > 0, plain, counts)
        self._append(keys, counts, n)

    def _append(self, keys: Ints, counts: Ints, n: int) -> None:
        if n == 1:
            counts = np.where(keys == self.separator, 0, counts)
        history = keys // self.vocab_size if n > 1 else np.zeros(len(keys), dtype=np.int64)
        width = len(self.levels[-1].keys) if n > 1 else 1
        discounts = _discounts(counts[counts > 0])
        taken = np.minimum(discounts[np.minimum(counts, 3)], counts)
        total = np.bincount(history, weights=counts, minlength=width).astype(np.float64)
        reserved = np.bincount(history, weights=taken, minlength=width).astype(np.float64)
        share = np.divide(reserved, total, out=np.ones(width), where=total > 0)
        self.levels.append(Level(keys, counts, total, share, discounts))

    def probabilities(self, tokens: ArrayLike) -> Floats:
        """P(token | up to order - 1 tokens before it in its document) for every position (t,); 1 at separators."""
        stream = np.asarray(tokens, dtype=np.int64)
        age_T = np.arange(len(stream)) - _starts(stream, self.separator)
        probability_T = np.full(len(stream), 1.0 / (self.vocab_size - 1))
        # ends_T[i]: number of the (n - 1)-gram that ends at i, or -1 when training never saw it.
        ends_T = np.zeros(len(stream), dtype=np.int64)
        for n, level in enumerate(self.levels, start=1):
            before_T = np.full(len(stream), -1, dtype=np.int64)
            before_T[1:] = ends_T[:-1]
            if n == 1:
                before_T[:] = 0
            known = np.flatnonzero((before_T >= 0) & (age_T >= n - 1))
            history = before_T[known]
            number, found = self._look_up(level, history, stream[known], n)
            ends_T = np.full(len(stream), -1, dtype=np.int64)
            ends_T[known[found]] = number[found]
            self._mix(probability_T, level, known, (history, number, found))
        probability_T[stream == self.separator] = 1.0
        return probability_T

    def _look_up(self, level: Level, history: Ints, last: Ints, n: int) -> tuple[Ints, NDArray[np.bool_]]:
        key = last if n == 1 else history * self.vocab_size + last
        number = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
        return number, level.keys[number] == key

    @staticmethod
    def _mix(probability_T: Floats, level: Level, known: Ints, where: tuple[Ints, Ints, NDArray[np.bool_]]) -> None:
        """Interpolate this order into the lower orders' probability, where its history was seen."""
        history, number, found = where
        total = level.history_total[history]
        count = np.where(found, level.counts[number], 0)
        kept = count - np.minimum(level.discounts[np.minimum(count, 3)], count)
        direct = np.divide(kept, total, out=np.zeros(len(known)), where=total > 0)
        mixed = direct + level.history_reserved[history] * probability_T[known]
        probability_T[known] = np.where(total > 0, mixed, probability_T[known])

    def bits(self, tokens: ArrayLike) -> Floats:
        """-log2 of `probabilities` (t,)."""
        return -np.log2(self.probabilities(tokens))
