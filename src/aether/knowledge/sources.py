"""How much of what is known was read in a source, and how much is assumed: counts by table, from the rows themselves.

Follows nothing. It judges no source: a cited row has an address that a reader can open, not a true statement.
`python -m benchmarks.knowledge_sources` prints the counts.
"""

from collections.abc import Iterable

from aether.knowledge.library import (
    Device,
    Sourced,
    compressed,
    constants,
    devices,
    laws,
    mixture_laws,
    power_laws,
    prices,
)
from aether.knowledge.models_library import published_models
from aether.knowledge.practice import choices
from aether.knowledge.review_rules import rules
from aether.knowledge.topics import groups
from aether.spec.base import Noun
from aether.spec.evidence import Kind


class Share(Noun):
    """Rows of one table by kind; `fields_unread` are fields of cited rows that their sources were not read for."""

    table: str
    rows: int
    kinds: dict[Kind, int]
    fields: int
    fields_unread: int


def tables() -> dict[str, tuple[Sourced, ...]]:
    """Table -> its rows, of every table whose rows carry a source each."""
    return {
        "devices": tuple(devices().values()),
        "models": tuple(published_models().values()),
        "laws of loss": tuple(laws().values()),
        "laws of mixtures": tuple(mixture_laws().values()),
        "power laws": tuple(power_laws().values()),
        "constants": tuple(constants().values()),
        "compressed quality": compressed(),
        "prices": tuple(prices().values()),
        "rules of review": tuple(rules().values()),
        "groups of topics": tuple(groups().values()),
        "practice": choices(),
    }


def shares() -> tuple[Share, ...]:
    """One `Share` for each table."""
    return tuple(_share(table, rows) for table, rows in tables().items())


def _share(table: str, rows: Iterable[Sourced]) -> Share:
    rows = tuple(rows)
    kinds: dict[Kind, int] = {}
    for row in rows:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    facts = [row for row in rows if isinstance(row, Device)]
    return Share(
        table=table,
        rows=len(rows),
        kinds=kinds,
        fields=sum(len(row.facts()) for row in facts),
        fields_unread=sum(len(row.facts()) if row.kind == "assumed" else len(row.unread) for row in facts),
    )
