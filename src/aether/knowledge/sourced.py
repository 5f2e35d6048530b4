"""A row of what is known: its name, what kind of knowledge it is, where it was read and when."""

from pydantic import Field

from aether.spec.base import Noun
from aether.spec.evidence import Kind


class Sourced(Noun):
    """A row of what is known."""

    name: str = Field(min_length=1)
    kind: Kind
    source: str = Field(min_length=10)
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
