"""What the layers of one pass share, and where a pass over a cache reads and writes.

Shapes: B batch, T tokens, H query heads, K key-value heads, D head size, P cached positions, R rotated values of a head.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aether.models import kernels
from aether.models.cache import Cache
from aether.models.parts.attention import Sight
from aether.models.parts.experts import RouterLog
from aether.models.seams import Stretches


def turned(x_BHTD: Tensor, tables: tuple[Tensor, Tensor] | None) -> Tensor:
    """The first R values of each head rotated, the rest as they are."""
    if tables is None:
        return x_BHTD
    size = tables[0].shape[-1]
    rotated = kernels.rotate(x_BHTD[..., :size], *tables)
    return rotated if size == x_BHTD.shape[-1] else torch.cat((rotated, x_BHTD[..., size:]), dim=-1)


@dataclass(frozen=True)
class CacheSlots:
    """Where a pass over a cache writes: slots [first, first + B), position `where_BT` of each token."""

    cache: Cache
    first: int
    where_BT: Tensor
    end: int
    """Positions that hold something after it."""
    counts: list[int] | None = None
    """How many tokens of each row count; the rest is padding on the right. None: all."""

    def store(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values; returns all of the slots' up to `end`, [B, K, P, D] each, as views of the cache."""
        return self.cache.store(layer, self.first, self.where_BT, self.end, (k_BKTD, v_BKTD))

    def held(self, layer: int) -> dict[str, Tensor]:
        """What a recurrent layer kept, [B, ...] by name; zeros where a sequence begins."""
        lengths = self.cache.lengths[self.first :][: self.where_BT.shape[0]]
        begun = torch.tensor(lengths, device=self.where_BT.device) > 0
        states = self.cache.states[layer].items()
        rows = slice(self.first, self.first + len(lengths))
        return {name: tensor[rows] * begun.view(-1, *[1] * (tensor.ndim - 1)) for name, tensor in states}

    def keep(self, layer: int, kept: dict[str, Tensor]) -> None:
        """Replace what a recurrent layer keeps."""
        for name, tensor in kept.items():
            self.cache.states[layer][name][self.first : self.first + tensor.shape[0]] = tensor


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
    begins_BT: Tensor | None = None
    """Tokens that begin a document, where a packed window has several; [R, s] under `stretches`."""
    routed: RouterLog = field(default_factory=RouterLog)
    """What the routers did, layer by layer."""
    learning: bool = False
    """A training pass: what routers do with all tokens at once, they do here alone."""
    first_value: list[Tensor] = field(default_factory=list)
    """The values of the first RWKV-7 layer, [B, T, inner], which the later ones mix in."""
    stretches: Stretches | None = None
    """Where other processes hold a window's other tokens."""
    own_places_Rs: Tensor | None = None
    """Under `stretches`: the position of each of its tokens in the window."""

    @property
    def places_RT(self) -> Tensor:
        """The positions of the tokens that a recurrent mixer has before it."""
        return self.far.queries_RT if self.own_places_Rs is None else self.own_places_Rs

    @property
    def counted_BT(self) -> Tensor | None:
        """Tokens that count, where rows are padded on the right."""
        if self.slots is None or self.slots.counts is None:
            return None
        where = self.slots.where_BT
        counts = torch.tensor(self.slots.counts, device=where.device)
        return torch.arange(where.shape[1], device=where.device) < counts[:, None]
