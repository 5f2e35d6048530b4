"""Points inside a model at which its activations can be looked at: queries and keys, and the inner units of a feed-forward part.

A tap costs a look at one name while nobody watches. Whole layers need none: a forward hook on a block sees its output.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor


class Watcher(Protocol):
    """Who looks."""

    def attention(self, q_BHTD: Tensor, k_BKPD: Tensor, scale: float) -> None:
        """Queries and keys as they go into a layer's scores, q k^T times `scale`."""
        ...

    def inner(self, units: Tensor) -> None:
        """The units [..., F] between the two products of a feed-forward part."""
        ...


_watcher: Watcher | None = None


def attention(q_BHTD: Tensor, k_BKPD: Tensor, scale: float) -> None:
    """Show them to who watches."""
    if _watcher is not None:
        _watcher.attention(q_BHTD, k_BKPD, scale)


def inner(units: Tensor) -> Tensor:
    """Show them to who watches; returns them."""
    if _watcher is not None:
        _watcher.inner(units)
    return units


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` see every tap meanwhile."""
    global _watcher
    assert _watcher is None, "one at a time"
    _watcher = watcher
    try:
        yield
    finally:
        _watcher = None
