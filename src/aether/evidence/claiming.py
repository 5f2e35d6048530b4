"""A folder taken for one piece of work: the same work goes on in it, other work is refused."""

import json
from pathlib import Path
from typing import Any

from aether.evidence.files import read_json, write_json
from aether.evidence.hashing import hash_value
from aether.evidence.provenance import provenance
from aether.spec.errors import InputError


def claim(path: Path, identity: dict[str, Any], about: dict[str, Any], otherwise: str) -> None:
    """Write what the work is to `path`, in its folder, or find it there. `identity` decides whether it is the same, `about` does not.

    Raises InputError with `otherwise` (what the folder holds instead) where it is not.
    """
    fingerprint = hash_value(identity)
    held = read_json(path) if path.exists() else {"fingerprint": fingerprint}
    if held.get("fingerprint") != fingerprint:
        names = ", ".join(_differing(held, identity))
        raise InputError.of(
            "out", str(path.parent), f"it holds {otherwise} (not the same: {names}); choose another folder"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {"fingerprint": fingerprint, **about, **identity}
        write_json(path, made | {"provenance": json.loads(provenance().model_dump_json())})


def _differing(held: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """Which fields of the identity the folder has otherwise, one level into tables."""
    found = []
    for name, value in identity.items():
        other = held.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            found += [
                f"{name}.{key}" for key in sorted(value.keys() | other.keys()) if value.get(key) != other.get(key)
            ]
        elif other != value:
            found.append(name)
    return found
