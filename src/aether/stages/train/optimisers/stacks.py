"""Matrices of one shape as one stack, so that a product over all of them is one batched product.

Shapes: S stacked matrices, R rows, C columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aether.stages.train.optimisers.portions import portion
from aether.stages.train.optimisers.weights import Weight


@dataclass(frozen=True)
class Stack:
    """Independent matrices of one shape, each the rows `place` of a parameter."""

    shape: tuple[int, int]
    parts: list[tuple[Weight, slice]]

    def zeros(self, *shape: int) -> Tensor:
        """A state [S, *shape] beside them."""
        first = self.parts[0][0].parameter
        return torch.zeros(len(self.parts), *shape, device=first.device, dtype=first.dtype)

    def portions(self) -> Iterator[tuple[slice, "Stack"]]:
        """Where each portion lies, and it as a stack of its own: as many matrices as are worked on at a time."""
        count = portion(self.shape)
        for first in range(0, len(self.parts), count):
            place = slice(first, first + count)
            yield place, Stack(self.shape, self.parts[place])

    def gradients(self) -> Tensor:
        """[S, R, C]."""
        return torch.stack([w.parameter.grad[place] for w, place in self.parts if w.parameter.grad is not None])

    def move(self, updates_SRC: Tensor, factor: float, scale: float) -> None:
        """Take `scale` times the updates, at `factor` of each weight's peak rate, after its decay."""
        for (weight, place), update in zip(self.parts, updates_SRC, strict=True):
            lr = weight.lr * factor
            if weight.weight_decay:
                weight.parameter[place].mul_(1 - lr * weight.weight_decay)
            weight.parameter[place].add_(update, alpha=-lr * scale)


def stacks_of(weights: list[Weight]) -> list[Stack]:
    """All matrices of the weights, fused ones apart, by shape."""
    found: dict[tuple[int, int], list[tuple[Weight, slice]]] = {}
    for weight in weights:
        assert sum(weight.rows) == weight.parameter.shape[0]
        start = 0
        for count in weight.rows:
            part = (weight, slice(start, start + count))
            found.setdefault((count, weight.parameter.shape[1]), []).append(part)
            start += count
    return [Stack(shape, parts) for shape, parts in sorted(found.items(), key=lambda item: item[0])]
