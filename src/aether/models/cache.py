"""Keys and values of past tokens for batched generation: one preallocated block, one slot per running sequence.

Slots have their own lengths, so sequences of different ages share a step. The rows of a step are a range of slots:
whoever schedules keeps the running ones at the front with `move`. Then a step reads the block in place, without a copy.
Does not page, quantise or share memory between slots (`copy_prefix` copies).

A recurrent layer keeps a state of fixed size instead: it has no past lengths, so a slot can be copied or emptied, not shortened.

Shapes: L layers that attend, S slots, K key-value heads, P positions, D head size.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.models.config_mixers import state_shapes


@dataclass
class KVCache:
    """`keys` and `values` [L, S, K, P, D], of latent attention [L, S, 1, P, its vector] and nothing; `lengths[s]` tokens of slot
    `s` are filled."""

    keys: Tensor
    values: Tensor
    lengths: list[int] = field(default_factory=list)
    states: tuple[dict[str, Tensor], ...] = ()
    """For each layer what a recurrent one keeps, [S, ...] by name; empty for one that attends."""

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
        recurrent = [config.recurrence_at(layer) for layer in range(config.layers)]
        heads, *sizes = config.cached_sizes
        shape = (recurrent.count(None), slots, heads, positions)
        keys, values = (torch.zeros(*shape, size, dtype=dtype, device=device) for size in sizes)
        types = {"state": torch.promote_types(dtype, torch.float32), "past": dtype}
        states = []
        for mixer in recurrent:
            shapes = {} if mixer is None else state_shapes(mixer, config.hidden_size)
            one = {name: torch.zeros(slots, *size, dtype=types[name], device=device) for name, size in shapes.items()}
            states.append(one)
        return cls(keys, values, [0] * slots, tuple(states))

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
        """Bytes of both blocks and of the states."""
        tensors = [self.keys, self.values, *(tensor for layer in self.states for tensor in layer.values())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

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
        assert tokens == self.lengths[source] or not any(self.states), "a state has no shorter past"
        for layer in self.states:
            for tensor in layer.values():
                tensor[target] = tensor[source]
        for block in (self.keys, self.values):
            block[:, target, :, :tokens] = block[:, source, :, :tokens]
        self.lengths[target] = tokens

    def truncate(self, slot: int, tokens: int) -> None:
        """Keep only the first `tokens` of a slot."""
        assert 0 <= tokens <= self.lengths[slot]
        assert tokens in (0, self.lengths[slot]) or not any(self.states), "a state has no shorter past"
        self.lengths[slot] = tokens
