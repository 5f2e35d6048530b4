"""Context parallelism: a window's tokens shared out among processes, ring or Ulysses behind one interface, states passed on."""

from functools import partial

import torch
from torch import Tensor

from aether.stages.train.parallel.mesh import Team
from aether.stages.train.parallel.ring import ring_attention, zigzag
from aether.stages.train.parallel.stretches import SharedStretches
from aether.stages.train.parallel.ulysses import ulysses_attention


def places(team: Team, tokens: int) -> Tensor:
    """The positions of a window that this process has queries of, in the order in which it holds them."""
    place, size = team.place("context"), team.size("context")
    if team.parallel.attention == "ring":
        return zigzag(tokens, place, size).to(team.device)
    return torch.arange(tokens, device=team.device).chunk(size)[place]


def attention(team: Team) -> partial[Tensor]:
    """What attends over the whole windows (`Seams.attend`)."""
    kind = ring_attention if team.parallel.attention == "ring" else ulysses_attention
    return partial(kind, group=team.group("context"))


def stretches(team: Team, tokens: int) -> SharedStretches:
    """What recurrent mixers meet the other processes by (`Seams.stretches`)."""
    size = team.size("context")
    every = [[place, 2 * size - 1 - place] if team.parallel.attention == "ring" else [place] for place in range(size)]
    return SharedStretches(every, tokens, team.group("context"))
