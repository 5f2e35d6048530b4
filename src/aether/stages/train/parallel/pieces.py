"""What a process holds of the model, in words that no layout changes: blocks of named matrices.

A parameter may be several independent matrices below each other (query, key and value); each has a name of its own, so that a
block of it is one rectangle however the parameter was cut. Checkpoints and the shared Muon speak of nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Block:
    """A rectangle of the global tensor `name`. In a process's tensor it is `sizes[0]` consecutive rows."""

    name: str
    whole: tuple[int, ...]
    """Shape of the global tensor."""
    offsets: tuple[int, ...]
    """Where the rectangle begins in it."""
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """A block with the tensor that holds it: a view of live memory, in the block's shape."""

    block: Block
    tensor: Tensor


def whole_blocks(name: str, shape: Iterable[int], rows: list[int] | None) -> list[Block]:
    """The blocks of an uncut parameter; `rows` of the matrices fused in it, None for one."""
    shape = tuple(shape)
    if rows is None or len(rows) == 1:
        return [Block(name, shape, (0,) * len(shape), shape)]
    fused = [(count, *shape[1:]) for count in rows]
    return [Block(f"{name}.{i}", size, (0,) * len(size), size) for i, size in enumerate(fused)]


def cut(blocks: list[Block], dim: int, place: int, size: int) -> list[Block]:
    """Each block's share `place` of `size` equal ones along a dimension."""
    found = []
    for block in blocks:
        share = block.sizes[dim] // size
        offsets, sizes = list(block.offsets), list(block.sizes)
        offsets[dim], sizes[dim] = offsets[dim] + place * share, share
        found.append(replace(block, offsets=tuple(offsets), sizes=tuple(sizes)))
    return found


def rows_between(blocks: list[Block], begin: int, end: int) -> list[Block]:
    """The blocks of rows begin .. end - 1 of the parameter that holds `blocks` below each other."""
    found, at = [], 0
    for block in blocks:
        low, high = max(begin, at), min(end, at + block.sizes[0])
        if low < high:
            offsets = (block.offsets[0] + low - at, *block.offsets[1:])
            found.append(replace(block, offsets=offsets, sizes=(high - low, *block.sizes[1:])))
        at += block.sizes[0]
    return found


def pieces_of(tensor: Tensor, blocks: list[Block], prefix: str = "") -> list[Piece]:
    """The rectangles that a process's tensor holds, named with a prefix."""
    assert tensor.shape[0] == sum(block.sizes[0] for block in blocks)
    parts = tensor.split([block.sizes[0] for block in blocks])
    return [Piece(replace(b, name=prefix + b.name), part) for b, part in zip(blocks, parts, strict=True)]
