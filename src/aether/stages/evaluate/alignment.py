"""Edited copies of items in training documents: their words aligned where short runs point to one place. Numpy alone.

The best local alignment of an item's words with a document's (Smith and Waterman, Journal of Molecular Biology 147, 1981): an equal word counts
one, a replaced, missing or added one takes one away, and equal words of a template count nothing. Over the item's own words that is 1 for a
copy, wherever it stands, and about 1 - 2 p for one with a share p of its words replaced. As in BLAST (Altschul et al., Journal of Molecular
Biology 215, 1990) only those places are aligned that short runs of equal words name.

Legend: W words of a document, H hits of its runs, N words of an item, M words at a place, R a row of the alignment.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aether.stages.evaluate.word_runs import WordRuns

SEED = 4
"""Words in a run that names a place (assumed)."""
COVERED = 0.25
"""Of an item's own words, the share that the runs of one place must cover for it to be aligned (assumed)."""
SMALLEST_BIN = 8


LEAST_SCORE = 10
"""As much as an exact run of ten words: a lower score says nothing, unless it is of all of an item's own words (assumed)."""


class Aligned(NamedTuple):
    """An alignment: its score over the item's own words, and the first and one past the last aligned word of both."""

    share: float
    item_start: int
    item_end: int
    start: int
    end: int


class EditedCopies:
    """The items' short runs; training documents go by one at a time."""

    def __init__(self, words_I: Sequence[np.ndarray]) -> None:
        self._runs = WordRuns(words_I, SEED)
        self._words_I = words_I
        self._length_I = np.array([len(words) for words in words_I])
        self._own_I = np.array([own.sum() for own in self._runs.is_own_I])
        self._best_I = np.zeros(len(words_I), np.int64)

    def find(self, words_W: np.ndarray) -> Iterator[tuple[int, Aligned]]:
        """Items that a place holds a better copy of than any place before."""
        for item, first, last in self._places(words_W):
            low, own = max(0, first), int(self._own_I[item])
            texts = self._words_I[item], words_W[low:last], self._runs.is_own_I[item]
            score, item_end, end = ending(*texts)
            if score >= min(LEAST_SCORE, own) and score > self._best_I[item]:
                self._best_I[item] = score
                item_start, start = beginning(*texts, item_end, end)
                yield item, Aligned(score / own, item_start, item_end, low + start, low + end)

    def _places(self, words_W: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """(item, first word, one past the last): where hits of an item lie as far apart in the document as in the item."""
        hits = self._runs.hits(words_W)
        if not len(hits.item_H):
            return
        width_H = np.maximum(SMALLEST_BIN, self._length_I[hits.item_H] // 2)
        bin_H = (hits.at_H - hits.item_at_H) // width_H
        order = np.lexsort((hits.item_at_H, bin_H, hits.item_H))
        item_H, bin_H, at_H = hits.item_H[order], bin_H[order], hits.item_at_H[order]
        begins_H = np.r_[True, (np.diff(item_H) != 0) | (np.diff(bin_H) != 0)]
        alone_H = np.where(np.r_[begins_H[1:], True], SEED, np.minimum(SEED, np.r_[np.diff(at_H), SEED]))
        first = np.flatnonzero(begins_H)
        covered = np.add.reduceat(alone_H, first)
        for g in np.flatnonzero(
            (covered >= COVERED * self._own_I[item_H[first]]) & (self._own_I[item_H[first]] > 0)
        ).tolist():
            item = int(item_H[first[g]])
            length = int(self._length_I[item])
            width = max(SMALLEST_BIN, length // 2)
            place, slack = int(bin_H[first[g]]) * width, max(SEED, length // 4)
            yield item, place - slack, place + width + length + slack


def ending(words_N: np.ndarray, words_M: np.ndarray, counts_N: np.ndarray) -> tuple[int, int, int]:
    """The score of the best local alignment, and one past its last words in both; zeros where none scores.

    `counts_N`: whether a word counts one where it is equal, or nothing. Row by row; gaps along a row are a running maximum of score + column.
    """
    column_R = np.arange(len(words_M) + 1)
    row_R, next_R = np.zeros((2, len(words_M) + 1), np.int64)
    best = (0, 0, 0)
    for number, (word, counts) in enumerate(zip(words_N.tolist(), counts_N.tolist(), strict=True), 1):
        np.maximum(row_R[:-1] + np.where(words_M == word, int(counts), -1), row_R[1:] - 1, out=next_R[1:])
        next_R += column_R
        np.maximum.accumulate(next_R, out=next_R)
        next_R -= column_R
        np.maximum(next_R, 0, out=next_R)
        at = int(next_R.argmax())
        if next_R[at] > best[0]:
            best = (int(next_R[at]), number, at)
        row_R, next_R = next_R, row_R
    return best


def beginning(
    words_N: np.ndarray, words_M: np.ndarray, counts_N: np.ndarray, end_N: int, end_M: int
) -> tuple[int, int]:
    """The first words of the alignment that ends there: where it ends when it is read from its end."""
    _, back_N, back_M = ending(words_N[:end_N][::-1], words_M[:end_M][::-1], counts_N[:end_N][::-1])
    return end_N - back_N, end_M - back_M
