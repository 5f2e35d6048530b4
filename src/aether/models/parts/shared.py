"""What the layers of one pass share, and where a pass over a cache reads and writes.

Shapes: B batch, T tokens, H query heads, K key-value heads, D head size, P cached positions, R rotated values of a head.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aether.models.cache import KVCache
from aether.models.parts.attention import Sight
from aether.models.parts.experts import Routed


@dataclass(frozen=True)
class CacheSlots:
    """Where a pass over a cache writes: slots [first, first + B), position `where_BT` of each token."""

    cache: KVCache
    first: int
    where_BT: Tensor
    end: int
    """Positions that hold something after it."""

    def store(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values; returns all of the slots' up to `end`, [B, K, P, D] each, as views of the cache."""
        batch = k_BKTD.shape[0]
        rows = torch.arange(batch, device=k_BKTD.device)[:, None]
        views = []
        for block, new in ((self.cache.keys, k_BKTD), (self.cache.values, v_BKTD)):
            slots = block[layer, self.first : self.first + batch]
            slots.transpose(1, 2)[rows, self.where_BT] = new.transpose(1, 2)
            views.append(slots[:, :, : self.end])
        return views[0], views[1]


@dataclass(frozen=True)
class Pass:
    """What all layers of one pass share; `near` is of layers with a window."""

    far: Sight
    near: Sight | None
    tables: tuple[Tensor, Tensor] | None
    """Cosine and signed sine, [T, R] or [B, 1, T, R]."""
    near_tables: tuple[Tensor, Tensor] | None
    slopes_H: Tensor | None
    slots: CacheSlots | None = None
    routed: list[Routed] = field(default_factory=list)
    """What the routers did, layer by layer."""
