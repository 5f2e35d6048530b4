"""The grid of processes: who works with whom. Reads RANK, WORLD_SIZE and LOCAL_RANK, as torchrun sets them.

Ranks lie in row-major order of (pipeline, replicate, expert, shard, context, tensor). Weights outside the experts are held once
per (replicate, tensor): their pieces lie over expert x shard x context. Gloo on a CPU, NCCL beside it on GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import Store

from aether.stages.train.parallel.recipe import Parallel, check_world

AXES = ("pipeline", "replicate", "expert", "shard", "context", "tensor")


@dataclass(frozen=True)
class Team:
    """This process's place in the grid, and the groups that it talks to."""

    parallel: Parallel
    device: torch.device
    grid: DeviceMesh
    dense: DeviceMesh
    """(replicate, pieces): over which weights outside the experts are sharded."""
    experts: DeviceMesh
    """(replicate, pieces): over which one group's experts are sharded."""
    ends: dist.ProcessGroup | None
    """The first and the last stage of this process's pipeline, where it is one of them: both hold the embedding."""
    saving: dist.ProcessGroup
    """For checkpoints in the background, so that they never wait for an update's messages."""

    @property
    def rank(self) -> int:
        """This process among all."""
        return dist.get_rank()

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def size(self, axis: str) -> int:
        """Processes along an axis."""
        return getattr(self.parallel, axis)

    def place(self, axis: str) -> int:
        """This process's index along an axis."""
        return self.grid.get_local_rank(axis)

    def group(self, axis: str) -> dist.ProcessGroup:
        """The processes that differ from this one along an axis alone, itself included."""
        return self.grid.get_group(axis)

    @property
    def reader(self) -> int:
        """Which share of a batch's windows this process reads; alike along pipeline, context and tensor."""
        p = self.parallel
        return (self.place("replicate") * p.expert + self.place("expert")) * p.shard + self.place("shard")

    def total(self, values: Tensor) -> Tensor:
        """The sum of every process's values, the same bits on each."""
        dist.all_reduce(values)
        return values

    def tell_all(self, value: object) -> object:
        """The first process's JSON-like value on every process."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def _view(device: str, shape: tuple[int, ...], names: tuple[str, ...], kept: tuple[str, ...]) -> DeviceMesh:
    return init_device_mesh(device, shape, mesh_dim_names=names)[kept]


@contextmanager
def joined(device: str, store: Store | None = None) -> Iterator[None]:
    """Meet the other processes that torchrun started, and leave them; in a `store` that nobody met in before, None: torchrun's own."""
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if store is None:
        dist.init_process_group(backend)
    else:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def team(parallel: Parallel, device: str) -> Team:
    """The grid over all that joined. A collective. Raises InputError when torchrun started another number of processes."""
    check_world(parallel, int(os.environ["WORLD_SIZE"]))
    place = torch.device(device, int(os.environ["LOCAL_RANK"])) if device == "cuda" else torch.device(device)
    p = parallel
    grid = init_device_mesh(device, tuple(getattr(p, axis) for axis in AXES), mesh_dim_names=AXES)
    pieces = (p.pipeline, p.replicate, p.expert * p.shard * p.context, p.tensor)
    dense = _view(device, pieces, ("pipeline", "replicate", "pieces", "tensor"), ("replicate", "pieces"))
    inner = (p.pipeline, p.replicate, p.expert, p.shard * p.context, p.tensor)
    names = ("pipeline", "replicate", "expert", "pieces", "tensor")
    experts = _view(device, inner, names, ("replicate", "pieces"))
    saving = dist.new_group(backend="gloo")
    assert isinstance(saving, dist.ProcessGroup)
    return Team(parallel, place, grid, dense, experts, _ends(grid), saving)


def _ends(grid: DeviceMesh) -> dist.ProcessGroup | None:
    if grid.size(0) == 1:
        return None
    found = None
    for column in grid.mesh.flatten(1).T.tolist():
        group = dist.new_group([column[0], column[-1]])
        if dist.get_rank() in (column[0], column[-1]):
            found = group
    assert found is None or isinstance(found, dist.ProcessGroup)
    return found
