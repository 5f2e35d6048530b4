"""What all tools of the toolbox share: the folder that they keep to, and a person's errors as a reply."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar, get_type_hints

from pydantic import Field

from aether.counsel.reply import of_error
from aether.spec.errors import AetherError, InputError

P = ParamSpec("P")
R = TypeVar("R")

Settings = Annotated[list[str], Field(description='FIELD=VALUE each, as in "hardware.count=16"; laid over the rest.')]
RunName = Annotated[str, Field(description="A run's folder, relative to the root.")]


def replied(tool: Callable[P, R]) -> Callable[P, R]:
    """The tool, with a person's errors as a reply of its own type."""
    kind = get_type_hints(tool)["return"]

    @functools.wraps(tool)
    def run(*args: P.args, **options: P.kwargs) -> R:
        try:
            return tool(*args, **options)
        except AetherError as error:
            return kind(**of_error(error))

    return run


class Folder:
    """The folder that tools may touch. Paths are relative to it, and nothing outside it is read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def inside(self, path: str, field: str) -> Path:
        """The path below the root. Raises InputError for one that leads out of it."""
        found = (self.root / path).resolve()
        if not found.is_relative_to(self.root):
            raise InputError.of(field, path, f"give a path inside {self.root}")
        return found
