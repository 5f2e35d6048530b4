"""Keys and values of past tokens for batched generation: one preallocated block, one slot per running sequence.

Slots have their own lengths, so sequences of different ages share a step. The rows of a step are a range of slots:
whoever schedules keeps the running ones at the front with `move`. Then a step reads the block in place, without a copy.
Does not page, quantise or share memory between slots (`copy_prefix` copies).

Shapes: L layers, S slots, K key-value heads, P positions, D head size.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aether.models.config import DecoderConfig


@dataclass
class KVCache:
    """`keys` and `values` [L, S, K, P, D]; `lengths[s]` tokens of slot `s` are filled."""

    keys: Tensor
    values: Tensor
    lengths: list[int] = field(default_factory=list)

    @classmethod
    def allocate(
        cls,
        config: DecoderConfig,
        slots: int,
        context_tokens: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "KVCache":
        """An empty cache. `context_tokens` defaults to the model's own context and must not exceed it."""
        positions = context_tokens or config.context_tokens
        assert slots > 0 and 0 < positions <= config.context_tokens
        shape = (config.layers, slots, config.kv_heads, positions, config.head_size)
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        return cls(keys, values, [0] * slots)

    @property
    def slots(self) -> int:
        """How many sequences fit."""
        return self.keys.shape[1]

    @property
    def context_tokens(self) -> int:
        """How many positions a slot has."""
        return self.keys.shape[3]

    @property
    def bytes(self) -> int:
        """Bytes of both blocks."""
        return 2 * self.keys.numel() * self.keys.element_size()

    def free(self, slot: int) -> None:
        """Forget a slot's tokens."""
        self.lengths[slot] = 0

    def move(self, source: int, target: int) -> None:
        """Make `target` what `source` is, and free `source`."""
        if source != target:
            self.copy_prefix(source, target, self.lengths[source])
            self.free(source)

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        """Make `target` hold the first `tokens` of `source`: a shared beginning is computed once."""
        assert 0 <= tokens <= self.lengths[source]
        for block in (self.keys, self.values):
            block[:, target, :, :tokens] = block[:, source, :, :tokens]
        self.lengths[target] = tokens

    def truncate(self, slot: int, tokens: int) -> None:
        """Keep only the first `tokens` of a slot."""
        assert 0 <= tokens <= self.lengths[slot]
        self.lengths[slot] = tokens
