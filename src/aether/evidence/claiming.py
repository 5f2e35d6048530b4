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
    if path.exists() and read_json(path).get("fingerprint") != fingerprint:
        raise InputError.of("out", str(path.parent), f"it holds {otherwise}; choose another folder")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {"fingerprint": fingerprint, **about, **identity}
        write_json(path, made | {"provenance": json.loads(provenance().model_dump_json())})
