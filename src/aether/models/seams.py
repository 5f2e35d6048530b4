"""Where a training pass meets other processes: what a layout puts between a decoder's parts. By default nothing.

A process may hold some of a window's tokens and some of a layer's heads and columns. The decoder calls these at the places where
that matters; what they do is `aether.stages.train.parallel`'s business. Inference never calls them.

Shapes: B windows, T tokens, t tokens of this process, R = B times its stretches, s tokens of a stretch, H query heads,
K key-value heads, D head size, C hidden size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


def as_is(x: Tensor) -> Tensor:
    """What a single process does everywhere."""
    return x


class Stretches(Protocol):
    """The runs of consecutive tokens that a process holds of each window, and what a recurrence needs from before each of them."""

    def apart(self, x_Bt: Tensor) -> Tensor:
        """[B, t, ...] as [R, s, ...]: every stretch a row of its own."""
        ...

    def together(self, x_Rs: Tensor) -> Tensor:
        """The way back."""
        ...

    def inputs_before(self, x_RsE: Tensor, count: int, documents_BT: Tensor | None) -> Tensor:
        """The `count` inputs before each stretch, [R, count, E]; zeros for those of another document, and before the window."""
        ...

    def state_before(self, transition: Tensor, added: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The state before each stretch, [R, ...]: a whole stretch makes of a state S product(transition, S) + added."""
        ...


@dataclass(frozen=True)
class Seams:
    """The places, in the order of a pass."""

    opens: bool = True
    """Whether the first layer is here: otherwise the stream comes from another process."""
    closes: bool = True
    """Whether the last layer is here: otherwise the stream goes on to another process."""
    own: Callable[[Tensor], Tensor] = as_is
    """Of a tensor [B, T]: the tokens whose stream this process holds, [B, t]."""
    turning: Callable[[Tensor], Tensor] = as_is
    """Of rotary tables [T, D]: the rows of the tokens that its attention has queries of."""
    enter: Callable[[Tensor], Tensor] = as_is
    """Before a layer's matrices: the stream [B, t, C] to what they multiply."""
    leave: Callable[[Tensor], Tensor] = as_is
    """After them: what they made to what is added to the stream."""
    attend: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor] | None = None
    """In place of causal attention: q [B, H, t, D], k and v [B, K, t, D], document ids [B, T] or None, to [B, t, H * D]."""
    stretches: Stretches | None = None
    """For recurrent mixers, where a window's tokens are shared out."""


ALONE = Seams()
"""One process."""
