"""Reads the TOML files of the package. What one was parsed to is kept as JSON beside Python's own byte code, under the hash of its text.

A large table takes many times as long to parse as to load. What is kept is never stale: another text has another hash. Where Python
writes no byte code, or the folder cannot be written, a file is parsed each time.
"""

import contextlib
import hashlib
import json
import os
import sys
import tomllib
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
_LEAST = 2000
"""Bytes from which on keeping pays (chosen)."""


def table(*name: str) -> dict[str, Any]:
    """The content of a file of `knowledge`, by the parts of its path there: new each time, for the caller to keep what it makes of it."""
    path = FOLDER.joinpath(*name)
    text = path.read_bytes()
    kept = _kept(path, text) if len(text) >= _LEAST and sys.implementation.cache_tag else None
    if kept is None:
        return tomllib.loads(text.decode("utf-8"))
    with contextlib.suppress(OSError, ValueError):
        return json.loads(kept.read_bytes())
    found = tomllib.loads(text.decode("utf-8"))
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):
            _keep(path, kept, json.dumps(found, allow_nan=False, separators=(",", ":")))
    return found


def _kept(path: Path, text: bytes) -> Path:
    """Where the parsed content of a text is kept."""
    return Path(cache_from_source(path)).with_name(f"{path.stem}.{hashlib.sha256(text).hexdigest()[:32]}.json")


def _keep(path: Path, kept: Path, text: str) -> None:
    """Write it as a whole or not at all, in the place of what was kept of an older text."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    begun = kept.with_suffix(f".{os.getpid()}")
    begun.write_text(text, encoding="utf-8")
    begun.replace(kept)
    for old in kept.parent.glob(f"{path.stem}.*.json"):
        if old != kept:
            old.unlink(missing_ok=True)
