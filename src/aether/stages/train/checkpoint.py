"""Checkpoints that a kill at any moment cannot spoil: tensors as safetensors, the rest as JSON, hashed, renamed into place.

`<folder>/step-00000123/` holds tensors.safetensors and state.json; it is written under a temporary name, flushed to the
disk, and renamed. The one before is kept, and is used when the newest is damaged. Does not run in the background.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.evidence.hashing import hash_file, hash_value
from aether.models.weights import read_tensors, write_tensors
from aether.spec.errors import DamagedRecord

_KEPT = 2
"""The newest, and the one before in case the newest is damaged."""


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.suffix == "")


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write the checkpoint of `step`. Raises EnvironmentFault when the disk is full; the older ones then stay."""
    temporary = folder / f"{_name(step)}.tmp"
    with explained_os_errors(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_tensors(temporary / "tensors.safetensors", tensors)
        sealed = {"state": state, "tensors_sha256": hash_file(temporary / "tensors.safetensors")}
        write_json(temporary / "state.json", sealed | {"sha256": hash_value(sealed)})
        final = folder / _name(step)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        _flush(folder)
        for old in _all(folder)[:-_KEPT]:
            shutil.rmtree(old)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(folder: Path, damaged: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint that is whole, as (tensors, state); None when there is none.

    `damaged` is told of each one that is passed over, in a sentence.
    """
    for place in reversed(_all(folder)):
        try:
            return _read(place)
        except DamagedRecord as error:
            damaged(f"{error}; going on from the checkpoint before it")
    return None


def _read(place: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors_file, state_file = place / "tensors.safetensors", place / "state.json"
    if not (tensors_file.is_file() and state_file.is_file()):
        raise DamagedRecord(f"{place} lacks one of its files", path=str(place))
    raw = read_json(state_file)
    if not isinstance(raw, dict) or raw.pop("sha256", None) != hash_value(raw):
        raise DamagedRecord(f"{state_file} is not what was written", path=str(state_file))
    if hash_file(tensors_file) != raw["tensors_sha256"]:
        raise DamagedRecord(f"{tensors_file} is not what was written", path=str(tensors_file))
    return read_tensors(tensors_file), raw["state"]
