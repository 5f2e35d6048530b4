"""Tables of a reply or of a tool, cell by cell: the head of the column, the row's first words, and which option or variant a cell is of."""

import re
from dataclasses import dataclass

from aether.counsel.claims.conditions import Condition, conditions_in
from aether.counsel.claims.labels import label_words
from aether.counsel.claims.normal import Unit

AGAIN = re.compile(r"\s*(?:the (?:same|first|second)|its?|that)\b", re.IGNORECASE)
""" "The same, four bits": a row that goes on from the last that does not say so."""


@dataclass(frozen=True)
class Cell:
    """One cell. `group`: what its siblings share, the metric; `labels`: what sets it apart; `name`: the option that it is of, in words."""

    text: str
    context: str
    group: str
    labels: frozenset[str]
    name: str = ""
    conditions: frozenset[Condition] = frozenset()


def cells_of(unit: Unit) -> list[tuple[str, str]]:
    """(cell, context) of a table's row: the head of its column and the row's first words."""
    cells = split_row(unit.plain)
    header = split_row(unit.context)
    labels = [c for c in cells[:2] if not re.fullmatch(r"[\s\d.,%-]*", c)]
    found = []
    for place, cell in enumerate(cells):
        head = header[place - len(cells)] if len(header) >= len(cells) else unit.context
        found.append((cell, " ".join([head, *(one for one in labels if one != cell)])))
    return found


def split_row(row: str) -> list[str]:
    """The cells of a row in plain text; its outer bars are left out, an empty first head is kept."""
    return re.sub(r"^\s*\||\|\s*$", "", row.strip()).split("|")


class Table:
    """The rows of one table, in order. Remembers what each column or row is of."""

    def __init__(self) -> None:
        self._header = ""
        self._names: dict[int, str] = {}
        self._first = ""

    def cells(self, unit: Unit) -> list[Cell]:
        """The cells of the next row."""
        if unit.context != self._header:
            self._header, self._names = unit.context, {}
        cells = split_row(unit.plain)
        header = split_row(unit.context)
        heads = header[len(header) - len(cells) :] if len(header) >= len(cells) else [""] * len(cells)
        turned = len(heads) > 2 and all(re.fullmatch(r"\s*\d{1,2}\s*", h) for h in heads[1:])
        if turned and not self._names:
            self._names = {place: f"{cells[place]} option {heads[place].strip()}" for place in range(1, len(cells))}
        found = []
        conditions = conditions_in(" ; ".join(c for c in cells if not re.search(r"\d", c)))
        again = AGAIN.match(cells[0]) is not None
        inherited, self._first = (self._first, self._first) if again else ("", cells[0])
        for place, (text, context) in enumerate(cells_of(unit)):
            context = f"{context} {inherited}" if inherited else context
            if turned:
                name, group = self._names.get(place, ""), cells[0].strip()
            else:
                number = re.fullmatch(r"\s*(\d{1,2})\s*", cells[0])
                named = next((c for c in cells[:2] if re.search(r"[A-Za-z]", c)), "")
                name = f"{named} option {number[1]}" if number else named
                group = heads[place].strip()
            found.append(
                Cell(
                    text,
                    context,
                    f"{self._header[:80]}|{group}",
                    label_words(name),
                    name if turned or place else "",
                    conditions,
                )
            )
        return found
