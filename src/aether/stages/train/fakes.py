"""Shipped fakes for tests and drills: streams of windows that need no corpus, and one with a broken place.

Shapes: B windows, T tokens.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from aether.models.corpus import Document
from aether.models.packing import mix64
from aether.stages.train.blame import Traceable
from aether.stages.train.loop import Batches


@dataclass(frozen=True)
class CountingTokens:
    """An endless stream that can be learnt: each window counts up from a hashed start, in one document."""

    vocab_size: int
    context_tokens: int
    seed: int = 0

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1: (tokens [B, T + 1], document ids [B, T + 1])."""
        index = np.arange(first, first + count, dtype=np.uint64) + np.uint64(self.seed << 32)
        start = (mix64(index) % np.uint64(self.vocab_size)).astype(np.int64)
        tokens = (start[:, None] + np.arange(self.context_tokens + 1)) % self.vocab_size
        return tokens, np.broadcast_to(np.arange(first, first + count)[:, None], tokens.shape).copy()


@dataclass(frozen=True)
class PoisonedTokens:
    """Another stream in which some samples are noise: a stretch of broken data."""

    inner: Batches
    vocab_size: int
    samples: Collection[int]

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The inner stream's samples, the poisoned ones replaced by tokens without order."""
        tokens, ids = self.inner.batch(first, count)
        for row in range(count):
            if first + row in self.samples:
                places = np.arange(tokens.shape[1], dtype=np.uint64) + np.uint64((first + row) << 20)
                tokens[row] = (mix64(places) % np.uint64(self.vocab_size)).astype(np.int64)
        return tokens, ids

    def documents(self, index: int) -> tuple[Document, ...]:
        """Those of the inner stream, where it knows them."""
        return self.inner.documents(index) if isinstance(self.inner, Traceable) else ()
