"""What was asked before, so that "what about H200?" can be answered: one small JSON file per session, the newest request in it.

Kept under the platform's state folder ($XDG_STATE_HOME, else ~/.local/state; %LOCALAPPDATA% on Windows), or in a file that is named.
A session holds the request as read, never an answer: an answer is made again from it. Nothing leaves the machine.
"""

import os
import re
import sys
from pathlib import Path

from pydantic import ValidationError

from aether.evidence.files import read_json, write_json
from aether.spec.answer import Request
from aether.spec.errors import DamagedRecord, InputError

DEFAULT = "last"
"""The session of whoever names none."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def session_file(session: str = DEFAULT) -> Path:
    """The file of a session: `session` is a name, or a path that ends in .json. Raises InputError for any other."""
    if session.endswith(".json"):
        return Path(session).expanduser()
    if _NAME.fullmatch(session) is None:
        raise InputError.of(
            "--session", session, "use letters, digits, dots, hyphens and underscores, or a file ending in .json"
        )
    return _state_folder() / "aether" / "sessions" / f"{session}.json"


def _state_folder() -> Path:
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_STATE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given)
    return Path.home() / ("AppData/Local" if sys.platform == "win32" else ".local/state")


def recall(session: str = DEFAULT) -> Request:
    """The newest request of a session. Raises InputError when there is none, DamagedRecord when the file is not one."""
    file = session_file(session)
    if not file.is_file():
        raise InputError.of(
            "--follow", session, f"nothing was asked before ({file} is not there); ask without --follow"
        )
    try:
        return Request.model_validate(read_json(file))
    except ValidationError as error:
        raise DamagedRecord(f"{file} is not a session of this version; delete it", path=str(file)) from error


def remember(request: Request, session: str = DEFAULT) -> None:
    """Keep the request as the newest of its session."""
    write_json(session_file(session), request.model_dump(mode="json", exclude_unset=True))
