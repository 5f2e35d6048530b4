"""Windows in a shuffled order: a batch of neighbours would be one file over and over.

`PackedTokens` shuffles documents, so neighbouring windows are of one document and their gradients say nearly the same.
Here the windows of each block (one epoch, to the last whole window) are permuted by (seed, block). Still every window
once per block, any sample at once from its index, nothing random left to remember.

Shapes: B windows, T tokens.
"""

import numpy as np

from aether.models.corpus import Document
from aether.models.packing import PackedTokens, mix64

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""The increment of splitmix64 (Steele et al., OOPSLA 2014): spreads neighbouring seeds apart."""


class ShuffledWindows:
    """`packed` in a shuffled order; memory is 8 bytes per window."""

    def __init__(self, packed: PackedTokens, seed: int) -> None:
        self._packed, self._seed = packed, seed
        self._size = max(1, int(packed.samples_per_epoch))
        self._block, self._order = -1, np.empty(0, np.int64)

    def place(self, index: int) -> int:
        """The place in the packed stream of sample `index`."""
        block, within = divmod(index, self._size)
        if block != self._block:
            key = mix64(np.array([self._seed], np.uint64) * _GOLDEN_RATIO + np.uint64(block) + np.uint64(1))
            keys = mix64(key + np.arange(self._size, dtype=np.uint64) * _GOLDEN_RATIO)
            self._block, self._order = block, np.argsort(keys, kind="stable")
        return block * self._size + int(self._order[within])

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples first .. first + count - 1: (tokens int64 [B, T + 1], document ids int64 [B, T + 1])."""
        samples = [self._packed.sample(self.place(index)) for index in range(first, first + count)]
        return np.stack([tokens for tokens, _ in samples]), np.stack([ids for _, ids in samples])

    def documents(self, index: int) -> tuple[Document, ...]:
        """The documents with a token in sample `index`, in order."""
        return self._packed.documents(self.place(index))
