"""A conversation on disk: JSON lines, appended as it goes, so that a kill loses at most the turn under way.

<root>/.aether/chats/<id>.jsonl: one line opens it (model, budget), then turns with what was said, the model's messages, evidence,
approvals and spending. No key of a provider is ever in it.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aether.evidence.files import explained_os_errors
from aether.spec.errors import DamagedRecord, InputError

_ID = re.compile(r"[a-z0-9-]{1,64}")


@dataclass
class Session:
    """The file of one conversation."""

    path: Path
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Its name."""
        return self.path.stem

    def append(self, **turn: Any) -> None:
        """Write a line. Raises EnvironmentFault when the disk refuses."""
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **turn}
        with explained_os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _end_whole(self.path)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self.turns.append(line)


def folder_of(root: Path) -> Path:
    """Where conversations lie."""
    return root / ".aether" / "chats"


def new_session(root: Path) -> Session:
    """A fresh one; its file comes with the first line."""
    return Session(folder_of(root) / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}.jsonl")


def sessions(root: Path) -> list[Path]:
    """Every conversation, oldest first."""
    return sorted(folder_of(root).glob("*.jsonl"))


def title_of(path: Path) -> str:
    """The first question of a conversation; empty while there is none."""
    return next((str(line.get("person", "")) for line in _read(path) if line.get("kind") == "turn"), "")


def load_session(root: Path, name: str = "") -> Session:
    """A conversation by its id, or the newest. A last line that was cut by a kill is left out. Raises InputError, DamagedRecord."""
    known = sessions(root)
    if name and not _ID.fullmatch(name):
        raise InputError.of("--resume", name, "give the id of a conversation; `aether chat --list` has them")
    path = folder_of(root) / f"{name}.jsonl" if name else known[-1] if known else None
    if path is None or not path.exists():
        raise InputError.of(
            "--resume", name or "newest", "there is no such conversation; `aether chat --list` has them"
        )
    return Session(path, list(_read(path)))


def _end_whole(path: Path) -> None:
    """Let the file end with a whole line, so that the next one stands alone: what a kill had cut is taken away."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        held = file.read()
        last = held[held.rfind(b"\n") + 1 :]
        if not last:
            return
        try:
            json.loads(last)
        except ValueError:
            file.truncate(len(held) - len(last))
        else:
            file.write(b"\n")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            read = json.loads(line)
        except ValueError as error:  # neither JSON nor UTF-8
            if number == len(lines):
                return
            raise damaged(path, number) from error
        if not isinstance(read, dict):
            raise damaged(path, number)
        yield read


def damaged(path: Path, number: int) -> DamagedRecord:
    """The error of a line that holds nothing that was written here."""
    return DamagedRecord(f"{path}, line {number} is not readable; delete that line, or the file", path=str(path))
