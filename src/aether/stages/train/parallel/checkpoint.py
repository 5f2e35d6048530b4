"""Sharded checkpoints: torch.distributed.checkpoint in the background, as safetensors, readable by any other layout.

`<folder>/step-000000123/` holds each process's safetensors and state.json, which is written last, with the hash of every file, under
a temporary name that is then renamed. Torch's own format keeps its metadata as a pickle; `HuggingFaceStorageWriter` keeps it in the
headers of the safetensors, so nothing on disk is ever unpickled. (The plans that processes send each other while they save and load
are pickled by torch: they are of the same job.)
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    ReadItem,
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.staging import AsyncStager
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import async_save

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.evidence.hashing import hash_file, hash_value
from aether.spec.errors import DamagedRecord
from aether.stages.train.parallel.pieces import Block, Piece

_KEPT = 2
"""The newest, and the one before in case the newest is damaged."""


def _chunk(block: Block) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(block.offsets), torch.Size(block.sizes))


class _SavePlanner(DefaultSavePlanner):
    """Plans to write pieces. Equal pieces of several processes are written by one (`dedup_save_plans`)."""

    def __init__(self, blocks: list[Block]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._blocks = blocks

    def create_local_plan(self) -> SavePlan:
        items = []
        for block in self._blocks:
            properties = TensorProperties.create_from_tensor(self.state_dict[block.name])
            data = TensorWriteData(_chunk(block), properties, torch.Size(block.whole))
            items.append(WriteItem(MetadataIndex(block.name, block.offsets), WriteItemType.SHARD, tensor_data=data))
        self.plan = SavePlan(items)
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> Any:
        return self.state_dict[index.fqn]


class _LoadPlanner(DefaultLoadPlanner):
    """Plans to fill pieces from whatever pieces were written."""

    def __init__(self, pieces: list[Piece]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self._pieces = {piece.block.name: piece for piece in pieces}

    def create_local_plan(self) -> LoadPlan:
        items: list[ReadItem] = []
        assert self.metadata is not None
        for name, piece in self._pieces.items():
            found = self.metadata.state_dict_metadata.get(name)
            if not isinstance(found, TensorStorageMetadata) or tuple(found.size) != piece.block.whole:
                raise DamagedRecord(f"the checkpoint holds no {name} of shape {list(piece.block.whole)}")
            items += create_read_items_for_chunk_list(name, found, [_chunk(piece.block)])
        return LoadPlan(items)

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        return self._pieces[index.fqn].tensor.detach()


class _Copies(AsyncStager):
    """Stages pieces as copies on the CPU: what the update changes meanwhile is not what is written."""

    _synchronize_after_execute = False

    def stage(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state_dict.items()}

    def close(self) -> None:
        """Nothing is held."""


class Saver:
    """Writes checkpoints of a team into a folder, one at a time, in the background."""

    def __init__(self, folder: Path, group: dist.ProcessGroup) -> None:
        self.folder, self._group = folder, group
        self._pending: tuple[Future, int, dict[str, Any]] | None = None

    def save(self, step: int, pieces: Iterable[Piece], state: dict[str, Any]) -> None:
        """Begin the checkpoint of `step`; a collective. The one before is finished first. `state` is the first process's."""
        self.finish()
        pieces = list(pieces)
        temporary = self.folder / f"step-{step:09d}.tmp"
        if dist.get_rank() == 0:
            with explained_os_errors(self.folder):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
        dist.barrier(self._group)
        future = async_save(
            {piece.block.name: piece.tensor for piece in pieces},
            storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True),
            planner=_SavePlanner([piece.block for piece in pieces]),
            process_group=self._group,
            async_stager=_Copies(),
        )
        assert isinstance(future, Future)
        self._pending = (future, step, state)

    def poll(self) -> None:
        """Publish the checkpoint that is pending if its files are written."""
        if self._pending is not None and self._pending[0].done():
            self.finish()

    def finish(self) -> None:
        """Wait for what is pending, and publish it. Raises EnvironmentFault when the disk is full."""
        if self._pending is None:
            return
        future, step, state = self._pending
        self._pending = None
        with explained_os_errors(self.folder):
            future.result()
            if dist.get_rank() == 0:
                _publish(self.folder, step, state)


def _publish(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Seal what all processes wrote: the future of the first one is done after everyone's files are on the disk."""
    final = folder / f"step-{step:09d}"
    temporary = final.with_name(final.name + ".tmp")
    hashes = {path.name: hash_file(path) for path in sorted(temporary.glob("*.safetensors"))}
    sealed = {"state": state, "files": hashes}
    write_json(temporary / "state.json", sealed | {"sha256": hash_value(sealed)})
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    for old in _all(folder)[:-_KEPT]:
        shutil.rmtree(old)


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix == "")


def newest(folder: Path, damaged: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its state; None when there is none. `damaged` hears of those passed over."""
    for place in reversed(_all(folder)):
        try:
            return place, _state(place)
        except DamagedRecord as error:
            damaged(f"{error}; going on from the checkpoint before it")
    return None


def _state(place: Path) -> dict[str, Any]:
    raw = read_json(place / "state.json") if (place / "state.json").is_file() else None
    if not isinstance(raw, dict) or raw.pop("sha256", None) != hash_value(raw):
        raise DamagedRecord(f"{place} has no state.json as it was written", path=str(place))
    for name, expected in raw["files"].items():
        path = place / name
        if not path.is_file() or hash_file(path) != expected:
            raise DamagedRecord(f"{path} is not what was written", path=str(path))
    return raw["state"]


def load(place: Path, pieces: Iterable[Piece], alone: bool = False) -> None:
    """Fill the pieces' memory from a checkpoint of any layout. A collective, unless `alone`."""
    pieces = list(pieces)
    with warnings.catch_warnings():
        # It warns of being alone, which is what was asked for.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        load_distributed(
            {piece.block.name: piece.tensor for piece in pieces},
            storage_reader=HuggingFaceStorageReader(str(place)),
            planner=_LoadPlanner(pieces),
            no_dist=alone,
        )
