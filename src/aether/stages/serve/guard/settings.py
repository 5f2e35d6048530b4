"""Which defences a server has, as read from a TOML file. Everything is off unless it is asked for. No torch."""

import json
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from aether.spec.base import Noun
from aether.spec.errors import InputError

REFUSAL = "I'm sorry, but I can't help with that."


class GuardModel(Noun):
    """A model that says whether a text is safe, behind an OpenAI-compatible endpoint of its own."""

    url: str = Field(description="up to its /v1")
    name: str
    timeout_s: float = Field(default=5.0, gt=0, description="assumed; a request waits for it")
    on_failure: Literal["withhold", "let through"] = Field(
        default="withhold", description="what happens when it does not answer or its word is not understood"
    )


class GuardSettings(Noun):
    """The defences of one server."""

    rules: bool = Field(default=False, description="refuse what `aether.policy` refuses, disguised texts read too")
    classifier: str | None = Field(
        default=None, description="a file of `aether guard`: requests that it takes for harmful are refused"
    )
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="of the classifier; none: the one that it was made with"
    )
    guard_model: GuardModel | None = Field(default=None, description="asked about requests and replies")
    check_replies: bool = Field(
        default=False, description="rules, classifier and guard model on the reply too; a stream then comes at its end"
    )
    harden: bool = Field(default=False, description="a system message with rules before the client's own; chats only")
    canary: bool = Field(default=False, description="a secret word in that message; a reply that holds it is withheld")
    refusal: str = Field(default=REFUSAL, min_length=1, description="what is answered in place of what is withheld")
    keys: str | None = Field(
        default=None, description="a TOML file of clients: [[clients]] with name and sha256 of the key"
    )
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="of each client, or each address without keys"
    )
    burst: int = Field(default=10, ge=1, description="requests that may come at once (assumed)")
    log: str | None = Field(
        default=None, description="a file of JSON lines: decisions with the text's hash, never the text"
    )

    @property
    def screens(self) -> bool:
        """Whether anything stands between what is asked and what is answered; keys and rates do not."""
        checks = self.rules or self.classifier is not None or self.guard_model is not None
        return checks or self.harden or self.canary

    @property
    def screens_replies(self) -> bool:
        """Whether a reply must be whole before it may leave."""
        return self.canary or (
            self.check_replies and (self.rules or self.classifier is not None or self.guard_model is not None)
        )


class Client(Noun):
    """Somebody who may ask. The key itself is nowhere."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    requests_per_minute: float | None = Field(default=None, gt=0)


def read_guard(path: Path) -> GuardSettings:
    """Settings from a TOML file, or from the JSON that a build releases; paths are relative to it. Raises InputError naming the field."""
    fields = _fields(path)
    for name in ("classifier", "keys", "log"):
        if isinstance(fields.get(name), str):
            fields[name] = str((path.parent / fields[name]).resolve())
    try:
        return GuardSettings.model_validate(fields)
    except ValidationError as error:
        raise _named(path, error) from error


def read_clients(path: Path) -> tuple[Client, ...]:
    """The clients of a key file. Raises InputError when it has none or two of one name or key."""
    try:
        found = tuple(Client.model_validate(row) for row in _fields(path).get("clients", ()))
    except ValidationError as error:
        raise _named(path, error) from error
    if not found or len({c.name for c in found}) < len(found) or len({c.sha256 for c in found}) < len(found):
        raise InputError.of("keys", str(path), "give at least one [[clients]], each with a name and a key of its own")
    return found


def _fields(path: Path) -> dict:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError.of("guard", str(path), f"it cannot be read as TOML or JSON ({error})") from error


def _named(path: Path, error: ValidationError) -> InputError:
    first = error.errors()[0]
    return InputError.of(".".join(map(str, (path.name, *first["loc"]))), str(first.get("input"))[:80], first["msg"])
