"""State passing for recurrent mixers: each process scans its stretches of a window, and states go on from one to the next.

What a stretch makes of a state is affine, S -> T S + A, and so is what several make of it one after another. Every process gathers the
(T, A) of all stretches, a state's size each whatever the length, and applies those before its own (LASP-2, arXiv 2502.07563, gathers
states likewise; here decay and delta rules have their T). No process waits for the scan of another, so that stretches may lie
in the zig-zag order of ring attention.

Shapes: B windows, T tokens, n processes, k stretches of a process, R = B k rows, s tokens of a stretch, E channels.
"""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from aether.stages.train.parallel.exchange import gather


class SharedStretches:
    """As `aether.models.seams.Stretches`. `every` has the stretches of each process, by their order in the window."""

    def __init__(self, every: Sequence[Sequence[int]], tokens: int, group: dist.ProcessGroup) -> None:
        self._own, self._group = list(every[dist.get_rank(group)]), group
        self._count = len(self._own)
        held = [stretch for of_one in every for stretch in of_one]
        self._order = [held.index(stretch) for stretch in range(len(held))]
        self._tokens = tokens // len(held)

    def apart(self, x_Bt: Tensor) -> Tensor:
        """As `Stretches.apart`."""
        return x_Bt.unflatten(1, (self._count, -1)).flatten(0, 1)

    def together(self, x_Rs: Tensor) -> Tensor:
        """As `Stretches.together`."""
        return x_Rs.unflatten(0, (-1, self._count)).flatten(1, 2)

    def _all(self, x_R: Tensor) -> list[Tensor]:
        """What every process has for each of its stretches, [B, ...] each, in the order of the window."""
        whole = gather(x_R.unflatten(0, (-1, self._count)), 1, self._group)
        return [whole[:, place] for place in self._order]

    def inputs_before(self, x_RsE: Tensor, count: int, documents_BT: Tensor | None) -> Tensor:
        """As `Stretches.inputs_before`. A collective."""
        kept = min(count, self._tokens)
        ends = torch.cat(self._all(x_RsE[:, self._tokens - kept :]), dim=1)
        padded = F.pad(ends, (0, 0, count, 0))
        before = torch.stack([padded[:, one * kept : one * kept + count] for one in self._own], dim=1)
        if documents_BT is not None:
            before = before * torch.stack([self._same_document(documents_BT, one, count) for one in self._own], dim=1)
        return before.flatten(0, 1)

    def _same_document(self, documents_BT: Tensor, stretch: int, count: int) -> Tensor:
        """[B, count, 1]: the tokens before a stretch that are of its first token's document."""
        first = stretch * self._tokens
        before = F.pad(documents_BT, (count, 0), value=-1)[:, first : first + count]
        return (before == documents_BT[:, first : first + 1])[..., None]

    def state_before(self, transition: Tensor, added: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """As `Stretches.state_before`. A collective."""
        pairs = zip(self._all(transition), self._all(added), strict=True)
        states = []
        for one, more in pairs:
            states.append(product(one, states[-1]) + more if states else more)
        # Taken out of all states, not made of those before alone: so every process has a gradient for all that was gathered.
        before = torch.stack([torch.zeros_like(states[0]), *states], dim=1)
        return before[:, self._own].flatten(0, 1)
