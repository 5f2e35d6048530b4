"""One process per folder, by `flock`: the kernel lets go when the holder dies, so a kill leaves no stale lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aether.evidence.files import explained_os_errors
from aether.spec.errors import RunBusy


@contextmanager
def exclusive(lock: Path, of: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the file `lock` for this process. `of` is what it guards, for the message.

    Raises RunBusy, with the holder's process id, when another process has it and `wait` is false.
    """
    with explained_os_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise RunBusy(
                f"{of} is in use by process {holder}; wait for it, or choose another folder with --out",
                folder=str(of),
                holder=holder,
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
