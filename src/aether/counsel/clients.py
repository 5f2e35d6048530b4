"""Adds Aether to a coding agent: its MCP server in the agent's own settings file, and the skills where the agent looks for them.

Where each client keeps what follows its documentation (read 2026-11-25; docs/agents.md names the pages). A settings file is
changed in one place, everything else in it is kept; one that cannot be read is left alone, and the error says what to paste.
"""

import json
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aether.evidence.files import explained_os_errors, write_atomically
from aether.spec.base import Noun
from aether.spec.errors import InputError

Scope = Literal["project", "user"]
SKILLS = Path(__file__).parent / "skills"


@dataclass(frozen=True)
class Client:
    """Where a client keeps its servers and skills, by scope, relative to the project or to the home folder."""

    settings: dict[Scope, str]
    skills: dict[Scope, str]
    key: str = "mcpServers"


CLIENTS: dict[str, Client] = {
    "claude-code": Client(
        {"project": ".mcp.json", "user": ".claude.json"}, {"project": ".claude/skills", "user": ".claude/skills"}
    ),
    "codex": Client(
        {"project": ".codex/config.toml", "user": ".codex/config.toml"},
        {"project": ".agents/skills", "user": ".agents/skills"},
        "mcp_servers",
    ),
    "cursor": Client(
        {"project": ".cursor/mcp.json", "user": ".cursor/mcp.json"},
        {"project": ".cursor/skills", "user": ".cursor/skills"},
    ),
    "gemini": Client(
        {"project": ".gemini/settings.json", "user": ".gemini/settings.json"},
        {"project": ".gemini/skills", "user": ".gemini/skills"},
    ),
    "vscode": Client({"project": ".vscode/mcp.json"}, {"project": ".github/skills"}, "servers"),
}


class Change(Noun):
    """A file that was written, would be written, or was already as it should be."""

    path: str
    action: Literal["created", "changed", "unchanged"]


def skill_names() -> tuple[str, ...]:
    """The skills that come with the package."""
    return tuple(sorted(file.parent.name for file in SKILLS.glob("*/SKILL.md")))


def server_command() -> list[str]:
    """What starts the MCP server of this installation in the current folder."""
    beside = Path(sys.executable).with_name("aether")
    found = shutil.which("aether")
    own = found is not None and beside.exists() and Path(found).resolve() == beside.resolve()
    return ["aether", "mcp", "."] if own else [sys.executable, "-m", "aether", "mcp", "."]


def add_to(name: str, scope: Scope, base: Path, *, dry_run: bool = False) -> tuple[Change, ...]:
    """Add the server and the skills to one client below `base` (the project, or the home folder).

    Raises InputError for an unknown client, a scope that it does not have, or a settings file that cannot be read.
    """
    client = CLIENTS.get(name)
    if client is None:
        raise InputError.of("client", name, f"use one of {', '.join(CLIENTS)}, all")
    if scope not in client.settings:
        raise InputError.of("scope", scope, f"{name} keeps user servers by profile; use project, or its own command")
    path = base / client.settings[scope]
    files = {path: _with_server(path, client.key)}
    for skill in skill_names():
        target = base / client.skills[scope] / skill / "SKILL.md"
        files[target] = (SKILLS / skill / "SKILL.md").read_text(encoding="utf-8")
    return tuple(_put(file, text, dry_run) for file, text in files.items())


def _put(path: Path, text: str, dry_run: bool) -> Change:
    with explained_os_errors(path):
        before = path.read_text(encoding="utf-8") if path.exists() else None
    if before == text:
        return Change(path=str(path), action="unchanged")
    if not dry_run:
        write_atomically(path, text)
    return Change(path=str(path), action="created" if before is None else "changed")


def _with_server(path: Path, key: str) -> str:
    with explained_os_errors(path):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    command, *arguments = server_command()
    entry = {"command": command, "args": arguments}
    return _in_toml(path, text, key, entry) if path.suffix == ".toml" else _in_json(path, text, key, entry)


def _in_json(path: Path, text: str, key: str, entry: dict[str, Any]) -> str:
    try:
        settings = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise _unreadable(path, error, json.dumps({key: {"aether": entry}})) from error
    if not isinstance(settings, dict) or not isinstance(settings.get(key, {}), dict):
        raise _unreadable(path, "not a table", json.dumps({key: {"aether": entry}}))
    settings[key] = settings.get(key, {}) | {"aether": entry}
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


_TOML_TABLE = re.compile(r"^\[mcp_servers\.aether\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


def _in_toml(path: Path, text: str, key: str, entry: dict[str, Any]) -> str:
    table = f"[{key}.aether]\ncommand = {json.dumps(entry['command'])}\nargs = {json.dumps(entry['args'])}\n"
    try:
        known = tomllib.loads(text)
        kept = _TOML_TABLE.sub("", text).rstrip("\n")
        fresh = f"{kept}\n\n{table}" if kept else table
        expected = {**known, key: {**known.get(key, {}), "aether": entry}}
        if tomllib.loads(fresh) != expected:
            raise _unreadable(path, "its aether entry is written in a form that cannot be replaced", table)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, error, table) from error
    return fresh


def _unreadable(path: Path, why: object, paste: str) -> InputError:
    return InputError.of("settings", str(path), f"it was left as it is ({why}); add this yourself: {paste}")
