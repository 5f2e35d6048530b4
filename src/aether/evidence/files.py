"""Writing so that a kill at any moment leaves either the old file or the new one, never half of one."""

import errno
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aether.spec.errors import DamagedRecord, EnvironmentFault


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """`write_atomically` of indented JSON."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises DamagedRecord with the path when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedRecord(
            f"{path} is not readable JSON ({error}); delete it and run again", path=str(path)
        ) from error


@contextmanager
def explained_os_errors(path: Path):
    """Turn the operating system's refusals into sentences that say what to do."""
    try:
        yield
    except OSError as error:
        sentence = {
            errno.ENOSPC: "the disk is full; free some space and run `aether resume` to go on",
            errno.EDQUOT: "the disk quota is used up; free some space and run `aether resume` to go on",
            errno.EACCES: "permission denied; choose a folder that you may write with --out",
            errno.EPERM: "permission denied; choose a folder that you may write with --out",
            errno.EROFS: "the file system is read-only; choose another folder with --out",
            errno.ENOTDIR: "a file stands where a folder is needed; choose another folder with --out",
        }.get(error.errno or 0)
        if sentence is None:
            raise
        raise EnvironmentFault(f"{error.filename or path}: {sentence}", path=str(error.filename or path)) from error
