"""What a review finds: a rule that a place in a file breaks, why it matters, and the edit that mends it where that is safe."""

from typing import Literal

from pydantic import Field

from aether.spec.base import Noun

Severity = Literal["error", "warning", "info"]


class Edit(Noun):
    """Replace the text from (line, column) to (end_line, end_column) by `text`. Lines and columns count from one; the end is excluded."""

    line: int = Field(ge=1)
    column: int = Field(ge=1)
    end_line: int = Field(ge=1)
    end_column: int = Field(ge=1)
    text: str


class Finding(Noun):
    """A rule that is broken at a place."""

    rule: str
    severity: Severity
    path: str
    line: int = Field(ge=1)
    column: int = Field(default=1, ge=1)
    message: str
    """What is wrong here, with the values."""
    why: str
    source: str
    edit: Edit | None = None
