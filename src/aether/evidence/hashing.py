"""Content hashes: of values (canonical JSON) and of files and folders. SHA-256 throughout."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aether.spec.evidence import Artefact

_CHUNK_BYTES = 1 << 20


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form: sorted keys, no white space, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def artefacts_of(folder: Path, skip: Iterable[str] = ()) -> tuple[Artefact, ...]:
    """Every regular file below `folder`, sorted by its relative path. `skip` names relative paths to leave out."""
    left_out = set(skip)
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder).as_posix()
        if relative not in left_out:
            found.append(Artefact(path=relative, sha256=hash_file(path), size_bytes=path.stat().st_size))
    return tuple(found)


def hash_model(place: Path) -> str:
    """One hash of what decides a model's answers: a file's bytes, or every file of its folder but prose (.md): a card is written after it."""
    if place.is_file():
        return hash_file(place)
    return hash_artefacts(one for one in artefacts_of(place) if not one.path.endswith(".md"))


def hash_artefacts(artefacts: Iterable[Artefact]) -> str:
    """One hash for a folder's content: of the sorted (path, sha256) pairs."""
    return hash_value(sorted((a.path, a.sha256) for a in artefacts))
