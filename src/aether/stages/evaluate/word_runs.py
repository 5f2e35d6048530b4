"""Runs of words of many items as an index in which a document's words are looked up. Numpy alone.

Runs that many items share (a template) are left out.

Legend: I items, G runs of all items sorted by hash, W words of a document, H hits of its runs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aether.evidence.contamination import LEAST_WORDS
from aether.models.ngrams import ngram_hashes

SHARED_BY = (10, 0.05)
"""A run in more items than both this count and this share is a template's."""


class Hits(NamedTuple):
    """Runs that a document and items share: the item, the first word of the run in both, and its words."""

    item_H: np.ndarray
    item_at_H: np.ndarray
    at_H: np.ndarray
    words_H: np.ndarray


class WordRuns:
    """Every run of `length` words of each item, or the whole item where it has fewer; none of items that are too short to be judged."""

    def __init__(self, words_I: Sequence[np.ndarray], length: int) -> None:
        parts = [np.empty((4, 0), np.uint64)]
        for number, words in enumerate(words_I):
            if len(words) >= LEAST_WORDS:
                own = min(length, len(words))
                runs = ngram_hashes(words, own)
                parts.append(
                    np.stack(
                        [
                            runs,
                            np.full_like(runs, number),
                            np.arange(len(runs), dtype=np.uint64),
                            np.full_like(runs, own),
                        ]
                    )
                )
        table = np.concatenate(parts, axis=1)
        table = table[:, np.argsort(table[0], kind="stable")]
        is_rare_G = _is_rare(table[0], table[1], len(words_I))
        self.is_own_I = [np.ones(len(words), bool) for words in words_I]
        """The words of each item that stand in no template's run."""
        for item, at, own in table[1:, ~is_rare_G].T.tolist():
            self.is_own_I[item][at : at + own] = False
        self._hash_G = table[0, is_rare_G]
        self._item_G, self._at_G, self._words_G = table[1:, is_rare_G].astype(np.int64)
        self._lengths = np.unique(self._words_G).tolist()

    def hits(self, words_W: np.ndarray) -> Hits:
        """The items' runs that the document has, by item, then by how far apart they stand in both, then by place."""
        found = [self._of_length(words_W, length) for length in self._lengths]
        at_H, g_H = (np.concatenate(column) for column in zip((np.empty((2, 0), np.int64)), *found, strict=True))
        hits = Hits(self._item_G[g_H], self._at_G[g_H], at_H, self._words_G[g_H])
        order = np.lexsort((hits.at_H, hits.at_H - hits.item_at_H, hits.item_H))
        return Hits(*(column[order] for column in hits))

    def _of_length(self, words_W: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        runs = ngram_hashes(words_W, length)
        left, right = (np.searchsorted(self._hash_G, runs, side=side) for side in ("left", "right"))
        count = right - left
        at_H = np.repeat(np.arange(len(runs)), count)
        before = np.repeat(np.cumsum(count) - count, count)
        g_H = np.repeat(left, count) + np.arange(len(at_H)) - before
        fits = self._words_G[g_H] == length
        return at_H[fits], g_H[fits]


def _is_rare(hash_G: np.ndarray, item_G: np.ndarray, items: int) -> np.ndarray:
    _, group_G = np.unique(hash_G, return_inverse=True)
    pairs = np.unique(np.stack([group_G, item_G.astype(np.int64)], axis=1), axis=0)
    items_of_group = np.bincount(pairs[:, 0])
    count, share = SHARED_BY
    return items_of_group[group_G] <= max(count, share * items)
