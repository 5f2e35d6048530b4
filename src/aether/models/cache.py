"""Keys and values of past tokens for batched generation: one preallocated block, one slot per running sequence.

`Cache` is what a pass over new tokens needs of any of them: room, where tokens stand, to store and to grow. In `KVCache` slots have their
own lengths, so sequences of different ages share a step. The rows of a step are a range of slots: whoever schedules keeps the running
ones at the front with `move`. Then a step reads the block in place, without a copy. Does not page, quantise or share memory between slots.

A recurrent layer, or one with a compressive memory, keeps a state of fixed size instead: it has no past lengths, so a slot can be moved or emptied, and none is shortened.

Shapes: L layers that attend, S slots, K key-value heads, P positions, D head size.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aether.models.config import DecoderConfig


@dataclass
class Cache(ABC):
    """What the layers keep of past tokens; `lengths[s]` tokens of slot `s` are held."""

    lengths: list[int]
    states: tuple[dict[str, Tensor], ...] = field(default=(), kw_only=True)
    """For each layer what a recurrent one keeps, [S, ...] by name; empty for one that attends."""
    gone: list[int] = field(default_factory=list, kw_only=True)
    """Tokens of each slot that are no longer held: the next one stands at `lengths` + `gone` of its sequence."""

    def __post_init__(self) -> None:
        self.gone = self.gone or [0] * len(self.lengths)

    @property
    def slots(self) -> int:
        """How many sequences fit."""
        return len(self.lengths)

    @property
    @abstractmethod
    def context_tokens(self) -> int:
        """How many positions a slot has."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Bytes of all that is held."""

    @abstractmethod
    def store(
        self, layer: int, first: int, where_BT: Tensor | None, end: int, new: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Write new keys and values [B, K, T, D] of slots from `first` at `where_BT` (None: the last before `end`); all up to `end`."""

    def positions(self, first: int, batch: int, tokens: int) -> tuple[int, int, bool, list[int]]:
        """(least length, positions that hold something after `tokens` more, whether all rows are alike, `gone`) of some slots."""
        lengths, gone = self.lengths[first : first + batch], self.gone[first : first + batch]
        start, end = min(lengths), max(lengths) + tokens
        assert len(lengths) == batch and end <= self.context_tokens, "the cache has no room for these tokens"
        return start, end, start + tokens == end and len(set(gone)) == 1, gone

    def grow(self, slot: int, tokens: int) -> None:
        """Count `tokens` more in a slot: every layer has stored them."""
        self.lengths[slot] += tokens


@dataclass
class KVCache(Cache):
    """`keys` and `values` [L, S, K, P, D], of latent attention [L, S, 1, P, its vector] and nothing."""

    keys: Tensor
    values: Tensor

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
        kept = [config.state_shapes(layer) for layer in range(config.layers)]
        heads, *sizes = config.cached_sizes
        shape = (kept.count({}), slots, heads, positions)
        keys, values = (torch.zeros(*shape, size, dtype=dtype, device=device) for size in sizes)
        wide = torch.promote_types(dtype, torch.float32)
        types = {"state": wide, "memory": wide}
        states = [
            {n: torch.zeros(slots, *size, dtype=types.get(n, dtype), device=device) for n, size in shapes.items()}
            for shapes in kept
        ]
        return cls([0] * slots, keys, values, states=tuple(states))

    @property
    def context_tokens(self) -> int:
        """How many positions a slot has."""
        return self.keys.shape[3]

    @property
    def bytes(self) -> int:
        """Bytes of both blocks and of the states."""
        tensors = [self.keys, self.values, *(tensor for layer in self.states for tensor in layer.values())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def store(
        self, layer: int, first: int, where_BT: Tensor | None, end: int, new: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As `Cache.store`; what is returned are views of the block."""
        batch, _, tokens, _ = new[0].shape
        views = []
        for block, one in zip((self.keys, self.values), new, strict=True):
            slots = block[layer, first : first + batch]
            if where_BT is None:
                slots[:, :, end - tokens : end] = one
            else:
                rows = torch.arange(batch, device=one.device)[:, None]
                slots.transpose(1, 2)[rows, where_BT] = one.transpose(1, 2)
            views.append(slots[:, :, :end])
        return views[0], views[1]

    def free(self, slot: int) -> None:
        """Forget a slot's tokens."""
        self.lengths[slot] = self.gone[slot] = 0

    def move(self, source: int, target: int) -> None:
        """Make `target` what `source` is, and free `source`."""
        if source == target:
            return
        tokens = self.lengths[source]
        for layer in self.states:
            for tensor in layer.values():
                tensor[target] = tensor[source]
        for block in (self.keys, self.values):
            block[:, target, :, :tokens] = block[:, source, :, :tokens]
        self.lengths[target], self.gone[target] = tokens, self.gone[source]
        self.free(source)
